"""What a verification has found: each difference between what is stored and what follows from the actions."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from database.records import StoredAlert
from rules.registry import REGISTRY

LISTED = 1000  # differences that are listed; all are counted


class Difference(NamedTuple):
    """Something stored that does not follow, or something missing: whose, on which action, and a sentence.

    `field` is what differs, `stored` what it is and `follows` what it would have to be; None if there is no such thing.
    """

    user_id: int
    seq: int | None
    code: int | None
    what: str
    field: str | None = None
    stored: Any = None
    follows: Any = None

    @property
    def place(self) -> tuple[int, int, int, str]:
        """Its place in a list."""
        return self.user_id, self.seq or 0, self.code or 0, self.what


@dataclass
class VerifyReport:
    """What was looked at, and what was found.

    Of the `alerts`, `unproved` ones were raised with actions that have been removed, so that not all about them can be
    derived; of the `actions`, `unproved_actions` were judged with such. `asked_is_unproved` is whether the alert is one
    of these for which its user was verified.
    """

    users: int = 0
    actions: int = 0
    alerts: int = 0
    unproved: int = 0
    unproved_actions: int = 0
    asked_is_unproved: bool = False
    found: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: "VerifyReport") -> None:
        """Add the report on other users."""
        self.users += other.users
        self.actions += other.actions
        self.alerts += other.alerts
        self.unproved += other.unproved
        self.unproved_actions += other.unproved_actions
        self.found += other.found
        if other.differences:
            together = [*self.differences, *other.differences]
            self.differences = sorted(together, key=lambda one: one.place)[:LISTED]

    def join(self, other: "VerifyReport") -> None:
        """Add more on a user who has been counted."""
        self.alerts += other.alerts
        self.unproved += other.unproved
        self.found += other.found
        self.differences += other.differences[: LISTED - len(self.differences)]

    def note(
        self,
        user_id: int,
        seq: int | None,
        code: int | None,
        what: str,
        field: str | None = None,
        stored: Any = None,
        follows: Any = None,
    ) -> None:
        """Count a difference, and list it unless there are too many."""
        self.found += 1
        if len(self.differences) < LISTED:
            self.differences.append(Difference(user_id, seq, code, what, field, stored, follows))


class ExpectedAlert(NamedTuple):
    """An alert as it follows from the actions."""

    late: bool
    shadow: bool
    evidence: dict[str, Any]


def note_totals(report: VerifyReport, user_id: int, stored: tuple[int, Decimal], follows: tuple[int, Decimal]) -> None:
    """Note that a user's count of actions, and deposits less withdrawals, are not those of its row."""
    what = "the user's count or balance is not that of the actions"
    report.note(user_id, None, None, what, "totals", numbers_shown(*stored), numbers_shown(*follows))


def numbers_shown(count: int, total: Decimal) -> dict[str, Any]:
    """A count and a sum, as a difference shows them."""
    return {"count": count, "sum": str(total)}


def compare_codes(
    report: VerifyReport,
    user_id: int,
    seq: int,
    answered: str,
    raised: Iterable[int],
    unproved: Collection[int] = (),
) -> None:
    """Note if an action was not answered with the codes that it raises; `answered` is as PostgreSQL writes them.

    Nothing is said of codes that are `unproved`.
    """
    if unproved:
        answered = f"{{{','.join(str(code) for code in _listed(answered) if code not in unproved)}}}"
    codes = f"{{{','.join(map(str, raised))}}}"
    if answered != codes:
        what = f"it was answered with {answered}, and raises {codes}"
        report.note(user_id, seq, None, what, "alert_codes", _listed(answered), _listed(codes))


def _listed(codes: str) -> list[int]:
    """Codes as PostgreSQL writes them."""
    return [int(code) for code in codes.strip("{}").split(",") if code]


# What differs of an alert: a sentence, the field, what is stored there, and what follows.
_Differs = tuple[str, str, Any, Any]


def differences(
    alert: StoredAlert | None, expected: ExpectedAlert | None, stands: bool, time: int, *, is_unproved: bool = False
) -> Iterator[_Differs]:
    """What differs between an alert as it is stored and as it follows, if it `stands` on an action with this time.

    If it `is_unproved`, no more is known than whether it stands.
    """
    if is_unproved and alert is None and not stands:
        return
    if alert is None:
        evidence = None if expected is None else expected.evidence
        yield "it is missing" if stands else "it held for a while, and is missing", "alert", None, evidence
        return
    if alert.code not in REGISTRY:
        yield "the rule is not known any more: it cannot be verified", "code", alert.code, None
        return
    if alert.superseded == stands:
        what = "it holds, and is marked superseded" if stands else "it does not follow from the actions"
        yield what, "superseded", alert.superseded, not stands
    if alert.time != time:
        yield "its time is not that of its action", "time", alert.time, time
    if is_unproved:
        return
    if expected is None:
        if alert.superseded:  # else that has been reported already
            yield "it never followed from the actions", "alert", alert.evidence, None
        return
    if alert.late != expected.late:
        what = "its own action raised it, and it is marked late" if alert.late else "its own action did not raise it"
        yield what, "late", alert.late, expected.late
    if alert.shadow != expected.shadow:
        what = "it is stored as a shadow alert, and is none" if alert.shadow else "it is a shadow alert"
        yield what, "shadow", alert.shadow, expected.shadow
    if alert.evidence != expected.evidence:
        yield "its evidence is not what it was raised on", "evidence", alert.evidence, expected.evidence
