"""Uses every statement that does not judge, with columns renamed in the models and in the database.

For test_column_names_elsewhere.py, as a program: it is given the URL of a migrated database, and renames everything.
"""

# ruff: noqa: E402 (the models are changed before the rest is imported)

import inspect
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any

from database.models import Base

# Before any statement is built, since that happens when the modules are imported.
RENAME = []
for table in Base.metadata.sorted_tables:
    for column in table.columns:
        RENAME.append(f'ALTER TABLE {table.name} RENAME COLUMN "{column.name}" TO "the {column.name}"')
        column.name = f"the {column.name}"

import pytest
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from database import (
    actions,
    alert_counts,
    alert_evidence,
    alert_lists,
    alerts,
    backtests,
    change_log,
    checkpoints,
    dry_run,
    erasures,
    figures,
    figures_counts,
    figures_progress,
    figures_step,
    figures_users,
    history,
    inbox,
    keys,
    log_entries,
    mutes,
    person,
    pruning,
    replayed,
    rule_versions,
    user_lists,
    user_timeline,
    users,
    views,
    webhook_hold,
)
from database.alert_filters import AlertFilter
from database.alerts import AlertCounts
from database.backtests import InTheWay
from database.models import (
    Alert,
    AlertChange,
    Checkpoint,
    Delivery,
    LogEntry,
    OutboxEvent,
    User,
    UserAction,
    Webhook,
    WebhookRelay,
)
from database.records import (
    AlertKey,
    Deltas,
    EventKey,
    StoredAlert,
    StoredSettings,
    StoredTotals,
    Users,
)
from database.session import begin, commit, make_engine, make_sessions
from rules.hindsight.stored_columns import StoredActions, StoredAlerts

OF_ALERTS = (alert_counts, alert_evidence, alert_lists, alerts, inbox)
LISTS = (actions, *OF_ALERTS, change_log, mutes, user_lists, user_timeline, views)
FIGURES = (figures, figures_counts, figures_progress, figures_step, figures_users)
PEOPLE = (erasures, person)
MODULES = (
    *LISTS,
    *FIGURES,
    *PEOPLE,
    backtests,
    checkpoints,
    pruning,
    dry_run,
    history,
    keys,
    log_entries,
    replayed,
    rule_versions,
    users,
    webhook_hold,
)
USED: set[str] = set()
EVIDENCE = {"parameters": {"count": 3}}


def watched(module: ModuleType) -> set[str]:
    """Have each public function of `module` add its name to USED when it is called; returns all these names."""
    names = set()
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ != module.__name__ or name.startswith("_"):
            continue
        full = f"{module.__name__}.{name}"
        names.add(full)

        def watch(*values: Any, full: str = full, function: Callable[..., Any] = function, **named: Any) -> Any:
            USED.add(full)
            return function(*values, **named)

        setattr(module, name, watch)
    return names


def use_users(session: Session) -> None:
    begin(session)
    assert users.create_user(session, 1, name="Ada", total=Decimal(5), risk="high")
    assert not users.create_user(session, 1, name=None, total=Decimal(0), risk="normal")
    assert users.create_user(session, 2, name=None, total=Decimal(0), risk="normal")
    assert users.next_user_id(session) == 1
    users.skip_taken_ids(session, 1)
    assert users.next_user_id(session) == 3
    assert users.free_user_id(session) == 3
    user = users.lock_user(session, 1)
    assert user is not None
    users.change_user(session, user, risk=None, overrides='{"30": {"count": 4}}', author="me", note="why")
    commit(session)
    user = users.get_user(session, 1)
    assert user is not None
    found = (user.name, user.total, user.balance, user.risk, user.overrides, user.settings_version)
    assert found == ("Ada", Decimal(5), Decimal(5), "high", {"30": {"count": 4}}, 2)


