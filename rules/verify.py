"""Verify: that the stored alerts follow from the stored actions, the rule versions and the users' settings.

Every action is judged once more by what it was first judged with: in the order of time, which says what stands, and,
for users to whom events came late, in the order of arrival, which says what was answered. What repairs passed through
between two arrivals is worked out only where a stored alert claims to come from there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from rules.book import Judges, RuleBooks
from rules.evidence import evidence_of
from rules.hindsight import Settings, action, by_user, settings_at
from rules.model import Action, Timeline
from rules.registry import REGISTRY

# What `verify` expects of each action.
COLUMNS = (
    "user_id",
    "seq",
    "type",
    "amount",
    "time",
    "settings_version",
    "rules_number",
    "ordinal",
    "running_total",
    "alert_codes",
)
LISTED = 1000  # differences that are listed; all are counted

Key = tuple[int, int]  # seq, code


class Difference(NamedTuple):
    """Something stored that does not follow, or something missing: whose, on which action, and a sentence."""

    user_id: int
    seq: int | None
    code: int | None
    what: str


@dataclass
class Report:
    """What was looked at, and what was found."""

    users: int = 0
    actions: int = 0
    alerts: int = 0
    found: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Count another part of the users in."""
        self.users += other.users
        self.actions += other.actions
        self.alerts += other.alerts
        self.found += other.found
        self.differences = sorted([*self.differences, *other.differences], key=str)[:LISTED]

    def note(self, user_id: int, seq: int | None, code: int | None, what: str) -> None:
        """Count a difference, and list it unless there are too many."""
        self.found += 1
        if len(self.differences) < LISTED:
            self.differences.append(Difference(user_id, seq, code, what))


class Judged(NamedTuple):
    """An action with what judged it first and how it was stored."""

    action: Action
    judges: Judges
    ordinal: str
    running_total: str
    codes: str


class Stored(NamedTuple):
    """An alert as it is stored."""

    user_id: int
    seq: int
    code: int
    time: int
    late: bool
    superseded: bool
    shadow: bool
    evidence: dict[str, Any]


class Verifier:
    """Verifies users by the rule books of one database."""

    def __init__(self, books: RuleBooks) -> None:
        self._books = books

    def verify(
        self, copied: str, settings: Settings, alerts: Iterable[Sequence[Any]], accounts: Iterable[Sequence[Any]]
    ) -> Report:
        """Verify some users by lines with COLUMNS (by user in order of (time, seq)), and by all that is stored of them.

        `alerts` have the fields of Stored, `accounts` are user_id, last_seq and net.
        """
        report = Report()
        stored: dict[int, dict[Key, Stored]] = {}
        for row in alerts:
            alert = Stored(*row)
            stored.setdefault(alert.user_id, {})[alert.seq, alert.code] = alert
        totals = {user_id: (last_seq, net) for user_id, last_seq, net in accounts}
        for user_id, lines in by_user(copied):
            own = [
                Judged(
                    action(line[1], line[2], line[3], line[4]),
                    self._books.at(int(line[6])).judges(*settings_at(settings, user_id, int(line[5]))),
                    line[7],
                    line[8],
                    line[9],
                )
                for line in lines
            ]
            report.users += 1
            report.actions += len(own)
            report.alerts += len(stored.get(user_id, {}))
            _verify_numbers(report, user_id, own, totals[user_id])
            _verify_alerts(report, user_id, own, stored.get(user_id, {}))
        return report


def _verify_numbers(report: Report, user_id: int, own: list[Judged], totals: tuple[int, Decimal]) -> None:
    counts = {"deposit": 0, "withdraw": 0}
    sums = {"deposit": Decimal(0), "withdraw": Decimal(0)}
    for one in own:
        kind = one.action.type
        counts[kind] += 1
        sums[kind] += one.action.amount
        if one.ordinal != str(counts[kind]) or Decimal(one.running_total) != sums[kind]:
            report.note(user_id, one.action.seq, None, "its running count or sum is not that of the actions before it")
    if totals != (len(own), sums["deposit"] - sums["withdraw"]):
        report.note(user_id, None, None, "the user's count or balance is not that of the actions")


def _verify_alerts(report: Report, user_id: int, own: list[Judged], stored: Mapping[Key, Stored]) -> None:
    standing = _found_as_they_come(own)
    arrived = sorted(own, key=lambda one: one.action.seq)
    in_order = all(before.action.time <= after.action.time for before, after in pairwise(arrived))
    answered = standing if in_order else _found_as_they_come(arrived)
    passed: set[Key] | None = None
    times = {one.action.seq: one.action.time for one in own}

    def note(key: Key, what: str) -> None:
        report.note(user_id, *key, what)

    for key, alert in stored.items():
        if alert.code not in REGISTRY:
            note(key, "the rule is not known any more: it cannot be verified")
            continue
        if alert.superseded == (key in standing):
            note(
                key, "it holds, and is marked superseded" if alert.superseded else "it does not follow from the actions"
            )
        if alert.late == (key in answered):
            note(
                key,
                "it was raised by its own action, and is marked late"
                if alert.late
                else "its own action did not raise it",
            )
        elif alert.late and alert.superseded:
            passed = _passed_through(arrived) if passed is None else passed
            if key not in passed:
                note(key, "it never followed from the actions")
        judged = standing.get(key) or answered.get(key)
        if alert.time != times[alert.seq]:
            note(key, "its time is not that of its action")
        if judged is not None and alert.shadow != judged.shadow:
            note(key, "it is stored as a shadow alert, and is none" if alert.shadow else "it is a shadow alert")
        if not alert.late and key in answered and alert.evidence != answered[key].evidence:
            note(key, "its evidence is not what its action was judged on")
    for key in standing.keys() - stored.keys():
        note(key, "it is missing")
    for key in answered.keys() - stored.keys() - standing.keys():
        note(key, "it was answered, and is missing")
    told: dict[int, list[int]] = {}
    for (seq, code), found in answered.items():
        if not found.shadow:
            told.setdefault(seq, []).append(code)
    for one in own:
        codes = "{" + ",".join(map(str, told.get(one.action.seq, ()))) + "}"
        if one.codes != codes:
            report.note(user_id, one.action.seq, None, f"it was answered with {one.codes}, and raises {codes}")


class _Found(NamedTuple):
    shadow: bool
    evidence: dict[str, Any]


def _found_as_they_come(own: Sequence[Judged]) -> dict[Key, _Found]:
    """What each action raises, judged on those before it in this order that stand before it in time."""
    timeline = Timeline()
    found: dict[Key, _Found] = {}
    for one in own:
        now = one.action
        timeline.add(now)
        history = timeline.at(now)
        for rule in one.judges.by_type[now.type]:
            finding = rule.check(history, rule.parameters)
            if finding is not None:
                found[now.seq, rule.code] = _Found(rule.shadow, evidence_of(rule, finding))
    return found


def _passed_through(arrived: Sequence[Judged]) -> set[Key]:
    """Everything that held at some moment while the actions arrived one by one."""
    timeline = Timeline()
    judges = {}
    found: set[Key] = set()
    for one in arrived:
        timeline.add(one.action)
        judges[one.action.seq] = one.judges
        for now in [one.action, *timeline.following(one.action)]:
            history = timeline.at(now)
            for rule in judges[now.seq].by_type[now.type]:
                if (now.seq, rule.code) not in found and rule.check(history, rule.parameters) is not None:
                    found.add((now.seq, rule.code))
    return found
