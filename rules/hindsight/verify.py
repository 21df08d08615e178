"""Verify: that the stored alerts follow from the stored actions, the rule versions and the users' settings.

Every action is judged again by the rule set that first judged it, in order of time, which shows what stands. For users
with late events that is done in order of arrival too, transaction by transaction with the repairs, which shows what was
answered, what was raised late, and what held for a while.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

from database.records import StoredAlert, StoredTotals
from rules.hindsight.stored_history import Settings, actions_of, by_user, settings_at
from rules.judging.batch import BatchUser
from rules.judging.evidence import evidence_of
from rules.judging.late import reach_of
from rules.judging.repair import repair
from rules.model import Action
from rules.registry import REGISTRY
from rules.timeline import Timeline
from rules.versions import FIRST_SETTINGS, RuleSet, RuleVersions

LISTED = 1000  # differences that are listed; all are counted

Key = tuple[int, int]  # seq, code


class Difference(NamedTuple):
    """Something stored that does not follow, or something missing: whose, on which action, and a sentence."""

    user_id: int
    seq: int | None
    code: int | None
    what: str

    @property
    def place(self) -> tuple[int, int, int, str]:
        """Its place in a list."""
        return self.user_id, self.seq or 0, self.code or 0, self.what


@dataclass
class VerifyReport:
    """What was looked at, and what was found."""

    users: int = 0
    actions: int = 0
    alerts: int = 0
    found: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: "VerifyReport") -> None:
        """Add the report on other users."""
        self.users += other.users
        self.actions += other.actions
        self.alerts += other.alerts
        self.found += other.found
        if other.differences:
            together = [*self.differences, *other.differences]
            self.differences = sorted(together, key=lambda one: one.place)[:LISTED]

    def note(self, user_id: int, seq: int | None, code: int | None, what: str) -> None:
        """Count a difference, and list it unless there are too many."""
        self.found += 1
        if len(self.differences) < LISTED:
            self.differences.append(Difference(user_id, seq, code, what))


class VerifiedAction(NamedTuple):
    """An action with the rule set that first judged it, and how and in which transaction it was stored."""

    action: Action
    rule_set: RuleSet
    ordinal: str
    running_total: str
    codes: str
    transaction: str


class ExpectedAlert(NamedTuple):
    """An alert as it follows from the actions."""

    late: bool
    shadow: bool
    evidence: dict[str, Any]


class Verifier:
    """Verifies users by what the rules of one database were ever set to."""

    def __init__(self, versions: RuleVersions) -> None:
        self._versions = versions

    def verify(
        self, copied: str, settings: Settings, alerts: Iterable[StoredAlert], totals: Iterable[StoredTotals]
    ) -> VerifyReport:
        """Verify some users; `copied` is what `database.history.actions_to_verify` returns, the rest all they have."""
        report = VerifyReport()
        stored: dict[int, dict[Key, StoredAlert]] = {}
        for alert in alerts:
            stored.setdefault(alert.user_id, {})[alert.seq, alert.code] = alert
        noted = {one.user_id: (one.last_seq, one.net) for one in totals}
        for user_id, lines in by_user(copied):
            own = self._verified_actions(report, user_id, lines, settings)
            report.users += 1
            report.actions += len(own)
            report.alerts += len(stored.get(user_id, {}))
            _verify_numbers(report, user_id, own, noted.pop(user_id))
            _verify_alerts(report, user_id, own, stored.get(user_id, {}))
        for user_id, (last_seq, net) in noted.items():  # those without any action
            if (last_seq, net) != (0, Decimal(0)):
                report.note(user_id, None, None, _NOT_THE_SUM)
        return report

    def _verified_actions(
        self, report: VerifyReport, user_id: int, lines: list[list[str]], settings: Settings
    ) -> list[VerifiedAction]:
        own = []
        for now, (*_, version, number, ordinal, total, codes, transaction) in zip(
            actions_of(lines), lines, strict=True
        ):
            by = settings_at(settings, user_id, int(version))
            if by is None:
                report.note(user_id, now.seq, None, "the user's settings that it was judged with are not there")
            own.append(
                VerifiedAction(
                    action=now,
                    rule_set=self._versions.at(int(number)).rule_set(*(by or FIRST_SETTINGS)),
                    ordinal=ordinal,
                    running_total=total,
                    codes=codes,
                    transaction=transaction,
                )
            )
        return own


_NOT_THE_SUM = "the user's count or balance is not that of the actions"


def _verify_numbers(report: VerifyReport, user_id: int, own: list[VerifiedAction], totals: tuple[int, Decimal]) -> None:
    counts = {"deposit": 0, "withdraw": 0}
    sums = {"deposit": Decimal(0), "withdraw": Decimal(0)}
    for one in own:
        kind = one.action.type
        counts[kind] += 1
        sums[kind] += one.action.amount
        if one.ordinal != str(counts[kind]) or Decimal(one.running_total) != sums[kind]:
            report.note(user_id, one.action.seq, None, "its running count or sum is not that of the actions before it")
    if totals != (len(own), sums["deposit"] - sums["withdraw"]):
        report.note(user_id, None, None, _NOT_THE_SUM)


def _verify_alerts(
    report: VerifyReport, user_id: int, own: list[VerifiedAction], stored: Mapping[Key, StoredAlert]
) -> None:
    expected, answered = _in_time(own)
    standing = expected.keys()
    if any(before.action.seq > after.action.seq for before, after in pairwise(own)):
        expected, answered = _as_they_came(sorted(own, key=lambda one: one.action.seq))
    times = {one.action.seq: one.action.time for one in own}
    for key in expected.keys() | standing | stored.keys():
        for what in _differences(stored.get(key), expected.get(key), key in standing, times[key[0]]):
            report.note(user_id, *key, what)
    for one in own:
        codes = answered.get(one.action.seq, "{}")
        if one.codes != codes:
            report.note(user_id, one.action.seq, None, f"it was answered with {one.codes}, and raises {codes}")


def _differences(alert: StoredAlert | None, expected: ExpectedAlert | None, stands: bool, time: int) -> Iterable[str]:
    if alert is None:
        yield "it is missing" if stands else "it held for a while, and is missing"
        return
    if alert.code not in REGISTRY:
        yield "the rule is not known any more: it cannot be verified"
        return
    if alert.superseded == stands:
        yield "it holds, and is marked superseded" if stands else "it does not follow from the actions"
    if alert.time != time:
        yield "its time is not that of its action"
    if expected is None:
        if alert.superseded:  # else that has been reported already
            yield "it never followed from the actions"
        return
    if alert.late != expected.late:
        yield "its own action raised it, and it is marked late" if alert.late else "its own action did not raise it"
    if alert.shadow != expected.shadow:
        yield "it is stored as a shadow alert, and is none" if alert.shadow else "it is a shadow alert"
    if alert.evidence != expected.evidence:
        yield "its evidence is not what it was raised on"


# Alerts that follow from actions, and the codes that each action was answered with as the database writes them

Found = tuple[dict[Key, ExpectedAlert], dict[int, str]]


def _in_time(own: Iterable[VerifiedAction]) -> Found:
    """What actions in order of time raise, each judged with those before it."""
    timeline = Timeline()
    found: dict[Key, ExpectedAlert] = {}
    answered: dict[int, str] = {}
    for one in own:
        now = one.action
        timeline.add(now)
        history = timeline.at(now)
        codes = ""
        for rule in one.rule_set.by_type[now.type]:
            finding = rule.check(history, rule.parameters)
            if finding is not None:
                found[now.seq, rule.code] = ExpectedAlert(
                    late=False, shadow=rule.shadow, evidence=evidence_of(rule, finding)
                )
                if not rule.shadow:
                    codes += f",{rule.code}"
        if codes:
            answered[now.seq] = f"{{{codes[1:]}}}"
    return found, answered


def _as_they_came(arrived: Sequence[VerifiedAction]) -> Found:
    """What actions raise as they arrive, and how late ones change it.

    Later actions are judged again at the end of each transaction.
    """
    user = BatchUser(user_id=0, rule_set=arrived[0].rule_set)
    reach = reach_of(rule for rule_set in {one.rule_set for one in arrived} for rule in rule_set.all)
    answered: dict[int, str] = {}
    for _, together in groupby(arrived, attrgetter("transaction")):
        batch = list(together)
        user.late, user.first_new = [], batch[0].action.seq
        for one in batch:
            if codes := user.arrive(one.action, one.rule_set):
                answered[one.action.seq] = f"{{{','.join(map(str, codes))}}}"
        if user.late:
            repair(user, reach)
    found = {
        key: ExpectedAlert(late=state.late, shadow=state.shadow, evidence=json.loads(state.evidence or ""))
        for key, state in user.alerts.items()
    }
    return found, answered