def store(session: Session) -> None:
    """Two actions of user 1, one of user 2, and an alert on each: user 2's in shadow."""
    begin(session)
    for user_id, seq, kind in ((1, 1, "deposit"), (1, 2, "withdraw"), (2, 1, "withdraw")):
        action = UserAction(user_id=user_id, seq=seq, type=kind, amount=Decimal(seq), time=10 * seq)
        action.alert_codes, action.rules_number, action.settings_version = [30], 1, 0
        action.ordinal, action.running_total, action.event_id = 1, Decimal(seq), f"event {seq}"
        session.add(action)
        user = session.get(User, user_id)
        assert user is not None
        user.last_seq, user.net = seq, Decimal(-1)
    session.flush()
    for user_id, seq in ((1, 1), (1, 2), (2, 1)):
        shadow = user_id == 2
        session.add(Alert(user_id=user_id, seq=seq, code=30, time=10 * seq, shadow=shadow, evidence=EVIDENCE))
    commit(session)


def use_lists(session: Session) -> None:
    assert [one.seq for one in actions.page_of_actions(session, 1, limit=9, start=5, end=25, before=(20, 3))] == [2, 1]
    every = AlertFilter(user_id=1, code=30, status="open", risk="high", late=False, superseded=False, start=5, end=25)
    found = alert_lists.page_of_alerts(session, every, 9, (20, 1, 3, 0)).rows
    assert [(row.seq, row.type, row.amount) for row in found] == [(2, "withdraw", 2), (1, "deposit", 1)]
    assert len(alert_lists.page_of_alerts(session, AlertFilter(), 9, None).rows) == 2
    assert len(alert_lists.page_of_alerts(session, AlertFilter(shadow=True), 9, (10, 3, 1, 30)).rows) == 1
    for one_index in (AlertFilter(status="closed"), AlertFilter(late=True), AlertFilter(superseded=True)):
        assert len(alert_lists.page_of_alerts(session, one_index, 9, None).rows) == 0
    assert len(alert_lists.page_of_alerts(session, AlertFilter(code=30, risk="high"), 9, None).rows) == 2
    place = alert_lists.place_of(found[0])
    soon = datetime.now(UTC) + timedelta(days=1)
    around = alert_lists.neighbours(session, AlertFilter(touched_from=soon), place)
    assert [side.place for side in around] == [None, None]
    for query in (AlertFilter(), AlertFilter(assignee="none", status="open"), AlertFilter(muted=None, user_id=1)):
        for by_code in (True, False):
            counted = alert_counts.count_wanted(session, query, by_status=True, by_code=by_code, codes=(30,))
            assert [(one.status, one.number) for one in counted] == [("open", 2)], (query, by_code, counted)
    use_inbox(session)
    mutes.set_mute(session, 1, 30, until=soon, note=None, who="ada")
    assert mutes.muted_among(session, {(1, 30), (2, 30)}) == {(1, 30)}
    assert mutes.find_mute(session, 1, 30) == mutes.mutes_of(session, 1)[0]
    assert len(alert_lists.page_of_alerts(session, AlertFilter(), 9, None).rows) == 0
    mutes.end_mute(session, 1, 30)
    one = alerts.get_alert(session, 1, 1, 30)
    assert one is not None
    assert (one.evidence, one.type, one.amount) == (EVIDENCE, "deposit", 1)
    assert [row.seq for row in alerts.alerts_of_action(session, 1, 1)] == [1]
    assert alerts.codes_that_fired(session, [30, 300]) == {30}
    assert alerts.count_alerts(session, 9) == [AlertCounts(code=30, alerts=2, shadow_alerts=1)]
    assert alerts.codes_that_fired(session, [30, 300]) == {30}
    assert actions.newest_times(session.connection(), [1, 2], 15) == {1: 10, 2: 10}
    assert actions.seq_of_event(session, 1, "event 2") == 2


