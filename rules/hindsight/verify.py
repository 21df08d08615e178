"""Verify: that the stored alerts follow from the stored actions, the rule versions and the users' settings.

Every action is judged again by the rule set that first judged it, in order of time, which shows what stands. For users
with late events that is done in order of arrival too, transaction by transaction with the repairs, which shows what was
answered, what was raised late, and what held for a while.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Protocol

from database.records import StoredAlert, StoredTotals, Users
from rules.base import reading
from rules.hindsight.stored_history import AlertsInOrder, Settings, action_of, by_user, settings_at
from rules.hindsight.verify_report import (
    ExpectedAlert,
    VerifyReport,
    compare_codes,
    differences,
    note_totals,
    numbers_shown,
)
from rules.judging.batch import BatchUser
from rules.judging.evidence import evidence_of
from rules.judging.late import reach_of
from rules.judging.repair import repair
from rules.model import ACTION_TYPES, Action
from rules.pruned import Pruned, is_complete, was_complete_on_arrival
from rules.timeline import History, Timeline
from rules.versions import FIRST_SETTINGS, RuleSet, RuleVersions

Key = tuple[int, int]  # seq, code


class VerifiedAction(NamedTuple):
    """An action with the rule set that first judged it, its answer, and in which transaction it was stored."""

    action: Action
    rule_set: RuleSet
    codes: str
    transaction: str


class Source(Protocol):
    """Where some users' actions and alerts are read; all come as they are taken, since a user may have millions."""

    def actions(self, users: Users, *, as_they_came: bool = False) -> Iterator[str]:
        """As `database.history.actions_to_verify`."""

    def alerts(self, users: Users) -> Iterator[StoredAlert]:
        """As `database.history.alerts`."""


class PacedTimeline(Timeline):
    """A timeline that calls `pause` each time that an action is about to be judged on it."""

    __slots__ = ("_pause",)

    def __init__(self, pause: Callable[[], None]) -> None:
        super().__init__()
        self._pause = pause

    def at(self, action: Action) -> History:
        self._pause()
        return super().at(action)


class Verifier:
    """Verifies users by what the rules of one database were ever set to.

    `pause` is called for every action that is judged and every alert that is compared; it may wait, and what it raises
    ends the verification. `when_unproved` is called with each alert (user_id, seq, code) that cannot be proved.
    """

    def __init__(
        self,
        versions: RuleVersions,
        pause: Callable[[], None] | None = None,
        when_unproved: Callable[[tuple[int, int, int]], None] | None = None,
    ) -> None:
        self._versions, self._pause, self._when_unproved = versions, pause, when_unproved

    def verify(
        self,
        users: Users,
        source: Source,
        settings: Settings,
        totals: Iterable[StoredTotals],
        pruned: Mapping[int, Pruned],
    ) -> VerifyReport:
        """Verify `users`; `settings` and `totals` are all that they ever had, and what their rows say.

        `pruned` is what is left of removed actions, by user. What was judged with those and cannot be judged without
        them is counted and passed over.

        Of a user all of whose actions came in order, no more is held than what rules look back at.
        """
        report = VerifyReport()
        alerts = AlertsInOrder(source.alerts(users))
        noted = {one.user_id: (one.last_seq, one.net) for one in totals}
        for user_id, lines in by_user(source.actions(users)):
            report.users += 1
            user = _User(user_id, self, settings, pruned.get(user_id))
            in_order = user.read_in_time(report, lines, noted.pop(user_id), alerts)
            if in_order is not None:
                report.join(in_order)
            else:
                own = Users(first=user_id, last=user_id, actions=0)
                user.read_as_they_came(report, source.actions(own, as_they_came=True), source.alerts(own))
        for user_id, stored in noted.items():  # those without any action
            gone = pruned.get(user_id)
            follows = (0, Decimal(0)) if gone is None else (gone.count, gone.net)
            if stored != follows:
                note_totals(report, user_id, stored, follows)
        return report

    def note_unproved(self, report: VerifyReport, user_id: int, seq: int, code: int) -> None:
        """Count a stored alert about which not all can be derived."""
        report.unproved += 1
        if self._when_unproved is not None:
            self._when_unproved((user_id, seq, code))


# So many actions are read before what no rule looks back at any more is dropped.
_TO_FORGET = 10_000


