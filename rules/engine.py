"""Judging: from posted events to stored actions and alerts, in one transaction.

The transaction locks the users of all events and counts their actions up (one statement, users in order, so
that two batches cannot deadlock), reads the bounded history that the active rules declare (one statement,
after the lock: it sees all that others committed while this one waited), judges in plain Python, and stores
actions and alerts (one statement each). The number of statements does not grow with events, users or rules.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from time import perf_counter
from typing import Literal, cast

from sqlalchemy.orm import Session  # noqa: TID251

from database import queries  # noqa: TID251
from database.queries import (  # noqa: TID251
    Between,
    Deltas,
    EventKey,
    LastN,
    NewAction,
    NewAlert,
    NextN,
    Standing,
)
from database.session import abandon, committing  # noqa: TID251
from rules import late
from rules.base import Reach, Rule, RuleInForce, reach
from rules.ledger import Account, AlertState, JudgedBy, Known, Ledger
from rules.model import (
    ACTION_TYPES,
    LAST_TIME,
    RISKS,
    Action,
    ActionType,
    Event,
    Finding,
    Risk,
    Value,
)
from rules.observer import Observer, Stage
from rules.registry import REGISTRY


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
    """Judges events under one policy. It keeps no state between calls: any number of threads may share it.

    `observer` is told how each transaction goes.
    """

    def __init__(self, policy: Policy, observer: Observer | None = None) -> None:
        self._policy = policy
        self._observer = observer or Observer()
        self._rules: dict[tuple[Risk, ActionType], list[RuleInForce]] = {
            (risk, kind): [RuleInForce.for_risk(rule, risk) for rule in policy.rules if rule.judges(kind)]
            for risk in RISKS
            for kind in ACTION_TYPES
        }
        self._codes = tuple(rule.code for rule in policy.rules)
        self._surroundings = late.Surroundings(REGISTRY.values())
        # Which user has which rating is known only under the lock; no rating looks further back than another.
        self._reach: dict[ActionType, dict[ActionType, Reach]] = {
            kind: reach([in_force for risk in RISKS for in_force in self._rules[risk, kind]]) for kind in ACTION_TYPES
        }

    def process(self, session: Session, events: Sequence[Event], atomic: bool = False) -> list[Outcome]:
        """Store and judge `events` as if they came one by one in the order given; one outcome for each.

        With `atomic` one refusal is enough to store none of them: the verdicts beside it say what would have been.
        Ends the session's transaction: committed, or rolled back where no event was stored. Raises what the
        database raises, and CommitUncertain when the connection broke during the commit.
        """
        begun = perf_counter()
        self._observer.begun(len(events))
        try:
            ledger = self._open(session, events)
            begun = self._done("lock_and_read", begun)
            outcomes = [self._settle(ledger, event) for event in events]
            refused = atomic and any(isinstance(outcome, Refusal) for outcome in outcomes)
            if ledger.stored and not refused:
                self._repair(session, ledger)
                begun = self._done("judge", begun)
                _return_unused(session, ledger)
                self._store(session, ledger)
                self._done("write_and_commit", begun)
            else:
                queries.roll_back(session)  # nothing is stored: neither counts nor new users may stay
        except BaseException:
            abandon(session)
            raise
        session.close()  # the transaction has ended: the connection goes back to the pool
        return outcomes

    def _done(self, stage: Stage, begun: float) -> float:
        now = perf_counter()
        self._observer.done(stage, now - begun)
        return now

    def _open(self, session: Session, events: Sequence[Event]) -> Ledger:
        """Lock the users, read their history, and lay both out for judging."""
        deltas = _deltas(events)
        users, history = queries.begin_lock_and_read(
            session, deltas, self._policy.create_users, *self._requests(events)
        )
        added = {delta.user_id: delta for delta in deltas}
        accounts = {}
        for user in users:
            _, actions, net = added[user.user_id]
            next_seq, balance = user.last_seq - actions + 1, user.balance - net
            risk = cast(Risk, user.risk)
            accounts[user.user_id] = Account(user.user_id, risk, user.is_new, next_seq, balance, actions, net)
        ledger = Ledger(accounts)
        stored: dict[int, dict[int, Action]] = defaultdict(dict)
        for row in history:
            action = stored[row.user_id][row.seq] = Action(row.seq, row.type, row.amount, row.time)
            if row.event_id is not None:
                ledger.known[row.user_id, row.event_id] = Known(action, tuple(row.alert_codes))
        for user_id, actions_of_user in stored.items():
            accounts[user_id].load(actions_of_user)
        return ledger

    def _requests(self, events: Sequence[Event]) -> tuple[list[LastN], list[Between], list[EventKey]]:
        """The least to read for judging `events`, by what their rules declare."""
        times: dict[int, set[int]] = defaultdict(set)
        counts: dict[tuple[int, ActionType], int] = defaultdict(int)
        spans: dict[tuple[int, ActionType], list[tuple[int, int]]] = defaultdict(list)
        for event in events:
            times[event.user_id].add(event.time)
            for kind, look in self._reach[event.type].items():
                whose = event.user_id, kind
                counts[whose] = max(counts[whose], look.count)
                if look.seconds is not None:
                    spans[whose].append((max(0, event.time - look.seconds), event.time))
        last: list[LastN] = []
        for user_id, moments in times.items():
            ends = sorted(moments)
            for kind in ACTION_TYPES:
                # Each stretch between two times gives its own last actions, so none is read twice. One action is
                # enough to show that an event before it is late.
                count = counts[user_id, kind]
                if count:
                    last.append(LastN(user_id, kind, -1, ends[0], count))
                last += [LastN(user_id, kind, start, end, max(1, count)) for start, end in pairwise(ends)]
                last.append(LastN(user_id, kind, ends[-1], LAST_TIME, 1))
        keys = {EventKey(event.user_id, event.event_id) for event in events if event.event_id is not None}
        return last, _merged(spans), list(keys)

    def _settle(self, ledger: Ledger, event: Event) -> Outcome:
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

        action = account.enter(event, signed)
        codes = self._judge(account, action)
        ledger.stored.append((event, action, codes))
        if event.event_id is not None:
            ledger.known[event.user_id, event.event_id] = Known(action, codes)
        return Verdict(event.user_id, codes)

    def _judge(self, account: Account, action: Action) -> tuple[int, ...]:
        """The codes that `action` raises as it arrives."""
        history = account.timeline.at(action)
        account.judged[action.seq] = JudgedBy(account.risk, self._codes)
        codes: tuple[int, ...] = ()
        for in_force in self._rules[account.risk, action.type]:
            finding = in_force.rule.check(history, in_force.parameters)
            if finding is not None:
                code = in_force.rule.code
                codes += (code,)
                account.alerts[action.seq, code] = AlertState(stands=True, evidence=_evidence(in_force, finding))
        return codes

    def _repair(self, session: Session, ledger: Ledger) -> None:
        """Judge again what events that came late can change."""
        arrived = {
            account.user_id: {action.time for action in account.late}
            for account in ledger.accounts.values()
            if account.late
        }
        if not arrived:
            return
        count, seconds = self._surroundings.count, self._surroundings.seconds
        spans = {
            (user_id, kind): [(max(0, time - seconds), min(LAST_TIME, time + seconds)) for time in times]
            for user_id, times in arrived.items()
            for kind in ACTION_TYPES
        }
        places = [
            (user_id, kind, time) for user_id, times in arrived.items() for time in times for kind in ACTION_TYPES
        ]
        last = [LastN(user_id, kind, -1, time, count) for user_id, kind, time in places]
        following = [NextN(*place, count) for place in places]
        stored: dict[int, dict[int, Action]] = defaultdict(dict)
        for row in queries.read_around(session, last, following, _merged(spans)):
            account = ledger.accounts[row.user_id]
            stored[row.user_id][row.seq] = Action(row.seq, row.type, row.amount, row.time)
            account.judged[row.seq] = JudgedBy(row.risk, tuple(row.rules))
            account.alerts |= {(row.seq, code): AlertState(stands=True) for code in row.standing}
            account.alerts |= {(row.seq, code): AlertState(stands=False) for code in row.superseded}
        for user_id, actions in stored.items():
            ledger.accounts[user_id].load(actions)
        for account in ledger.accounts.values():
            if account.late:
                late.repair(account, REGISTRY.values(), RuleInForce.for_risk, _evidence)

    def _store(self, session: Session, ledger: Ledger) -> None:
        """Store the batch and commit."""
        rules = _array(self._codes)
        actions = [
            NewAction(
                event.user_id,
                action.seq,
                event.type,
                event.amount,
                event.time,
                event.event_id,
                _array(codes),
                ledger.accounts[event.user_id].risk,
                rules,
            )
            for event, action, codes in ledger.stored
        ]
        new: list[NewAlert] = []
        changed: list[Standing] = []
        for account in ledger.accounts.values():
            for (seq, code), state in account.alerts.items():
                if state.evidence is not None:
                    time = account.times[seq]
                    alert = NewAlert(account.user_id, seq, code, time, state.evidence, state.late, not state.stands)
                    new.append(alert)
                elif state.changed:
                    changed.append(Standing(account.user_id, seq, code, not state.stands))
        if changed:
            queries.supersede(session, changed)
        with committing():
            queries.store_and_commit(session, actions, new)
        self._observer.raised(alert.code for alert in new)


def _deltas(events: Iterable[Event]) -> list[Deltas]:
    counts: dict[int, int] = defaultdict(int)
    nets: dict[int, Decimal] = defaultdict(Decimal)
    for event in events:
        counts[event.user_id] += 1
        nets[event.user_id] += _signed(event)
    return [Deltas(user_id, counts[user_id], nets[user_id]) for user_id in sorted(counts)]


def _signed(event: Event) -> Decimal:
    return event.amount if event.type == "deposit" else -event.amount


def _merged(spans: Mapping[tuple[int, ActionType], Iterable[tuple[int, int]]]) -> list[Between]:
    # Overlapping windows of one user and type are read once.
    merged: list[Between] = []
    for (user_id, kind), of_one in spans.items():
        begin = len(merged)
        for start, end in sorted(of_one):
            if len(merged) > begin and start <= merged[-1].end:
                merged[-1] = merged[-1]._replace(end=max(end, merged[-1].end))
            else:
                merged.append(Between(user_id, kind, start, end))
    return merged


def _return_unused(session: Session, ledger: Ledger) -> None:
    # Users were counted up for every event before any was judged; refused and replayed ones give that back.
    unused = [account for account in ledger.accounts.values() if account.unused_actions]
    gone = [account.user_id for account in unused if account.has_nothing]
    back = [
        Deltas(account.user_id, account.unused_actions, account.unused_net)
        for account in unused
        if not account.has_nothing
    ]
    if back:
        queries.take_back(session, back)
    if gone:
        queries.forget_users(session, gone)


def _array(codes: Iterable[int]) -> str:
    return "{" + ",".join(map(str, codes)) + "}"


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