def use_inbox(session: Session) -> None:
    one_user = AlertFilter(user_id=1, code=30, closed=False, start=5, end=25)
    counted = alert_counts.count_each(session, [AlertFilter(), one_user, AlertFilter(shadow=True), AlertFilter(code=7)])
    assert [one.number for one in counted] == [2, 2, 1, 0]
    (user,) = inbox.users_with_alerts(session, one_user, 9).users
    assert (user.user_id, user.risk, user.alerts, [*user.codes]) == (1, "high", 2, [30])
    assert inbox.closed_since(session, datetime.now(UTC) - timedelta(days=1)).number == 0
    key = AlertKey(1, 1, 30)
    for most in (1, 9):
        found = inbox.pulse(session, one_user, datetime.now(UTC) - timedelta(days=1), [key], most)
        assert [one.place for one in found.named] == [(10, *key)]
        assert {one.matches for one in found.touched} == {True}
    assert [row.seq for row in alerts.alerts_by_key(session, [key])] == [1]


def use_alert_evidence(session: Session) -> None:
    (one,) = alert_evidence.actions_by_seq(session, 1, [2])
    assert (one.place, one.type, one.ordinal, one.running_total, one.balance) == (
        (20, 2),
        "withdraw",
        1,
        Decimal(2),
        Decimal(4),
    )
    assert [action.seq for action in alert_evidence.actions_before(session, 1, one.place, limit=9, since=5)] == [1, 2]
    assert alert_evidence.actions_after(session, 1, one.place, limit=9, until=99) == []
    numbers = {kind: one.number for (kind, _), one in alert_evidence.numbers_at(session, 1, [15]).items()}
    assert numbers == {"deposit": 1, "withdraw": 0}
    assert alert_evidence.late_arrivals(session, 1, 1, 99)[0][0].seq == 2
    settings = alert_evidence.settings_version(session, 1, 2)
    assert settings is not None
    assert settings.overrides == {"30": {"count": 4}}


def use_users_lists(session: Session) -> None:
    found = user_lists.page_of_users(session, 9, 0, None).rows
    assert [(row.user_id, row.name, row.risk, row.last_seq, row.open) for row in found] == [
        (1, "Ada", "high", 2, 2),
        (2, None, "normal", 1, 0),
    ]
    assert [row.user_id for row in user_lists.page_of_users(session, 9, 0, "high").rows] == [1]
    assert [one.version for one in user_lists.page_of_user_settings(session, 1, 9, 3)] == [2, 1]
    assert [(one.seq, one.code) for one in user_lists.alerts_of_actions(session, 1, [1, 2])] == [(1, 30), (2, 30)]
    assert user_lists.late_among(session, 1, [1, 2]) == set()


def use_user_timeline(session: Session) -> None:
    assert user_timeline.first_and_last(session, 1) == (10, 20)
    one, other = user_timeline.reached(session, 1, [10, 20])
    assert (one.actions, one.net, other.actions, other.net) == (1, Decimal(1), 2, Decimal(-1))
    assert [row.seq for row in user_timeline.actions_between(session, 1, 0, 99, 9)] == [1, 2]
    (extremes,) = user_timeline.extremes(session, 1, 0, 99, 100)
    assert extremes == (0, Decimal(-1), Decimal(1))
    (alert,) = user_timeline.alerts_between(session, 1, [(0, 10)], 9)
    assert (alert.seq, alert.code, alert.time, alert.parameters) == (1, 30, 10, {"count": 3})


def use_replayed(session: Session) -> None:
    assert replayed.places(session, [(1, "event 2"), (2, "event 2")]) == [(1, 2)]
    (of_code,) = replayed.count_alerts(session, [(1, 1, 2), (2, 1, 1)])
    assert of_code == replayed.AlertsOfCode(code=30, standing=2, late=0, superseded=0, shadow=1)


