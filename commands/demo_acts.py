"""Demo data: doing what people change, and giving it the moment of the story."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.orm import Session

from commands.demo_story import Act, Enter, MuteRule, RateUser, SaveView, SetRule, TryRule
from commands.endings import Stopped
from database import backtests, demo
from database.demo import Stamped
from database.log_entries import add_log_entry
from database.session import Transaction
from rules.hindsight.question import Question, Sweep, candidate, steps
from rules.hindsight.start import start
from rules.service import Service
from rules.user_settings import set_user
from rules.values import LAST_TIME
from rules.versions import WantedSetting
from work import views
from work.mutes import set_mute

ROWS = 5_000  # rows whose moments are replaced by one statement
_POLL = 0.1  # seconds between two looks at a backtest


def do(service: Service, act: Act) -> None:
    """Do it, and let it have been done at its moment. Raises Stopped if a backtest did not succeed."""
    known = service.run(demo.newest_entry)
    match act:
        case SetRule():
            _set_rule(service, act)
        case RateUser():
            _rate(service, act)
        case TryRule():
            _try(service, act)
        case MuteRule():
            _mute(service, act)
        case SaveView():
            _save(service, act)
    newest = service.run(demo.newest_entry)
    stamp(service, "entry", {(entry_id,): act.at for entry_id in range(known + 1, newest + 1)})


def enter(service: Service, acts: Sequence[Enter]) -> None:
    """Add entries to the log, and let them have been added at their moments."""

    def add(session: Session) -> int:
        with Transaction(session) as transaction:
            known = demo.newest_entry(session)
            for act in acts:
                add_log_entry(session, who=act.who, kind=act.kind, subject=act.subject, what=act.what, after=act.after)
            transaction.commit()
        return known

    known = service.run(add)
    stamp(service, "entry", {(entry_id,): act.at for entry_id, act in enumerate(acts, known + 1)})


def _set_rule(service: Service, act: SetRule) -> None:
    wanted = WantedSetting(
        status=act.status, parameters=act.parameters, by_risk=act.by_risk, author=act.who, note=act.note
    )
    change = service.set_rule(act.code, wanted, lambda _: None)
    stamp(service, "rule", {(change.number,): act.at})


def _rate(service: Service, act: RateUser) -> None:
    user = set_user(
        service,
        act.user_id,
        risk=act.risk,
        overrides=act.overrides,
        who=act.who,
        note=act.note,
        must_match=lambda _: None,
    )
    stamp(service, "settings", {(act.user_id, user.settings_version): act.at})


def _try(service: Service, act: TryRule) -> None:
    present = service.run(service.rules)[act.code].setting
    sweep = Sweep(code=act.code, parameter=act.parameter, values=steps(act.first, act.last, act.step))
    question = Question(
        candidates=(candidate(present, {act.parameter: act.value}),),
        start=0,
        end=LAST_TIME,
        sweep=sweep,
        at_most=act.at_most,
    )
    backtest_id = start(service, question, who=act.who)
    while (found := service.run(lambda session: backtests.get(session, backtest_id))) is not None:
        if found.status != "running":
            break
        time.sleep(_POLL)
    assert found is not None
    if found.status != "done":
        raise Stopped(f"A backtest has {found.status}: {found.error or 'it was ended'}.")
    service.run(lambda session: demo.stamp_backtest(session, backtest_id, act.at))


def _mute(service: Service, act: MuteRule) -> None:
    now = datetime.now(UTC)
    if act.until <= now:
        return
    service.run(
        lambda session: set_mute(session, act.user_id, act.code, until=act.until, note=act.note, who=act.who, now=now)
    )
    stamp(service, "mute", {(act.user_id, act.code): act.at})


def _save(service: Service, act: SaveView) -> None:
    query = dict(act.query)
    saved = service.run(
        lambda session: views.save_view(session, who=act.who, name=act.name, query=query, shared=act.shared)
    )
    stamp(service, "view", {(saved.view_id,): act.at})


def stamp(service: Service, what: Stamped, moments: Mapping[tuple[int, ...], datetime]) -> None:
    """Give rows of a kind, by primary key, these moments."""
    rows = list(moments.items())
    for at in range(0, len(rows), ROWS):
        in_long_transaction(service, partial(demo.stamp, what=what, moments=dict(rows[at : at + ROWS])))


def in_long_transaction(service: Service, work: Callable[[Session], None]) -> None:
    """Do `work` in one transaction that may take long."""

    def in_transaction(session: Session) -> None:
        with Transaction(session) as transaction:
            work(session)
            transaction.commit()

    service.run_long(in_transaction)
