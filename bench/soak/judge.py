"""An independent judge: what must be stored, by the definition of the rules, from the stored actions alone.

It shares no code with the service: each rule is a few lines over all actions of a user in order of time, with plain
sums. Money is whole cents. A rule that is not here must not have raised any alert.

Of users whose old actions were removed, counts and sums must be exact; what looks back at removed actions is passed
over.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

Alert = tuple[int, int]  # seq, code
Params = Mapping[str, int]  # money in cents, factors in hundredths
UserVersion = tuple[int, int]  # a user, and the version of the settings
RiskAndOwn = tuple[str, Mapping[str, Any]]  # a rating, and overrides

# What the risk rating scales, in halves: high is half, low is twice. The half cent is dropped.
SCALED = {(1100, "threshold"), (123, "threshold")}
HALVES = {"low": 4, "normal": 2, "high": 1}
LISTED = 20  # differences that are told; all are counted


class Stored(NamedTuple):
    """A stored action, with what it was answered and what judged it."""

    user_id: int
    seq: int
    type: str
    cents: int
    time: int
    codes: tuple[int, ...]
    rules_number: int
    settings_version: int


class StoredAlert(NamedTuple):
    """A stored alert: whether it came late, no longer holds, or is that of a rule in shadow."""

    user_id: int
    seq: int
    code: int
    late: bool
    superseded: bool
    shadow: bool


class Removed(NamedTuple):
    """What is on record of a user's removed actions, all those with a time before `before`: by type, count and cents.

    `until_seq` is the user's newest action when some were removed last.
    """

    before: int
    until_seq: int = 0
    counts: Mapping[str, int] = {"deposit": 0, "withdraw": 0}
    sums: Mapping[str, int] = {"deposit": 0, "withdraw": 0}

    @property
    def net(self) -> int:
        """What they came to."""
        return self.sums["deposit"] - self.sums["withdraw"]


NOTHING = Removed(before=0)


class RuleRow(NamedTuple):
    """One change of a rule."""

    number: int
    code: int
    status: str
    parameters: Mapping[str, Any]
    by_risk: Mapping[str, Mapping[str, Any]]


def _number(written: Any) -> int:
    return written if isinstance(written, int) else int(Decimal(written) * 100)


class InForce:
    """What was in force for an action, from all changes of rules and all ratings and overrides that users had."""

    def __init__(self, rules: Iterable[RuleRow], users: Mapping[UserVersion, RiskAndOwn]) -> None:
        self._rules = sorted(rules)
        self._users = users
        self.in_force = lru_cache(maxsize=4096)(self._in_force)

    def of(self, action: Stored) -> Mapping[int, tuple[str, Params]]:
        """By code: status and parameters of every rule that was not off."""
        risk, overrides = "normal", "{}"
        if action.settings_version:
            risk, own = self._users[action.user_id, action.settings_version]
            overrides = json.dumps(own)
        return self.in_force(action.rules_number, risk, overrides)

    def _in_force(self, number: int, risk: str, overrides: str) -> Mapping[int, tuple[str, Params]]:
        latest = {row.code: row for row in self._rules if row.number <= number}
        own = json.loads(overrides)
        found = {}
        for code, row in latest.items():
            values = {}
            for name, written in row.parameters.items():
                if name in own.get(str(code), {}):
                    values[name] = _number(own[str(code)][name])
                elif name in row.by_risk.get(risk, {}):
                    values[name] = _number(row.by_risk[risk][name])
                else:
                    value = _number(written)
                    values[name] = value * HALVES[risk] // 2 if (code, name) in SCALED else value
            if row.status != "off":
                found[code] = (row.status, values)
        return found


@dataclass
class Seen:
    """All of one user's actions so far, in order of time, after those that were removed."""

    removed: Removed = NOTHING
    times: list[int] = field(default_factory=list)
    deposit_times: list[int] = field(default_factory=list)
    deposit_sums: list[int] = field(default_factory=lambda: [0])
    withdrawals_in_a_row: int = 0
    rising_deposits: int = 0
    last_deposit: int = 0
    counts: dict[str, int] = field(init=False)
    sums: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts, self.sums = dict(self.removed.counts), dict(self.removed.sums)

    def add(self, action: Stored) -> None:
        """The next action."""
        self.times.append(action.time)
        self.counts[action.type] += 1
        self.sums[action.type] += action.cents
        if action.type == "withdraw":
            self.withdrawals_in_a_row += 1
            return
        self.withdrawals_in_a_row = 0
        self.rising_deposits = self.rising_deposits + 1 if action.cents > self.last_deposit else 1
        self.last_deposit = action.cents
        self.deposit_times.append(action.time)
        self.deposit_sums.append(self.deposit_sums[-1] + action.cents)

    def knows(self, code: int, now: Stored, by: Params) -> bool:
        """Whether all is there that the rule `code` looks back at from `now`, the newest action.

        What had been removed before an action came played no part in it.
        """
        if now.seq > self.removed.until_seq:
            return True
        if code == 30:
            return len(self.times) >= by["count"]
        if code == 300:
            return len(self.deposit_times) >= by["count"] or not self.removed.counts["deposit"]
        if code in (123, 500):
            return now.time - by["window"] >= self.removed.before
        return True

    def raises(self, code: int, now: Stored, by: Params) -> bool:
        """Whether the rule `code` fires on `now`, the newest action."""
        if code == 1100:
            return now.type == "withdraw" and now.cents > by["threshold"]
        if code == 30:
            return self.withdrawals_in_a_row >= by["count"]
        if code == 300:
            return now.type == "deposit" and self.rising_deposits >= by["count"]
        if code == 123:
            first = bisect_left(self.deposit_times, now.time - by["window"])
            return now.type == "deposit" and self.deposit_sums[-1] - self.deposit_sums[first] > by["threshold"]
        if code == 500:
            return len(self.times) - bisect_left(self.times, now.time - by["window"]) > by["count"]
        if code == 630:
            before, sum_before = self.counts[now.type] - 1, self.sums[now.type] - now.cents
            return before >= by["count"] and now.cents * before * 100 > by["times"] * sum_before
        raise ValueError(f"the judge does not know rule {code}")


