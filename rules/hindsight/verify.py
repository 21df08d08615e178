"""Verify: that the stored alerts follow from the stored actions, the rule versions and the users' settings.

Every action is judged again by the rule set that first judged it, in order of time, which shows what stands. For users
with late events that is done in order of arrival too, transaction by transaction with the repairs, which shows what was
answered, what was raised late, and what held for a while.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from database.records import StoredAlert, StoredTotals, Users
from rules.base import reading
from rules.hindsight.stored_history import Settings, action_of, by_user, settings_at
from rules.judging.batch import BatchUser
from rules.judging.evidence import evidence_of
from rules.judging.late import reach_of
from rules.judging.repair import repair
from rules.model import ACTION_TYPES, Action
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

    def join(self, other: "VerifyReport") -> None:
        """Add more on a user who has been counted."""
        self.alerts += other.alerts
        self.found += other.found
        self.differences += other.differences[: LISTED - len(self.differences)]

    def note(self, user_id: int, seq: int | None, code: int | None, what: str) -> None:
        """Count a difference, and list it unless there are too many."""
        self.found += 1
        if len(self.differences) < LISTED:
            self.differences.append(Difference(user_id, seq, code, what))


class VerifiedAction(NamedTuple):
    """An action with the rule set that first judged it, its answer, and in which transaction it was stored."""

    action: Action
    rule_set: RuleSet
    codes: str
    transaction: str


class ExpectedAlert(NamedTuple):
    """An alert as it follows from the actions."""

    late: bool
    shadow: bool
    evidence: dict[str, Any]


class Source(Protocol):
    """Where some users' actions and alerts are read; all come as they are taken, since a user may have millions."""

    def actions(self, users: Users, *, as_they_came: bool = False) -> Iterator[str]:
        """As `database.history.actions_to_verify`."""

    def alerts(self, users: Users) -> Iterator[StoredAlert]:
        """As `database.history.alerts`."""


class Verifier:
    """Verifies users by what the rules of one database were ever set to."""

    def __init__(self, versions: RuleVersions) -> None:
        self._versions = versions

    def verify(self, users: Users, source: Source, settings: Settings, totals: Iterable[StoredTotals]) -> VerifyReport:
        """Verify `users`; `settings` and `totals` are all that they ever had, and what their rows say.

        Of a user all of whose actions came in order, no more is held than what rules look back at.
        """
        report = VerifyReport()
        alerts = _AlertsInOrder(source.alerts(users))
        noted = {one.user_id: (one.last_seq, one.net) for one in totals}
        for user_id, lines in by_user(source.actions(users)):
            report.users += 1
            user = _User(user_id, self._versions, settings)
            in_order = user.read_in_time(report, lines, noted.pop(user_id), alerts)
            if in_order is not None:
                report.join(in_order)
            else:
                own = Users(first=user_id, last=user_id, actions=0)
                user.read_as_they_came(report, source.actions(own, as_they_came=True), source.alerts(own))
        for user_id, (last_seq, net) in noted.items():  # those without any action
            if (last_seq, net) != (0, Decimal(0)):
                report.note(user_id, None, None, _NOT_THE_SUM)
        return report


_NOT_THE_SUM = "the user's count or balance is not that of the actions"
# So many actions are read before what no rule looks back at any more is dropped.
_TO_FORGET = 10_000


class _AlertsInOrder:
    """Stored alerts by user and seq, to be taken action by action."""

    def __init__(self, alerts: Iterator[StoredAlert]) -> None:
        self._rest = alerts
        self._next = next(alerts, None)

    def of(self, user_id: int, seq: int) -> dict[int, StoredAlert]:
        """Those of one action by code. What comes before it is passed over."""
        found: dict[int, StoredAlert] = {}
        while (alert := self._next) is not None and (alert.user_id, alert.seq) <= (user_id, seq):
            if (alert.user_id, alert.seq) == (user_id, seq):
                found[alert.code] = alert
            self._next = next(self._rest, None)
        return found


