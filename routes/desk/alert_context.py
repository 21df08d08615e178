"""What the pages of an alert show besides the alert: the actions behind it, other alerts, and who is who."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup
from sqlalchemy.orm import Session

from database import alert_evidence, mutes, rule_versions, users
from database.alert_evidence import LateArrival, PlacedAction, actions_after, actions_before, actions_by_seq
from database.alert_filters import AlertFilter
from database.alert_lists import page_of_alerts
from database.alerts import AlertRow, alerts_of_action
from database.models import AlertChange, Mute, RuleVersion, User, UserSettings
from database.records import AlertKey
from routes.desk import alert_facts
from routes.desk.alert_facts import Measured, ParameterFact
from routes.desk.alert_rows import AlertLine
from routes.desk.alert_story import Past, last_known, story
from routes.desk.evidence_chart import (
    MOST_DRAWN,
    ChartAction,
    Column,
    Strip,
    column_note,
    evidence_chart,
    span,
    stretches,
)
from rules.model import LISTED_ACTIONS
from rules.registry import REGISTRY
from rules.wording import shown_evidence
from work.alerts import AlertAndHistory, read_alert

USUAL = 50  # actions that show what is usual for a user
OTHERS = 8  # alerts of the same user that are listed
NEAR = 10  # actions of each type before the judged one, and half as many behind it, that give the chart its scale


class Behind(NamedTuple):
    """The actions behind an alert, in order of time.

    `named` are those that its evidence names, `left_out` how many more there are. The others here follow from what the
    rule looks back at.
    """

    actions: Sequence[PlacedAction]
    named: frozenset[int]
    left_out: int

    @property
    def seqs(self) -> frozenset[int]:
        """Their numbers."""
        return frozenset(one.seq for one in self.actions)


class AlertContext(NamedTuple):
    """An alert with what surrounds it. `risk` is its user's rating when the action was judged."""

    line: AlertLine
    row: AlertRow
    history: Sequence[AlertChange]
    sentence: str
    action: PlacedAction
    user: User
    settings: UserSettings | None
    risk: str
    version: RuleVersion | None
    mute: Mute | None
    measured: Measured
    parameters: Sequence[ParameterFact]
    behind: Behind
    past: Past
    of_action: Sequence[AlertLine]

    @property
    def story(self) -> Sequence[Markup]:
        """How it came late, and why it holds no longer."""
        return story(self.past)

    @property
    def has_rule(self) -> bool:
        """Whether its rule is still there."""
        return self.line.code in REGISTRY

    @property
    def evidence(self) -> Mapping[str, Any]:
        """Why it was raised, as it is stored."""
        stored: Mapping[str, Any] = self.row.evidence
        return stored


def read_context(session: Session, key: AlertKey, *, has_dates: bool) -> AlertContext:
    """An alert with what surrounds it. Raises UnknownAlert."""
    found: AlertAndHistory = read_alert(session, key)
    row, evidence = found.alert, found.alert.evidence
    own = actions_by_seq(session, key.user_id, [key.seq])[0]
    user = users.get_user(session, key.user_id)
    assert user is not None
    settings = alert_evidence.settings_version(session, key.user_id, own.settings_version)
    risk = "normal" if settings is None else settings.risk
    arrivals: list[LateArrival] = []
    saw_all = True
    if row.late or row.superseded:
        arrivals, saw_all = alert_evidence.late_arrivals(session, key.user_id, key.seq, row.time)
    past = Past(
        seq=key.seq,
        time=row.time,
        late=row.late,
        superseded=row.superseded,
        created_at=row.created_at,
        touched_at=row.touched_at,
        worked_at=found.history[-1].at if found.history else None,
        arrivals=arrivals,
        saw_all=saw_all,
        has_dates=has_dates,
    )
    others = alerts_of_action(session, key.user_id, key.seq)
    version = rule_versions.page_of_rule_versions(session, key.code, 1, evidence.get("rule_version", 0) + 1)
    return AlertContext(
        line=AlertLine.of(row),
        row=row,
        history=found.history,
        sentence=shown_evidence(evidence, has_dates).get("sentence", ""),
        action=own,
        user=user,
        settings=settings,
        risk=risk,
        version=version[0] if version and version[0].version == evidence.get("rule_version") else None,
        mute=mutes.find_mute(session, key.user_id, key.code),
        measured=alert_facts.measured(key.code, evidence),
        parameters=alert_facts.parameter_facts(key.code, evidence, risk),
        behind=_behind(session, row, own, last_known(past)),
        past=past,
        of_action=[AlertLine.of(other) for other in others if other.code != key.code],
    )