def use_rule_versions(session: Session) -> None:
    first = {"version": 1, "status": "off", "parameters": {"count": 3}, "by_risk": {}, "author": None}
    rule_versions.add_rule_versions(session, [{"number": n, "code": code, **first} for n, code in ((1, 30), (2, 300))])
    session.commit()
    begin(session)
    rule_versions.lock_rules(session, 500)
    wanted = {"status": "active", "parameters": '{"count": 5}', "by_risk": '{"high": {"count": 2}}'}
    rule_versions.change_rule(session, 30, **wanted, author="me", note="why")
    commit(session)
    assert rule_versions.rule_codes(session) == [30, 300]
    stored = rule_versions.rule_versions(session)
    assert [(one.number, one.code, one.version) for one in stored] == [(1, 30, 1), (2, 300, 1), (3, 30, 2)]
    assert stored == rule_versions.rule_versions(session.connection())
    assert rule_versions.newest_rule_versions(session) == [stored[2], stored[1]]
    assert rule_versions.rule_codes(session) == [30, 300]
    *changed, created_at = stored[2]
    assert changed == [3, 30, 2, "active", {"count": 5}, {"high": {"count": 2}}, "me", "why"]
    assert created_at >= stored[0].created_at
    assert [one.version for one in rule_versions.page_of_rule_versions(session, 30, 9, 2)] == [1]


def use_backtests(session: Session) -> None:
    connection = session.connection()
    asked = {"from": 0, "to": 9}
    first = backtests.start(session, json.dumps(asked))
    assert first is not None
    assert backtests.start(session, "{}") is None
    assert backtests.in_the_way(session) == InTheWay(first, is_running=True)
    assert backtests.request(connection, first) == asked
    assert backtests.beat(connection, first, 3, 7)
    backtests.end(connection, first, status="done", result='{"now": 1}')
    assert not backtests.beat(connection, first, 3, 7)
    assert backtests.start(session, "{}") is None
    assert backtests.in_the_way(session) == InTheWay(first, is_running=False)
    backtests.free(connection, first)
    assert backtests.in_the_way(session) is None
    found = backtests.get(session, first)
    assert found is not None
    assert (found.backtest_id, found.status, found.request, found.done, found.total) == (first, "done", asked, 7, 7)
    assert (found.result, found.error) == ({"now": 1}, None)
    assert found.finished_at is not None
    assert found.finished_at > found.created_at
    second = backtests.start(session, "{}")
    assert second is not None
    backtests.cancel(session, second)
    assert [(row.backtest_id, row.status) for row in backtests.page(session, 9, None)] == [
        (second, "cancelled"),
        (first, "done"),
    ]
    assert [row.backtest_id for row in backtests.page(session, 9, second)] == [first]


def use_keys(session: Session) -> None:
    session.commit()
    begin(session)
    keys.lock_keys(session)
    for key_id, scopes in (("1st", ["read", "admin"]), ("2nd", ["ingest"])):
        terms: dict[str, Any] = {
            "name": "a program",
            "scopes": scopes,
            "rate": "9/second",
            "expires_at": None,
            "created_by": "me",
        }
        keys.add_key(session, key_id, secret_hash=key_id.encode(), **terms)
    commit(session)
    connection = session.connection()
    newest = keys.newest_change(connection).changed
    assert newest is not None
    assert [key.key_id for key in keys.changed_keys(connection, newest - 1)] == ["2nd"]
    assert [(key.key_id, key.scopes) for key in keys.living_keys(connection)] == [
        ("1st", ["read", "admin"]),
        ("2nd", ["ingest"]),
    ]
    assert keys.has_other_living(session, "2nd", "admin")
    assert not keys.has_other_living(session, "1st", "admin")
    keys.expire_key(session, "1st", timedelta(hours=1))
    keys.revoke_key(session, "2nd")
    assert keys.count_living(session) == 1
    assert keys.add_uses(connection, {"2nd": 2, "1st": 3, "none": 1}) == {"1st": 3, "2nd": 2}
    assert keys.add_uses(connection, {"1st": 4}) == {"1st": 7}
    assert [row.key_id for row in keys.living_keys_named(session, "a program")] == ["1st"]
    second, first = keys.page_of_keys(session, 9, None)
    assert keys.page_of_keys(session, 9, 2) == [first]
    assert keys.get_key(session, "2nd") == second
    assert (first.number, first.requests, first.is_living) == (1, 7, True)
    assert (second.number, second.requests, second.is_living) == (2, 2, False)
    assert newest < first.changed < second.changed
    assert first.expires_at is not None
    assert second.revoked_at is not None
    assert second.last_used_at is not None


