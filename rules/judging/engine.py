"""Judging: from posted events to stored actions and alerts, in one transaction.

The transaction locks the users of all events and counts their actions up (one statement, users in order, so
that two batches cannot deadlock), reads the bounded history that the active rules declare (one statement,
after the lock: it sees all that others committed while this one waited), judges in plain Python, and stores
actions and alerts (one statement each). The number of statements does not grow with events, users or rules.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from time import perf_counter
from typing import cast

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from database import judging, rule_versions
from database.records import Between, Deltas, EventKey, LateAction, NewAction, NewAlert, NextN, Standing
from database.session import abandon, begin, commit, committing
from rules.base import RuleInForce
from rules.judging import late
from rules.judging.batch import AlertState, Batch, BatchUser, KnownEvent
from rules.judging.evidence import evidence_of
from rules.judging.late import Reach
from rules.judging.observer import Observer, Stage
from rules.judging.reads import Point, requests, requests_ahead
from rules.judging.repair import repair
from rules.model import ACTION_TYPES, LAST_TIME, Action, Event, Finding, NumberedAction, Outcome, Refusal, Risk, Verdict
from rules.policy import Policy
from rules.versions import NO_OVERRIDES, RuleChange, RulesSnapshot, RuleVersions


class RuleEngine:
    """Judges events under one policy. Any number of threads may share it.

    `observer` is told how each transaction goes. All that is kept between calls are the rule books read so far: every
    transaction asks which one holds.
    """

    def __init__(self, policy: Policy, observer: Observer | None = None) -> None:
        self._policy = policy
        self._observer = observer or Observer()
        self._books: RuleVersions | None = None

    def books(self, session: Session) -> RuleVersions:
        """All changes of the rules so far. Where there is none at all, what is declared is entered before."""
        if self._books is None:
            books = _read_books(session)
            self._books = books if books.number else self.enter_declared(session)
        return self._books

    def process(self, session: Session, events: Sequence[Event], atomic: bool = False) -> list[Outcome]:
        """Store and judge `events` as if they came one by one in the order given; one outcome for each.

        With `atomic` one refusal is enough to store none of them: the verdicts beside it say what would have been.
        Ends the database's transaction: committed, or rolled back where no event was stored. Raises what the
        database raises, and CommitUncertain when the connection broke during the commit.
        """
        begun = perf_counter()
        self._observer.begun(len(events))
        book = self.books(session).newest
        connection = session.connection()
        try:
            ledger = self._open(connection, events, book)
            begun = self._done("lock_and_read", begun)
            outcomes = [self._settle(ledger, event) for event in events]
            refused = atomic and any(isinstance(outcome, Refusal) for outcome in outcomes)
            if ledger.stored and not refused:
                self._repair(connection, ledger)
                begun = self._done("judge", begun)
                _return_unused(connection, ledger)
                self._store(connection, ledger)
                self._done("write_and_commit", begun)
            else:
                judging.roll_back(connection)  # nothing is stored: neither counts nor new users may stay
        except BaseException:
            abandon(session)
            raise
        return outcomes

    def _done(self, stage: Stage, begun: float) -> float:
        now = perf_counter()
        self._observer.done(stage, now - begun)
        return now

    def enter_declared(self, session: Session) -> RuleVersions:
        """Enter what the declarations and the policy's rules say, where that has changed and nobody has set the rule.

        It holds for all who use the database, so it is for the one who starts the service, once.
        """
        codes = [rule.code for rule in self._policy.rules]
        books = _read_books(session)
        if not books.changes_for(codes):
            self._books = books
            return books
        session.close()
        begin(session)
        rule_versions.lock_rules(session)  # several may start at once: the first one enters it, the others find it
        books = _read_books(session)
        if changes := books.changes_for(codes):
            rule_versions.add_rule_versions(session, [change._asdict() for change in changes])
            books = RuleVersions((*books.entries, *changes))
        commit(session)
        session.close()
        self._books = books
        return books

    def _open(self, connection: Connection, events: Sequence[Event], read: RulesSnapshot) -> Batch:
        """Lock the users, read their history, and lay both out for judging."""
        deltas = _deltas(events)
        # Several events of one user rarely have stored actions between them: that is found out before it is read for.
        several = len(deltas) < len(events)
        points = [Point(event.user_id, event.time, read.reading[event.type]) for event in events]
        wanted = requests(points, in_order=several)
        keys = {EventKey(event.user_id, event.event_id) for event in events if event.event_id is not None}
        users, history = judging.begin_lock_and_read(
            connection, deltas, self._policy.create_users, wanted.last, wanted.following, wanted.between, list(keys)
        )
        book = read
        if users and users[0].rules_number != read.number:
            book = self._book(connection, users[0].rules_number)
        added = {delta.user_id: delta for delta in deltas}
        ledger = Batch(book.number)
        for user in users:
            _, actions, net = added[user.user_id]
            judges = book.judges(cast(Risk, user.risk), user.overrides)
            ledger.accounts[user.user_id] = BatchUser(
                user.user_id,
                judges,
                user.settings_version,
                user.is_new,
                user.last_seq - actions + 1,
                user.balance - net,
                actions,
                net,
            )
        ledger.load(history)
        if several or book is not read or any(user.overrides != NO_OVERRIDES for user in users):
            self._read_more(connection, ledger, events, read)
        return ledger

    def _book(self, connection: Connection, number: int) -> RulesSnapshot:
        # Somebody has changed a rule since the last transaction here.
        books = self._books
        if books is None or books.number < number:
            self._books = books = _read_books(connection)
        return books.at(number)

    def _read_more(self, connection: Connection, ledger: Batch, events: Sequence[Event], read: RulesSnapshot) -> None:
        """Read what judging needs beyond what was asked for with the lock, when not all was known yet.

        That is for users who have actions behind the first of several events; for those whose overrides look further
        back than the rules do; and for all, where somebody has changed a rule a moment ago.
        """
        first: dict[int, int] = {}
        for event in events:
            first[event.user_id] = min(event.time, first.get(event.user_id, LAST_TIME))
        covered = {
            judges: all(read.reading[kind].covers(judges.reading[kind]) for kind in ACTION_TYPES)
            for judges in {account.judges for account in ledger.accounts.values()}
        }
        further = set()
        for user_id, account in ledger.accounts.items():
            newest = account.timeline.newest()
            if not covered[account.judges] or (newest is not None and newest.time > first[user_id]):
                further.add(user_id)
        points = [
            Point(event.user_id, event.time, ledger.accounts[event.user_id].judges.reading[event.type])
            for event in events
            if event.user_id in further
        ]
        if points:
            more = requests(points)
            ledger.load(judging.read_history(connection, more.last, more.following, more.between))

    def _settle(self, ledger: Batch, event: Event) -> Outcome:
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
        if not self._policy.accept_out_of_order:
            newest = account.timeline.newest()
            if newest is not None and event.time < newest.time:
                return Refusal("out_of_order", f"The user's newest action is at time {newest.time}.")

        action = account.enter(event, signed)
        codes = _judge(account, action)
        ledger.stored.append((event, action, codes))
        if event.event_id is not None:
            ledger.known[event.user_id, event.event_id] = KnownEvent(action, codes)
        return Verdict(event.user_id, codes)

    def _repair(self, connection: Connection, ledger: Batch) -> None:
        """Judge again what events that came late can change."""
        accounts = {account.user_id: account for account in ledger.accounts.values() if account.late}
        if not accounts:
            return
        books = self._books
        assert books is not None
        settings = _settings(connection, accounts.values())
        aheads = {user_id: _ahead(books, frozenset(each.values())) for user_id, each in settings.items()}
        reached = requests_ahead({user_id: account.late for user_id, account in accounts.items()}, aheads)
        rows = list(judging.read_ahead(connection, reached.following, reached.between, reached.until))
        if behind_first := _behind_first(connection, accounts, aheads):
            rows += judging.read_ahead(connection, [], behind_first, [])
        stored: dict[int, list[NumberedAction]] = defaultdict(list)
        points = []
        for row in rows:
            account = accounts[row.user_id]
            action = Action(row.seq, row.type, row.amount, row.time)
            stored[row.user_id].append(NumberedAction(action, row.ordinal, row.running_total))
            judges = books.at(row.rules_number).judges(*settings[row.user_id][row.settings_version])
            account.judged[row.seq] = judges
            points.append(Point(row.user_id, row.time, judges.reading[action.type]))
            account.alerts |= {(row.seq, code): AlertState(stands=True) for code in row.standing}
            account.alerts |= {(row.seq, code): AlertState(stands=False) for code in row.superseded}
        for user_id, actions in stored.items():
            accounts[user_id].load(actions)
        behind = requests(points)
        ledger.load(judging.read_history(connection, behind.last, behind.following, behind.between))
        for account in accounts.values():
            repair(account, _evidence, aheads[account.user_id])

    def _store(self, connection: Connection, ledger: Batch) -> None:
        """Store the batch and commit."""
        actions: list[NewAction] = []
        for event, action, codes in ledger.stored:
            account = ledger.accounts[event.user_id]
            actions.append(
                NewAction(
                    event.user_id,
                    action.seq,
                    event.type,
                    event.amount,
                    event.time,
                    event.event_id,
                    judging.array(codes) if codes else "{}",
                    ledger.rules_number,
                    account.settings_version,
                    *account.timeline.numbers(action),
                )
            )
        new: list[NewAlert] = []
        changed: list[Standing] = []
        behind: list[LateAction] = []
        for account in ledger.accounts.values():
            for (seq, code), state in account.alerts.items():
                if state.evidence is not None:
                    new.append(
                        NewAlert(
                            account.user_id,
                            seq,
                            code,
                            account.times[seq],
                            state.evidence,
                            state.late,
                            not state.stands,
                            state.shadow,
                        )
                    )
                elif state.changed:
                    changed.append(Standing(account.user_id, seq, code, not state.stands))
            behind += [LateAction(account.user_id, a.type, a.time, a.seq, a.amount) for a in account.late]
        if behind:
            judging.count_in(connection, behind)
        if changed:
            judging.supersede(connection, changed)
        with committing():
            judging.store_and_commit(connection, actions, new)
        self._observer.raised(alert.code for alert in new if not alert.shadow)


def _judge(account: BatchUser, action: Action) -> tuple[int, ...]:
    """The codes that `action` raises as it arrives."""
    history = account.timeline.at(action)
    codes: tuple[int, ...] = ()
    for rule in account.judges.by_type[action.type]:
        finding = rule.check(history, rule.parameters)
        if finding is not None:
            if not rule.shadow:
                codes += (rule.code,)
            state = AlertState(stands=True, evidence=_evidence(rule, finding), shadow=rule.shadow)
            account.alerts[action.seq, rule.code] = state
    return codes


def _read_books(session: Session | Connection) -> RuleVersions:
    return RuleVersions(
        RuleChange._make(row[: len(RuleChange._fields)]) for row in rule_versions.rule_versions(session)
    )


def _settings(connection: Connection, accounts: Iterable[BatchUser]) -> dict[int, dict[int, tuple[Risk, str]]]:
    """Rating and overrides of each version of these users' settings."""
    settings: dict[int, dict[int, tuple[Risk, str]]] = {a.user_id: {0: ("normal", NO_OVERRIDES)} for a in accounts}
    if changed := [account.user_id for account in accounts if account.settings_version]:
        for row in judging.user_settings(connection, changed):
            settings[row.user_id][row.version] = (row.risk, row.overrides)
    return settings