class _User:
    """One user while it is verified."""

    def __init__(self, user_id: int, verifier: Verifier, settings: Settings, pruned: Pruned | None) -> None:
        self._id, self._verifier, self._settings, self._pruned = user_id, verifier, settings, pruned
        self._versions, self._pause = verifier._versions, verifier._pause
        self._rule_sets: set[RuleSet] = set()
        self._standing: set[Key] = set()
        self._unknown: set[Key] = set()  # of which it is not known whether they stand

    def read_in_time(
        self, report: VerifyReport, lines: Iterable[list[str]], totals: tuple[int, Decimal], alerts: AlertsInOrder
    ) -> VerifyReport | None:
        """Verify the numbers, and find what stands: what actions in order of time raise, each with those before it.

        If they came in that order too, that is also what they raised: then it returns the report on their alerts.
        """
        found: VerifyReport | None = VerifyReport()
        count, seq = 0, 0
        counts, sums = {"deposit": 0, "withdraw": 0}, {"deposit": Decimal(0), "withdraw": Decimal(0)}
        timeline = self._timeline()
        if self._pruned is not None:
            timeline.go_on_from(self._pruned.first, self._pruned.numbers)
            for removed, (number, total) in self._pruned.numbers.items():
                counts[removed], sums[removed] = number, total
        for line in lines:
            one = self._action(report, line)
            now, kind = one.action, one.action.type
            count += 1
            counts[kind] += 1
            sums[kind] += now.amount
            if line[7] != str(counts[kind]) or Decimal(line[8]) != sums[kind]:
                what = "its running count or sum is not that of the actions before it"
                stored_numbers = numbers_shown(int(line[7]), Decimal(line[8]))
                report.note(
                    self._id, now.seq, None, what, "running", stored_numbers, numbers_shown(counts[kind], sums[kind])
                )
            expected, unknown, unproved = _raised(timeline, one, self._pruned)
            self._standing.update((now.seq, code) for code in expected)
            if unproved:
                report.unproved_actions += 1
                self._unknown.update((now.seq, code) for code in unknown)
            if now.seq < seq:
                found = None
            if found is not None:
                stored = alerts.of(self._id, now.seq)
                found.alerts += len(stored)
                for code in unproved & stored.keys():
                    self._verifier.note_unproved(found, self._id, now.seq, code)
                for code in (expected.keys() | stored.keys()) - unknown:
                    follows, stands = expected.get(code), code in expected
                    for difference in differences(
                        stored.get(code), follows, stands, now.time, is_unproved=code in unproved
                    ):
                        found.note(self._id, now.seq, code, *difference)
                answer = [code for code, alert in expected.items() if not alert.shadow and code not in unproved]
                compare_codes(found, self._id, now.seq, one.codes, answer, unproved)
            seq = now.seq
            if count % _TO_FORGET == 0:
                seconds, keep = self._looks_back
                timeline.forget(now.time - seconds, keep)
        report.actions += count
        in_all = count if self._pruned is None else count + self._pruned.count
        if totals != (from_actions := (in_all, sums["deposit"] - sums["withdraw"])):
            note_totals(report, self._id, totals, from_actions)
        return found

    def read_as_they_came(self, report: VerifyReport, lines: Iterable[str], alerts: Iterable[StoredAlert]) -> None:
        """Verify the alerts of a user some of whose actions came late, after `read_in_time`.

        What late ones change is judged again at the end of each transaction.
        """
        user = BatchUser(
            user_id=0, rule_set=next(iter(self._rule_sets)), timeline=self._timeline(), pruned=self._pruned
        )
        reach = reach_of(rule for rule_set in self._rule_sets for rule in rule_set.all)
        arrived = (self._action(None, line.split("\t")) for line in lines)
        for _, batch in groupby(arrived, attrgetter("transaction")):
            together = list(batch)
            user.late, user.first_new = [], together[0].action.seq
            for one in together:
                seq, raised = one.action.seq, user.arrive(one.action, one.rule_set)
                unproved = {rule.code for rule in one.rule_set.all if (seq, rule.code) in user.unproved}
                compare_codes(report, self._id, seq, one.codes, raised, unproved)
            if user.late:
                repair(user, reach)
        # Each is forgotten as soon as it has been compared: together they could take hundreds of megabytes.
        for alert in alerts:
            report.alerts += 1
            self._compare(report, user, (alert.seq, alert.code), alert)
        for key in user.alerts.keys() | self._standing:
            self._compare(report, user, key, None)

    def _compare(self, report: VerifyReport, user: BatchUser, key: Key, alert: StoredAlert | None) -> None:
        if self._pause is not None:
            self._pause()
        state, stands = user.alerts.pop(key, None), key in self._standing
        self._standing.discard(key)
        expected, is_unproved = None, key in user.unproved or key in self._unknown
        if is_unproved and alert is not None:
            self._verifier.note_unproved(report, self._id, *key)
        if key in self._unknown:
            return
        if state is not None and not is_unproved:
            expected = ExpectedAlert(late=state.late, shadow=state.shadow, evidence=json.loads(state.evidence or ""))
        for difference in differences(alert, expected, stands, user.times[key[0]], is_unproved=is_unproved):
            report.note(self._id, *key, *difference)

    def _timeline(self) -> Timeline:
        return Timeline() if self._pause is None else PacedTimeline(self._pause)

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


def _raised(
    timeline: Timeline, one: VerifiedAction, pruned: Pruned | None
) -> tuple[dict[int, ExpectedAlert], set[int], set[int]]:
    """What an action raises after those on `timeline`, to which it is added; by code.

    Then the codes of which that is not known without removed actions, and those, more, of which it is not known what
    was raised when the action arrived.
    """
    timeline.add(one.action)
    history = timeline.at(one.action)
    found: dict[int, ExpectedAlert] = {}
    unknown: set[int] = set()
    unproved: set[int] = set()
    was_there = pruned is not None and one.action.seq <= pruned.until_seq
    for rule in one.rule_set.by_type[one.action.type]:
        if was_there and pruned is not None and not was_complete_on_arrival(rule, history, pruned):
            unproved.add(rule.code)
            if not is_complete(rule, history, pruned):
                unknown.add(rule.code)
                continue
        finding = rule.check(history, rule.parameters)
        if finding is not None:
            found[rule.code] = ExpectedAlert(late=False, shadow=rule.shadow, evidence=evidence_of(rule, finding))
    return found, unknown, unproved
