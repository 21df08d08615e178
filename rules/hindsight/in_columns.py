"""Which stored actions rules fire on: by the rules' twins for all users at once, and else by their checks.

A rule without a twin is judged action by action; so is a user whose amounts are too large for columns, by all rules.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np

from rules.base import First, Last, RuleInForce, SumsSoFar
from rules.columns import ActionColumns, Histories, Ints, Mask
from rules.hindsight.stored_columns import StoredUsers
from rules.hindsight.stored_history import Settings, settings_at
from rules.model import ActionType, Finding
from rules.pruned import is_complete
from rules.timeline import History, Timeline
from rules.versions import FIRST_SETTINGS, RiskAndOverrides, RuleSet

Steps = tuple[RuleSet, ...]  # the candidates, and in a sweep the rule that changes with each of its values

_NOTHING = np.zeros(0, np.int64)


class FoundAt(NamedTuple):
    """An action that the candidates fire on: its place, and the rule that does, with what it finds."""

    place: int
    rule: RuleInForce
    finding: Finding


@dataclass
class _Group:
    """Actions that are judged by the same settings: `rows`, where `columns` has all actions of their users."""

    steps: Steps
    columns: ActionColumns
    places: Ints  # of all actions in `columns`, among all actions
    rows: Ints

    def __post_init__(self) -> None:
        self._histories: dict[ActionType | None, Histories] = {}

    def histories(self, of: ActionType | None) -> Histories:
        """What those of one type (None: of any) see."""
        found = self._histories.get(of)
        if found is None:
            rows = self.rows
            if of is not None:
                is_deposit = self.columns.every.is_deposit[rows]
                rows = rows[is_deposit if of == "deposit" else ~is_deposit]
            found = self._histories[of] = Histories(self.columns, rows)
        return found


class Firing:
    """The actions of `users` from `start` on, judged by the rules that `steps_for` puts in force for settings."""

    def __init__(
        self, users: StoredUsers, settings: Settings, steps_for: Callable[[RiskAndOverrides], Steps], start: int
    ) -> None:
        self._users = users
        self._in_period = users.actions.time >= start
        self._by_settings, self._settings_of = _by_settings(users, settings)
        self._steps = [steps_for(one) for one in self._by_settings]
        self._alone = users.too_large
        self._groups = self._grouped()
        self._by_rows, self._unknown_by_rows = self._judge_rows()

    def places(self, step: int, code: int) -> Ints:
        """The places of the actions that the rule with this code fires on at a step, in order, known or not."""
        found = [np.array(self._by_rows[step, code], np.int64)] if (step, code) in self._by_rows else []
        for group in self._groups:
            rule = _rule(group.steps[step], code)
            if rule.rule.twin is not None:
                histories = group.histories(rule.rule.fires_on)
                found.append(group.places[histories.places[rule.rule.twin(histories, rule.parameters)]])
        return found[0] if len(found) == 1 else np.sort(np.concatenate([_NOTHING, *found]))

    @cached_property
    def unknown(self) -> dict[int, Mask]:
        """By code, which actions cannot be judged by all steps as if nothing had been removed; if any of any code."""
        if not self._users.pruned:
            return {}
        found: dict[int, Mask] = defaultdict(lambda: np.zeros(len(self._users.user), bool))
        until = np.full(len(self._users), -1)
        for user, pruned in self._users.pruned.items():
            until[user] = pruned.until_seq
        there = self._users.actions.seq <= until[self._users.user]
        for group in self._groups:
            for rule in _all_of(group.steps):
                histories = group.histories(rule.rule.fires_on)
                places = group.places[histories.places]
                found[rule.code][places[there[places] & self._incomplete(rule, histories, places)]] = True
        for code, rows in self._unknown_by_rows.items():
            found[code][rows] = True
        return {code: mask for code, mask in found.items() if mask.any()}

    def findings(self, user: int, wanted: Sequence[tuple[int, int]]) -> list[FoundAt]:
        """What the candidates find at these places of one user with rules of these codes, in order."""
        found = []
        actions = iter(self._users.actions_of(user, until=wanted[-1][0]))
        at, timeline = int(self._users.begins[user]), self._timeline(user)
        for place, group in groupby(wanted, lambda one: one[0]):
            for now in actions:
                timeline.add(now)
                at += 1
                if at > place:
                    break
            for _, code in group:
                rule = _rule(self._steps_at(place)[0], code)
                finding = rule.check(timeline.at(now), rule.parameters)
                if finding is None:
                    raise AssertionError(f"the twin of rule {code} fires where its check does not")
                found.append(FoundAt(place, rule, finding))
        return found

    def _steps_at(self, place: int) -> Steps:
        return self._steps[0 if self._settings_of is None else self._settings_of[place]]

    def _grouped(self) -> list[_Group]:
        users, chosen = self._users, self._in_period
        if len(self._alone):
            chosen = chosen & ~np.isin(users.user, self._alone)
        whole, rows = users.columns(), np.flatnonzero(chosen)
        if self._settings_of is None:
            return [_Group(self._steps[0], *whole, rows)]
        rows = rows[np.argsort(self._settings_of[rows], kind="stable")]
        cuts = np.searchsorted(self._settings_of[rows], np.arange(1, len(self._steps)))
        found = []
        for steps, own in zip(self._steps, np.split(rows, cuts), strict=True):
            if len(own):
                owners = np.unique(users.user[own])
                # A user with most of the actions may have had hundreds of settings: no copy for each of these.
                is_small = 2 * (users.ends[owners] - users.begins[owners]).sum() < len(users.user)
                columns, places = users.columns(owners) if is_small else whole
                found.append(_Group(steps, columns, places, np.searchsorted(places, own)))
        return found

    def _incomplete(self, rule: RuleInForce, histories: Histories, places: Ints) -> Mask:
        """As `rules.pruned.is_complete`, but which are not, of actions that were there when others were removed."""
        found = np.zeros(len(places), bool)
        for look in rule.rule.look_back:
            if isinstance(look, SumsSoFar | First):
                continue
            before = self._removed_before(look.of)[self._users.user[places]]
            if isinstance(look, Last):
                count = rule.number(look.count)
                is_short = histories.last(count, look.of).actions < count
            else:
                is_short = histories.times - rule.number(look.seconds) < before
            found |= is_short & (before >= 0)
        return found

    def _removed_before(self, of: ActionType | None) -> Ints:
        """The time before which each user's actions (of one type, if given) were removed; -1 if none were."""
        found = np.full(len(self._users), -1)
        for user, pruned in self._users.pruned.items():
            if of is None or of in pruned.numbers:
                found[user] = pruned.before
        return found

    # Row by row

    def _judge_rows(self) -> tuple[dict[tuple[int, int], list[int]], dict[int, list[int]]]:
        """The places that rules fire on by step and code, and of which that is not known by code."""
        found: dict[tuple[int, int], list[int]] = defaultdict(list)
        unknown: dict[int, list[int]] = defaultdict(list)
        alone = set(self._alone.tolist())
        if all(rule.rule.twin for steps in self._steps for rule in _all_of(steps)):
            users: Iterable[int] = sorted(alone)
        else:
            users = range(len(self._users))
        for user in users:
            self._judge_user(user, user in alone, found, unknown)
        return found, unknown

    def _judge_user(
        self, user: int, is_alone: bool, found: dict[tuple[int, int], list[int]], unknown: dict[int, list[int]]
    ) -> None:
        actions, timeline = self._users.actions_of(user), self._timeline(user)
        pruned = self._users.pruned.get(user) if is_alone else None
        history = History(timeline, actions[0])  # one for all, since a check keeps nothing of it
        begin = int(self._users.begins[user])
        in_period = self._in_period[begin : begin + len(actions)].tolist()
        for place, now in enumerate(actions, begin):
            timeline.add(now)
            if not in_period[place - begin]:
                continue
            history.now = now
            for step, rule_set in enumerate(self._steps_at(place)):
                for rule in rule_set.by_type[now.type]:
                    if rule.rule.twin is not None and not is_alone:
                        continue
                    if pruned is not None and not is_complete(rule, history, pruned):
                        unknown[rule.code].append(place)
                    if rule.check(history, rule.parameters) is not None:
                        found[step, rule.code].append(place)

    def _timeline(self, user: int) -> Timeline:
        timeline, pruned = Timeline(), self._users.pruned.get(user)
        if pruned is not None:
            timeline.go_on_from(pruned.first, pruned.numbers)
        return timeline


def _all_of(steps: Steps) -> list[RuleInForce]:
    return [rule for rule_set in steps for rule in rule_set.all]


def _rule(rule_set: RuleSet, code: int) -> RuleInForce:
    (found,) = (rule for rule in rule_set.all if rule.code == code)
    return found


def _by_settings(users: StoredUsers, settings: Settings) -> tuple[list[RiskAndOverrides], Ints | None]:
    """The settings by which actions are judged, and for each action which of them: None if there is only one."""
    versions = users.actions.settings_version
    if not versions.any():
        return [FIRST_SETTINGS], None
    known = {FIRST_SETTINGS: 0}
    changes = np.ones(len(versions), bool)
    changes[1:] = (versions[1:] != versions[:-1]) | (users.user[1:] != users.user[:-1])
    begins = np.flatnonzero(changes)
    found = []
    for user_id, version in zip(users.ids[users.user[begins]].tolist(), versions[begins].tolist(), strict=True):
        own = (settings_at(settings, user_id, version) if version else None) or FIRST_SETTINGS
        found.append(known.setdefault(own, len(known)))
    lengths = np.diff(np.append(begins, len(versions)))
    return list(known), np.repeat(np.array(found, np.int64), lengths)
