"""Judging: from posted events to stored actions and alerts, in one transaction.

The transaction locks the users of all events and counts their actions up (one statement, users in order, so
that two batches cannot deadlock), reads the bounded history that the active rules declare (one statement,
after the lock: it sees all that others committed while this one waited), judges in plain Python, and stores
actions and alerts (one statement each). The number of statements does not grow with events, users or rules.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, cast

from sqlalchemy.orm import Session  # noqa: TID251

from database import queries  # noqa: TID251
from database.queries import Between, Deltas, EventKey, LastN, NewAction, NewAlert  # noqa: TID251
from database.session import commit  # noqa: TID251
from rules.base import Reach, Rule, RuleInForce, reach
from rules.model import (
    ACTION_TYPES,
    LAST_TIME,
    RISKS,
    Action,
    ActionType,
    Event,
    Finding,
    Risk,
    Timeline,
    Value,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event was stored (or had been before: `replayed`) and raised `codes`, in the registry's order."""

    user_id: int
    codes: tuple[int, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event was not stored, and why."""

    reason: Literal["unknown_user", "overdraft", "out_of_order", "event_id_conflict"]
    detail: str


Outcome = Verdict | Refusal


@dataclass(frozen=True)
class Policy:
    """What holds for every event: the active rules in answer order, and what to do in doubtful cases."""

    rules: tuple[Rule, ...]
    create_users: bool = True
    allow_overdraft: bool = True
    accept_out_of_order: bool = True


class RuleEngine:
    """Judges events under one policy. It keeps no state between calls: any number of threads may share it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rules: dict[tuple[Risk, ActionType], list[RuleInForce]] = {
            (risk, kind): [RuleInForce.for_risk(rule, risk) for rule in policy.rules if rule.judges(kind)]
            for risk in RISKS
            for kind in ACTION_TYPES
        }
        # Which user has which rating is known only under the lock; no rating looks further back than another.
        self._reach: dict[ActionType, dict[ActionType, Reach]] = {
            kind: reach([in_force for risk in RISKS for in_force in self._rules[risk, kind]]) for kind in ACTION_TYPES
        }

    def process(self, session: Session, events: Sequence[Event]) -> list[Outcome]:
        """Store and judge `events` as if they came one by one in the order given; one outcome for each.

        Ends the session's transaction: committed, or rolled back where no event was stored. Raises what the
        database raises, and CommitUncertain when the connection broke during the commit.
        """
        ledger = self._open(session, events)
        outcomes = [self._settle(ledger, event) for event in events]
        if not ledger.actions:
            session.rollback()  # nothing was stored: neither counts nor new users may stay
            return outcomes
        queries.insert_actions(session, ledger.actions)
        if ledger.alerts:
            queries.insert_alerts(session, ledger.alerts)
        _return_unused(session, ledger)
        commit(session)
        return outcomes

    def _open(self, session: Session, events: Sequence[Event]) -> "_Ledger":
        """Lock the users, read their history, and lay both out for judging."""
        deltas = _deltas(events)
        rows = queries.count_and_lock(session, deltas, self._policy.create_users)
        added = {delta.user_id: delta for delta in deltas}
        accounts = {
            row.user_id: _Account(
                risk=row.risk,
                is_new=row.is_new,
                next_seq=row.last_seq - added[row.user_id].actions + 1,
                balance=row.balance - added[row.user_id].net,
                unused=added[row.user_id],
            )
            for row in rows
        }
        ledger = _Ledger(accounts)
        for row in queries.read_history(session, *self._requests(events)):
            action = Action(row.seq, row.type, row.amount, row.time)
            accounts[row.user_id].stored[row.seq] = action
            if row.event_id is not None:
                ledger.known[row.user_id, row.event_id] = (action, tuple(row.alert_codes))
        for account in accounts.values():
            for action in sorted(account.stored.values(), key=lambda action: action.place):
                account.timeline.add(action)
        return ledger

    def _requests(self, events: Sequence[Event]) -> tuple[list[LastN], list[Between], list[EventKey]]:
        """The least to read for judging `events`, by what their rules declare."""
        last: dict[tuple[int, ActionType, int], int] = {}
        spans: dict[tuple[int, ActionType], list[tuple[int, int]]] = defaultdict(list)
        for event in events:
            for kind, look in self._reach[event.type].items():
                if look.count:
                    place = (event.user_id, kind, event.time)
                    last[place] = max(last.get(place, 0), look.count)
                if look.seconds is not None:
                    spans[event.user_id, kind].append((max(0, event.time - look.seconds), event.time))
        if not self._policy.accept_out_of_order:
            newest = ((user_id, kind, LAST_TIME) for user_id in {e.user_id for e in events} for kind in ACTION_TYPES)
            for place in newest:
                last[place] = max(last.get(place, 0), 1)
        keys = {EventKey(event.user_id, event.event_id) for event in events if event.event_id is not None}
        return (
            [LastN(*place, count) for place, count in last.items()],
            [Between(*whose, start, end) for whose, of_one in spans.items() for start, end in _merged(of_one)],
            list(keys),
        )

    def _settle(self, ledger: "_Ledger", event: Event) -> Outcome:
        """Judge one event and enter it into the ledger, or say why it is refused."""
        account = ledger.accounts.get(event.user_id)
        if account is None:
            return Refusal("unknown_user", f"There is no user {event.user_id}.")
        if event.event_id is not None and (known := ledger.known.get((event.user_id, event.event_id))):
            first, codes = known
            if (first.type, first.amount, first.time) == (event.type, event.amount, event.time):
                return Verdict(event.user_id, codes, replayed=True)
            return Refusal("event_id_conflict", "This event_id came before with another payload.")
        signed = _signed(event)
        if not self._policy.allow_overdraft and event.type == "withdraw" and account.balance + signed < 0:
            return Refusal("overdraft", "The withdrawal is larger than the balance.")
        newest = account.timeline.newest()
        if not self._policy.accept_out_of_order and newest is not None and event.time < newest.time:
            return Refusal("out_of_order", f"The user's newest action is at time {newest.time}.")

        action = Action(account.next_seq, event.type, event.amount, event.time)
        account.enter(action, signed)
        history = account.timeline.at(action)
        codes = ()
        for in_force in self._rules[account.risk, event.type]:
            finding = in_force.rule.check(history, in_force.parameters)
            if finding is not None:
                code = in_force.rule.code
                codes += (code,)
                ledger.alerts.append(NewAlert(event.user_id, action.seq, code, _evidence(in_force, finding)))
        ledger.actions.append(
            NewAction(
                event.user_id,
                action.seq,
                event.type,
                event.amount,
                event.time,
                event.event_id,
                "{" + ",".join(str(code) for code in codes) + "}",
            )
        )
        if event.event_id is not None:
            ledger.known[event.user_id, event.event_id] = (action, codes)
        return Verdict(event.user_id, codes)


class _Account:
    """One locked user while a batch is judged: the state before each event, and what is left of the count."""

    def __init__(self, risk: str, is_new: bool, next_seq: int, balance: Decimal, unused: Deltas) -> None:
        self.risk = cast(Risk, risk)
        self.is_new = is_new
        self.next_seq = next_seq
        self.balance = balance
        self.unused = unused
        self.stored: dict[int, Action] = {}
        self.timeline = Timeline()

    def enter(self, action: Action, signed: Decimal) -> None:
        self.timeline.add(action)
        self.next_seq += 1
        self.balance += signed
        self.unused = Deltas(self.unused.user_id, self.unused.actions - 1, self.unused.net - signed)


class _Ledger:
    """All that one batch reads and writes."""

    def __init__(self, accounts: dict[int, _Account]) -> None:
        self.accounts = accounts
        self.known: dict[tuple[int, str], tuple[Action, tuple[int, ...]]] = {}
        self.actions: list[NewAction] = []
        self.alerts: list[NewAlert] = []


def _deltas(events: Iterable[Event]) -> list[Deltas]:
    counts: dict[int, int] = defaultdict(int)
    nets: dict[int, Decimal] = defaultdict(Decimal)
    for event in events:
        counts[event.user_id] += 1
        nets[event.user_id] += _signed(event)
    return [Deltas(user_id, counts[user_id], nets[user_id]) for user_id in sorted(counts)]


def _signed(event: Event) -> Decimal:
    return event.amount if event.type == "deposit" else -event.amount


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    # Overlapping windows of one user are read once.
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _return_unused(session: Session, ledger: _Ledger) -> None:
    # Users were counted up for every event before any was judged; refused and replayed ones give that back.
    unused = [account for account in ledger.accounts.values() if account.unused.actions]
    gone = {a.unused.user_id for a in unused if a.is_new and a.next_seq == 1}
    if back := [a.unused for a in unused if a.unused.user_id not in gone]:
        queries.take_back(session, back)
    if gone:
        queries.forget_users(session, list(gone))


def _evidence(in_force: RuleInForce, finding: Finding) -> str:
    evidence = {
        "rule_version": in_force.rule.version,
        "measured": _plain(finding.measured),
        "parameters": {name: _plain(value) for name, value in in_force.parameters.items().items()},
        "origin": in_force.origin,
        "actions": finding.actions,
        "sentence": finding.sentence,
    }
    if finding.unlisted:
        evidence["actions_unlisted"] = finding.unlisted
    return json.dumps(evidence)


def _plain(value: Value) -> str | int:
    # Money leaves as text with two decimals: as a number it would be read as a float.
    return str(value) if isinstance(value, Decimal) else value