def use_log_entries(session: Session) -> None:
    log_entries.add_log_entry(session, who="me", kind="key", subject="1st", what="made", after={"name": "a program"})
    session.commit()
    entry = session.query(LogEntry).one()
    assert (entry.who, entry.subject, entry.before, entry.after) == ("me", "1st", None, {"name": "a program"})


def use_change_log(session: Session) -> None:
    log_entries.add_log_entry(session, who="Ada", kind="backtest", subject="7", what="started")
    session.commit()
    assert change_log.who_started(session, 7, datetime(2026, 1, 1, tzinfo=UTC)) == "Ada"
    session.add(AlertChange(user_id=1, seq=2, code=30, n=1, at=datetime.now(UTC), who="Ada", what="note"))
    session.commit()
    wanted = change_log.LogFilter(who="Ada", start=datetime(2026, 1, 1, tzinfo=UTC))
    (line,) = [one for one in change_log.page_of_log(session, wanted, 9, None) if one.kind == "alert"]
    assert line.in_log == (change_log.to_microseconds(line.at), 1, 1, 2, 30, 1)
    others = change_log.page_of_log(session, change_log.LogFilter(kind="rule"), 9, (2**60, 0, 9))
    assert {one.kind for one in others} <= {"rule"}
    assert change_log.who_started(session, 1, datetime(2026, 1, 1, tzinfo=UTC)) is None


def use_people(session: Session) -> None:
    session.commit()
    begin(session)
    user = users.lock_user(session, 2)
    assert user is not None
    erasures.change_account(session, user, closed_at=datetime(2001, 1, 1, tzinfo=UTC), legal_hold=False)
    erasures.request_erasure(session, user, who="Ada")
    assert erasures.page_of_users_to_erase(session, datetime.now(UTC), 9, 0) == [2]
    erasures.withdraw_erasure(session, user)
    assert not erasures.has_begun(user)
    erasures.begin_erasure(session, user, who="Ada", override="why")
    assert erasures.has_begun(user)
    assert erasures.lock_if_free(session, 2) is user
    for part in erasures.PARTS:
        last = erasures.erase_stretch(session, 2, part, None, 1)
        while last is not None:
            last = erasures.erase_stretch(session, 2, part, last, 1)
    erasures.end_erasure(session, user)
    (line,) = erasures.page_of_erasures(session, 9, None)
    assert erasures.page_of_erasures(session, 9, (line.user_id, line.erased_at)) == []
    erasures.begin_erasure_again(session, user, line._replace(who="Grace"))
    erasures.enter_erasure(session, line)
    commit(session)
    assert str(erasures.entries_about(2, "mute")) != str(erasures.entries_about(2, "user"))
    assert person.export_of(2) == "users/2"
    pages = (person.settings_of, person.actions_of, person.alerts_of, person.history_of, person.mutes_of)
    found = [sum(len(page) for page in read(session, 2, 1)) for read in pages]
    assert found == [0, 1, 1, 0, 0]
    assert list(person.entries_of(session, 2, 1)) == []
    assert list(person.deliveries_of(session, 2, 1)) == []
    assert person.checkpoints_of(session, 2) == []
    assert [one.override for one in person.erasures_of(session, 2)] == ["why"]


def use_views(session: Session) -> None:
    session.commit()
    begin(session)
    views.hold_views(session)
    made = views.add_view(session, owner="Ada", name="Mine", query={"code": 30}, shared=False)
    assert views.find_view(session, "Ada", "Mine") is made
    assert views.count_views(session, "Ada") == 1
    assert views.get_view(session, made.view_id, "Grace") is None
    assert list(views.page_of_views(session, "Ada", 9, made.view_id + 1)) == [made]
    assert views.delete_view(session, made.view_id)
    commit(session)