# It follows from all changes of all rules, and is asked for each user to whom an event comes late.
@lru_cache(maxsize=1024)
def _ahead(books: RuleVersions, settings: frozenset[tuple[Risk, str]]) -> Reach:
    return late.ahead(rule for each in settings for rule in books.ever(*each))


def _behind_first(
    connection: Connection, accounts: Mapping[int, BatchUser], aheads: Mapping[int, Reach]
) -> list[Between]:
    """What stands within reach of the first actions of those users who get a new first one, where a rule cares."""
    asked = [user_id for user_id in accounts if aheads[user_id].after_first is not None]
    if not asked:
        return []
    found: list[Between] = []
    firsts: dict[int, int] = {}
    for _, user_id, _, _, _, time, *_ in judging.read_history(
        connection, [], [NextN(user_id, kind, -1, 1) for user_id in asked for kind in ACTION_TYPES], []
    ):
        firsts[user_id] = min(time, firsts.get(user_id, LAST_TIME))
    for user_id, first in firsts.items():
        if min(action.time for action in accounts[user_id].late) < first:
            end = min(LAST_TIME, first + (aheads[user_id].after_first or 0))
            found += [Between(user_id, kind, first, end) for kind in ACTION_TYPES]
    return found


def _deltas(events: Iterable[Event]) -> list[Deltas]:
    counts: dict[int, int] = defaultdict(int)
    nets: dict[int, Decimal] = defaultdict(Decimal)
    for event in events:
        counts[event.user_id] += 1
        nets[event.user_id] += _signed(event)
    return [Deltas(user_id, counts[user_id], nets[user_id]) for user_id in sorted(counts)]


def _signed(event: Event) -> Decimal:
    return event.amount if event.type == "deposit" else -event.amount


def _return_unused(connection: Connection, ledger: Batch) -> None:
    # Users were counted up for every event before any was judged; refused and replayed ones give that back.
    unused = [account for account in ledger.accounts.values() if account.unused_actions]
    gone = [account.user_id for account in unused if account.has_nothing]
    back = [
        Deltas(account.user_id, account.unused_actions, account.unused_net)
        for account in unused
        if not account.has_nothing
    ]
    if back:
        judging.take_back(connection, back)
    if gone:
        judging.forget_users(connection, gone)


def _evidence(rule: RuleInForce, finding: Finding) -> str:
    return json.dumps(evidence_of(rule, finding))