def _behind(session: Session, row: AlertRow, own: PlacedAction, last: int | None) -> Behind:
    """What is behind an alert, of what had arrived when it was raised: up to the event `last`, if that is known."""
    named = [seq for seq in row.evidence.get("actions", ()) if isinstance(seq, int)]
    listed = actions_by_seq(session, row.user_id, named)
    unlisted = row.evidence.get("actions_unlisted", 0)
    since = alert_facts.summed(row.code, row.evidence, own.type, own.time)
    if since and len(listed) < LISTED_ACTIONS:
        more = {one.seq: one for one in listed}
        for kind, start in since.items():
            some = actions_before(session, row.user_id, own.place, limit=LISTED_ACTIONS, since=start, kinds=(kind,))
            more |= {one.seq: one for one in some if last is None or one.seq <= last}
        # If there are more by now than there were, nobody can say which of them count.
        if len(more) <= len(named) + unlisted or last is not None:
            listed = sorted(more.values(), key=lambda one: one.place)[-LISTED_ACTIONS:]
    return Behind(listed, frozenset(named), max(0, len(named) + unlisted - len(listed)))


class Picture(NamedTuple):
    """A chart, and what is to be known of it."""

    svg: Markup
    note: str | None


def picture_of(session: Session, found: AlertContext, *, has_dates: bool) -> Picture:
    """The chart of the actions around an alert."""
    row, own, behind = found.row, found.action, found.behind
    times = {one.seq: one.time for one in behind.actions}
    shade = alert_facts.window(row.evidence, own.time, times)
    since = alert_facts.summed(row.code, row.evidence, own.type, own.time)
    drawn = sorted(times.values())
    if 0 in since.values():  # all that there ever was: the newest are enough to see what is usual
        drawn = drawn[-USUAL:]
    elif behind.left_out:
        for kind, first in since.items():
            oldest = actions_after(session, row.user_id, (first, 0), limit=1, until=own.time, kinds=(kind,))
            drawn += [one.time for one in oldest]
    near = actions_before(session, row.user_id, own.place, limit=NEAR)
    near += actions_after(session, row.user_id, own.place, limit=NEAR // 2)
    start, end = span(own.time, drawn, shade, [one.time for one in near])
    now = ChartAction(own.seq, own.type, own.amount, own.time, True)
    strip = Strip(start, end, now, shade=shade, has_dates=has_dates)
    limit = MOST_DRAWN // 2
    before = actions_before(session, row.user_id, own.place, limit=limit + 1, since=start)
    after = actions_after(session, row.user_id, own.place, limit=limit + 1, until=end)
    if len(before) + len(after) <= MOST_DRAWN and max(_most_of_a_kind(before), _most_of_a_kind(after)) <= limit:
        actions = [
            ChartAction(one.seq, one.type, one.amount, one.time, one.seq in behind.seqs) for one in (*before, *after)
        ]
        lines = alert_facts.amount_lines(row.code, row.evidence)
        before_it = (own.ordinal - 1, own.running_total - own.amount)
        if (average := alert_facts.average_line(row.evidence, own.type, *before_it)) is not None:
            lines.append(average)
        return Picture(evidence_chart(strip._replace(actions=actions, lines=lines)), None)
    strip = strip._replace(columns=_columns(session, row, strip, behind, since))
    return Picture(evidence_chart(strip), column_note(strip))


def _most_of_a_kind(actions: Sequence[PlacedAction]) -> int:
    deposits = sum(one.type == "deposit" for one in actions)
    return max(deposits, len(actions) - deposits)


def _columns(
    session: Session, row: AlertRow, strip: Strip, behind: Behind, since: Mapping[str, int]
) -> Sequence[Column]:
    """Counts and sums of the stretches of time: from the running ones at their ends, so however many there are."""
    cut = stretches(strip.start, strip.end)
    numbers = alert_evidence.numbers_at(session, row.user_id, [strip.start - 1, *(end - 1 for _, end in cut)])
    found = []
    for kind in alert_evidence.KINDS:
        marked = [one.time for one in behind.actions if one.type == kind]
        for start, end in cut:
            before, after = numbers[kind, start - 1], numbers[kind, end - 1]
            is_summed = kind in since and start <= row.time and end > since[kind]
            counts = is_summed or any(start <= time < end for time in marked)
            number = after.number - before.number
            found.append(Column(kind, start, end, number, after.total - before.total, counts and number > 0))
    return found


def of_user(session: Session, key: AlertKey) -> tuple[Sequence[AlertLine], bool]:
    """Other alerts of the same user: open ones first, then the newest of all; and whether there are more."""
    asked, limit = AlertFilter(user_id=key.user_id, snoozed=None, muted=None), OTHERS + len(REGISTRY) + 1
    is_open = page_of_alerts(session, asked._replace(status="open", superseded=False), limit, None)
    every = page_of_alerts(session, asked, limit, None)
    lines = {line.id: line for line in map(AlertLine.of, [*is_open.rows, *every.rows])}
    # Those of the same action are listed by themselves.
    others = [line for line in lines.values() if line.seq != key.seq]
    return others[:OTHERS], len(others) > OTHERS or every.broke_off_at is not None