def use_dry_run(connection: Connection) -> None:
    deltas = [Deltas(user_id=user_id, actions=1, net=Decimal(2)) for user_id in (1, 3)]
    asked: Any = {"last": [], "following": [], "keys": [EventKey(user_id=1, event_id="event 2")]}
    locked, found, _ = dry_run.begin_and_read(connection, deltas=deltas, create=True, **asked)
    assert [(one.user_id, one.is_new, one.last_seq, one.balance) for one in locked] == [
        (1, False, 3, Decimal(6)),
        (3, True, 1, Decimal(2)),
    ]
    assert [one.seq for one in found] == [2]
    assert dry_run.evidence(connection, 1, 2) == {30: EVIDENCE}
    connection.exec_driver_sql("ROLLBACK")


def use_figures(session: Session) -> None:
    begin(session)
    connection = session.connection()
    figures_progress.begin_figures(connection, anew=True)
    while not figures_step.count_stretch(connection, timedelta(0)).is_last:
        pass
    figures_step.count_superseded(connection)
    figures_step.shorten_stretch(connection)
    assert figures_progress.take_turn(connection, 60)
    figures_progress.end_turn(connection, 30)
    found = figures_progress.turn(connection)
    assert found is not None
    assert found.as_of == figures.as_of(session)
    now = found.as_of
    day = figures_progress.day_of(figures_progress.midnight_after(now)) - timedelta(days=1)
    figures_counts.count(connection, now, now)
    figures_counts.recount(connection, day, now)
    figures_users.add_users(connection, day, {"begin": now, "end": now})
    assert str(figures_users.within(UserAction.created_at))
    assert figures.last_days(session, 2)[1] == day
    assert figures.progress(session) is not None
    assert 30 in figures.rule_figures(session)
    assert figures.by_day(session, [figures.ALERTS, figures.SHADOW_ALERTS], day)
    assert figures.days_of_events(session, 2)[1].users > 0
    assert isinstance(figures.users_by_code(session, day), dict)
    assert sum(figures.left_to_close(session, (2,))) > 0
    assert len(figures.last_minutes(session, 5)) == 5
    assert len(figures.last_weeks(session, 2)) == 2
    assert figures.median({3: 1}) is not None
    commit(session)


def use_webhook_hold(session: Session) -> None:
    webhook_hold.notice_restore(session)
    assert webhook_hold.held(session) is None
    session.execute(update(WebhookRelay).values({WebhookRelay.place: "elsewhere"}))
    webhook_hold.notice_restore(session)
    assert webhook_hold.held(session) == webhook_hold.RESTORED
    webhook_hold.hold(session, "a reason")
    assert webhook_hold.held(session) == "a reason"
    webhook_hold.release(session)
    assert webhook_hold.held(session) is None
    session.add(OutboxEvent(user_id=1, at_seq=1, n=0, seq=1, code=30, event="alert.created", risk="normal"))
    webhook = Webhook(url="", events=[], secret=b"", created_by="me")
    session.add(webhook)
    session.flush()
    session.add(Delivery(webhook_id=webhook.webhook_id, message_id="", event="", body="", next_at=datetime.now(UTC)))
    session.flush()
    assert webhook_hold.waiting(session) == (1, 1, 1)
    assert webhook_hold.discard_some(session) == 2
    assert webhook_hold.waiting(session) == (0, 0, 1)