class Expected(NamedTuple):
    """The alerts that must stand, and whether each is that of a rule in shadow; and those of which nobody can say."""

    standing: dict[Alert, bool]
    unknown: set[Alert]


def expected_of(actions: Iterable[Stored], settings: InForce, removed: Removed = NOTHING) -> Expected:
    """What is expected of the actions of one user, after those that were removed."""
    seen, found, unknown = Seen(removed), {}, set()
    for action in sorted(actions, key=attrgetter("time", "seq")):
        seen.add(action)
        for code, (status, by) in settings.of(action).items():
            if not seen.knows(code, action, by):
                unknown.add((action.seq, code))
            elif seen.raises(code, action, by):
                found[action.seq, code] = status == "shadow"
    return Expected(found, unknown)


@dataclass
class Findings:
    """What was looked at, and what is wrong with it."""

    users: int = 0
    actions: int = 0
    alerts: int = 0
    removed: int = 0  # actions
    unknown: int = 0  # alerts that were passed over
    wrong: int = 0
    listed: list[str] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Count something wrong, and list it unless there is much."""
        self.wrong += 1
        if len(self.listed) < LISTED:
            self.listed.append(what)


def judge(
    actions: Iterable[Stored],
    alerts: Iterable[StoredAlert],
    users: Mapping[int, tuple[int, int]],
    settings: InForce,
    removed: Mapping[int, Removed] = MappingProxyType({}),
) -> Findings:
    """Hold everything against the definition of the rules.

    `actions` and `alerts` come by user, `users` have their count of actions and their net in cents, `removed` what is
    on record of removed ones. Of each user one thing after the other: arrivals without gaps, count and balance, the
    standing alerts, and that each answer is what was raised at once.
    """
    findings, left = Findings(users=len(users)), dict(users)
    by_user = _grouped(alerts)
    pending = next(by_user, None)
    for user_id, own in _grouped(actions):
        of_user: list[StoredAlert] = []
        while pending is not None and pending[0] <= user_id:
            of_user = pending[1] if pending[0] == user_id else of_user
            if pending[0] != user_id:
                findings.note(f"user {pending[0]} has alerts and no actions")
            pending = next(by_user, None)
        findings.actions += len(own)
        findings.alerts += len(of_user)
        was = removed.get(user_id, NOTHING)
        _check_user(findings, user_id, own, of_user, settings, left.pop(user_id, (0, 0)), was)
    findings.removed = sum(sum(was.counts.values()) for was in removed.values())
    for user_id, (count, net) in left.items():
        was = removed.get(user_id, NOTHING)
        if (count, net) != (sum(was.counts.values()), was.net):
            findings.note(f"user {user_id} has no action, and counts {count} of {net} cents")
    return findings


def _grouped(rows: Iterable[Any]) -> Iterator[tuple[int, list[Any]]]:
    for user_id, own in groupby(rows, key=attrgetter("user_id")):
        yield user_id, list(own)


def _check_user(
    findings: Findings,
    user_id: int,
    own: list[Stored],
    alerts: list[StoredAlert],
    settings: InForce,
    counted: tuple[int, int],
    removed: Removed,
) -> None:
    # With all of them there, and none twice, the count leaves no gap.
    count = len(own) + sum(removed.counts.values())
    if (
        len({one.seq for one in own}) != len(own)
        or not 1 <= min(one.seq for one in own) <= max(one.seq for one in own) <= count
    ):
        findings.note(f"user {user_id}: the arrivals have gaps")
    net = removed.net + sum(one.cents if one.type == "deposit" else -one.cents for one in own)
    if counted != (count, net):
        findings.note(f"user {user_id}: counts {counted}, and there are {(count, net)}")
    if min(one.time for one in own) < removed.before:
        findings.note(f"user {user_id}: an action is older than the cut")
    numbers = [one.rules_number for one in sorted(own, key=attrgetter("seq"))]
    if numbers != sorted(numbers):
        findings.note(f"user {user_id}: an action was judged by older rules than one before it")
    expected, unknown = expected_of(own, settings, removed)
    findings.unknown += sum((one.seq, one.code) in unknown for one in alerts)
    found = {
        (one.seq, one.code): one.shadow for one in alerts if not one.superseded and (one.seq, one.code) not in unknown
    }
    for seq, code in sorted(expected.keys() - found.keys()):
        findings.note(f"user {user_id}, action {seq}: {code} must stand, and does not")
    for seq, code in sorted(found.keys() - expected.keys()):
        findings.note(f"user {user_id}, action {seq}: {code} stands, and must not")
    for seq, code in sorted(key for key in expected.keys() & found.keys() if expected[key] != found[key]):
        findings.note(f"user {user_id}, action {seq}: {code} is in shadow, or should be")
    at_once: dict[int, set[int]] = {}
    for alert in alerts:
        if not alert.late and not alert.shadow:
            at_once.setdefault(alert.seq, set()).add(alert.code)
    for one in own:
        if set(one.codes) != at_once.get(one.seq, set()) or len(set(one.codes)) != len(one.codes):
            findings.note(f"user {user_id}, action {one.seq}: answered {one.codes}, raised {at_once.get(one.seq)}")