class _User:
    """One user while it is verified."""

    def __init__(self, user_id: int, versions: RuleVersions, settings: Settings) -> None:
        self._id, self._versions, self._settings = user_id, versions, settings
        self._rule_sets: set[RuleSet] = set()
        self._standing: set[Key] = set()

    def read_in_time(
        self, report: VerifyReport, lines: Iterable[list[str]], totals: tuple[int, Decimal], alerts: _AlertsInOrder
    ) -> VerifyReport | None:
        """Verify the numbers, and find what stands: what actions in order of time raise, each with those before it.

        If they came in that order too, that is also what they raised: then it returns the report on their alerts.
        """
        found: VerifyReport | None = VerifyReport()
        count, seq = 0, 0
        counts, sums = {"deposit": 0, "withdraw": 0}, {"deposit": Decimal(0), "withdraw": Decimal(0)}
        timeline = Timeline()
        for line in lines:
            one = self._action(report, line)
            now, kind = one.action, one.action.type
            count += 1
            counts[kind] += 1
            sums[kind] += now.amount
            if line[7] != str(counts[kind]) or Decimal(line[8]) != sums[kind]:
                report.note(self._id, now.seq, None, "its running count or sum is not that of the actions before it")
            expected = _raised(timeline, one)
            self._standing.update((now.seq, code) for code in expected)
            if now.seq < seq:
                found = None
            if found is not None:
                stored = alerts.of(self._id, now.seq)
                found.alerts += len(stored)
                for code in expected.keys() | stored.keys():
                    for what in _differences(stored.get(code), expected.get(code), code in expected, now.time):
                        found.note(self._id, now.seq, code, what)
                _compare_codes(found, self._id, one, [code for code, alert in expected.items() if not alert.shadow])
            seq = now.seq
            if count % _TO_FORGET == 0:
                seconds, keep = self._looks_back
                timeline.forget(now.time - seconds, keep)
        report.actions += count
        if totals != (count, sums["deposit"] - sums["withdraw"]):
            report.note(self._id, None, None, _NOT_THE_SUM)
        return found

    def read_as_they_came(self, report: VerifyReport, lines: Iterable[str], alerts: Iterable[StoredAlert]) -> None:
        """Verify the alerts of a user some of whose actions came late, after `read_in_time`.

        What late ones change is judged again at the end of each transaction.
        """
        user = BatchUser(user_id=0, rule_set=next(iter(self._rule_sets)))
        reach = reach_of(rule for rule_set in self._rule_sets for rule in rule_set.all)
        arrived = (self._action(None, line.split("\t")) for line in lines)
        for _, batch in groupby(arrived, attrgetter("transaction")):
            together = list(batch)
            user.late, user.first_new = [], together[0].action.seq
            for one in together:
                _compare_codes(report, self._id, one, user.arrive(one.action, one.rule_set))
            if user.late:
                repair(user, reach)
        stored = {(alert.seq, alert.code): alert for alert in alerts}
        report.alerts += len(stored)
        for seq, code in user.alerts.keys() | self._standing | stored.keys():
            state, alert = user.alerts.get((seq, code)), stored.get((seq, code))
            expected = None
            if state is not None:
                expected = ExpectedAlert(
                    late=state.late, shadow=state.shadow, evidence=json.loads(state.evidence or "")
                )
            for what in _differences(alert, expected, (seq, code) in self._standing, user.times[seq]):
                report.note(self._id, seq, code, what)

    def _action(self, report: VerifyReport | None, line: list[str]) -> VerifiedAction:
        now, number, version = action_of(line), int(line[6]), int(line[5])
        by = settings_at(self._settings, self._id, version)
        if by is None and report is not None:
            report.note(self._id, now.seq, None, "the user's settings that it was judged with are not there")
        rule_set = self._versions.at(number).rule_set(*(by or FIRST_SETTINGS))
        self._rule_sets.add(rule_set)
        return VerifiedAction(action=now, rule_set=rule_set, codes=line[9], transaction=line[10])

    @cached_property
    def _looks_back(self) -> tuple[int, int]:
        """How many seconds, and how many actions, rules ever looked back from this user's actions."""
        settings = [FIRST_SETTINGS, *self._settings.get(self._id, {}).values()]
        rules = self._versions.furthest(settings)
        needs = [one for kind in ACTION_TYPES for one in reading(kind, rules).needs.values()]
        seconds = max((max(one.longest, *one.windows, 0) for one in needs), default=0)
        return seconds, max((one.count for one in needs), default=1)


def _raised(timeline: Timeline, one: VerifiedAction) -> dict[int, ExpectedAlert]:
    """What an action raises after those on `timeline`, to which it is added; by code."""
    timeline.add(one.action)
    history = timeline.at(one.action)
    found = {}
    for rule in one.rule_set.by_type[one.action.type]:
        finding = rule.check(history, rule.parameters)
        if finding is not None:
            found[rule.code] = ExpectedAlert(late=False, shadow=rule.shadow, evidence=evidence_of(rule, finding))
    return found


def _compare_codes(report: VerifyReport, user_id: int, one: VerifiedAction, raised: Iterable[int]) -> None:
    codes = f"{{{','.join(map(str, raised))}}}"
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