def use_history(connection: Connection) -> None:
    assert history.take_turn(connection)
    assert history.name_of(connection)
    both = Users(first=1, last=2, actions=3)
    assert history.count_actions(connection) == 3
    assert history.actions_of_alert(connection, 1, 1, 30) == 2
    assert list(history.stretches(connection, 100)) == [both]
    actions = StoredActions.copied(history.actions_to_backtest(connection, both, 10))
    assert sorted(zip(*actions, strict=True)) == [(1, 1, True, 100, 10, 0), (2, 1, False, 100, 10, 0)]
    *_, last = list(history.actions_to_verify(connection, Users(first=1, last=1, actions=2)))
    assert last.split("\t")[:-1] == ["1", "2", "withdraw", "2.00", "20", "0", "1", "1", "2.00", "{30}"]
    found = StoredAlerts.copied(history.standing_alerts(connection, both, [30, 300], start=5, end=15))
    assert sorted(zip(*found, strict=True)) == [(user_id, 1, 30, 10, 0) for user_id in (1, 2)]
    (alert,) = history.alerts(connection, Users(first=2, last=2, actions=1))
    flags = {"late": False, "superseded": False, "shadow": True}
    assert alert == StoredAlert(user_id=2, seq=1, code=30, time=10, evidence=EVIDENCE, **flags)
    assert history.evidence(connection, 1, 2, 30) == EVIDENCE
    assert history.totals(connection, both) == [
        StoredTotals(user_id=1, last_seq=2, net=Decimal(-1)),
        StoredTotals(user_id=2, last_seq=1, net=Decimal(-1)),
    ]
    assert history.settings(connection, both) == [
        StoredSettings(user_id=1, version=1, risk="high", overrides="{}"),
        StoredSettings(user_id=1, version=2, risk="high", overrides='{"30": {"count": 4}}'),
    ]


def use_pruning(session: Session) -> None:
    begin(session)
    connection = session.connection()
    assert not pruning.rights_lacking(connection)
    assert pruning.count_users(connection) == 2
    assert pruning.has_newer(connection, 20, 1)
    assert pruning.stretch_of_users(connection, 0, 5, 15) == (2, 2, [1, 2], [])
    assert pruning.survey_user(connection, 1, 15).actions == 1
    removed = pruning.prune_user(connection, 1, 15, 5)
    assert (removed.actions, removed.alerts, removed.is_done) == (1, 1, True)
    (left,) = checkpoints.read_checkpoints(connection, [1])
    place = session.execute(text("SELECT 1 AS seq, 'deposit' AS type, 1.00 AS amount, 10 AS time")).one()
    digest = pruning.digest_after(pruning.NO_DIGEST, 1, [place])
    assert session.scalars(select(Checkpoint.digest)).all() == [digest]
    assert (left.actions, left.total, left.first_time, left.until_seq, left.pruned_before) == (1, Decimal(1), 10, 2, 15)
    assert history.checkpoints(connection, Users(first=1, last=2, actions=3)) == [left]
    assert session.scalar(select(checkpoints.removed(Checkpoint.total, 1, "deposit"))) == 1
    session.execute(select(checkpoints.checkpoints_of(Checkpoint.user_id == 1).subquery()))
    session.rollback()


def main(url: str) -> None:
    engine = make_engine(url, timeout=10, connections=1)
    with engine.connect() as connection:
        for statement in RENAME:
            connection.execute(text(statement))
        with pytest.raises(ProgrammingError):  # otherwise this proves nothing
            connection.execute(text("SELECT user_id FROM users"))
    public = set.union(*map(watched, MODULES))
    with make_sessions(engine)() as session:
        use_users(session)
        store(session)
        use_lists(session)
        use_alert_evidence(session)
        use_users_lists(session)
        use_user_timeline(session)
        use_replayed(session)
        use_rule_versions(session)
        use_backtests(session)
        use_keys(session)
        use_log_entries(session)
        use_change_log(session)
        use_people(session)
        use_views(session)
        use_dry_run(session.connection())
        use_webhook_hold(session)
    with make_sessions(engine)() as session:
        use_figures(session)
    with history.snapshot(url) as connection:
        use_history(connection)
    with make_sessions(engine)() as session:
        use_pruning(session)
    assert not (public - USED), sorted(public - USED)


if __name__ == "__main__":
    main(sys.argv[1])
