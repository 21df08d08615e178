"""Late and superseded alerts as a story: no more than what is stored says. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from database.alert_evidence import LateArrival
from routes.desk import words

_NAMED = 3  # events that a sentence names; of more it says how many there are


class Past(NamedTuple):
    """An alert as far as the story goes: `arrivals` are the events that came after its own with an earlier time.

    `saw_all` is whether that is all of them, `worked_at` when somebody worked it last.
    """

    seq: int
    time: int
    late: bool
    superseded: bool
    created_at: datetime
    touched_at: datetime
    worked_at: datetime | None
    arrivals: Sequence[LateArrival]
    saw_all: bool
    has_dates: bool


def story(alert: Past) -> list[Markup]:
    """The sentences, one paragraph each; none of an alert that came in order and holds."""
    raised_by = [one for one in alert.arrivals if one.created_at == alert.created_at] if alert.late else []
    said = []
    if alert.late:
        said.append(_raised(alert, raised_by))
    if alert.superseded:
        said.append(_superseded(alert, raised_by))
    return said


def last_known(alert: Past) -> int | None:
    """The newest event, by its number, that had arrived when the alert was raised; None if nobody can say."""
    if not alert.late:
        return alert.seq
    raised_by = [one.seq for one in alert.arrivals if one.created_at == alert.created_at]
    return max(raised_by, default=None)


def _raised(alert: Past, by: Sequence[LateArrival]) -> Markup:
    own = Markup("Event #{} at {}").format(alert.seq, words.event_time(alert.time, alert.has_dates))
    start = Markup("{} did not raise this alert when it came, so the alert is not in the answer to it.").format(own)
    if len(by) != 1:
        who = _several(by) if by else Markup("a late event, which belongs before it,")
        return Markup("{} It was raised when {} arrived, on {}.").format(start, who, words.moment(alert.created_at))
    one = by[0]
    late = words.rough(alert.time - one.time)
    delay = int(one.created_at.timestamp()) - one.time if alert.has_dates else 0
    arrived = f" {words.rough(delay)} late" if delay > 0 else ""
    return Markup("{} It was raised when {} arrived{}, on {}: its time is {} before that of event #{}.").format(
        start, _event(one, alert.has_dates), arrived, words.moment(alert.created_at), late, alert.seq
    )


def _superseded(alert: Past, raised_by: Sequence[LateArrival]) -> Markup:
    first = max((one.seq for one in raised_by), default=alert.seq)
    later = [one for one in alert.arrivals if one.seq > first]
    if alert.late and not raised_by:
        later = [one for one in later if one.created_at > alert.created_at]
    kept = "It is kept with the evidence it was raised on."
    if alert.saw_all and len(later) == 1:
        one = later[0]
        return Markup("It no longer holds since {} arrived, on {}: that belongs before event #{}. {}").format(
            _event(one, alert.has_dates), words.moment(one.created_at), alert.seq, kept
        )
    since = Markup("")
    if alert.worked_at is None or alert.touched_at > alert.worked_at:
        since = Markup(" since {}").format(words.moment(alert.touched_at))
    why = f"a late event changed what came before event #{alert.seq}"
    if alert.saw_all and later:
        return Markup("It no longer holds{}: {}. It was one of {}. {}").format(since, why, _several(later), kept)
    return Markup("It no longer holds{}: {}. {}").format(since, why, kept)


def _several(events: Sequence[LateArrival]) -> Markup:
    names = [f"#{one.seq}" for one in events[:_NAMED]]
    if len(events) > _NAMED:
        names.append(f"{len(events) - _NAMED:,} more")
    return Markup("events {} and {}").format(", ".join(names[:-1]), names[-1])


def _event(one: LateArrival, has_dates: bool) -> Markup:
    what = "deposit" if one.type == "deposit" else "withdrawal"
    return Markup("event #{} (a {} of {} at {})").format(
        one.seq, what, words.money(one.amount), words.event_time(one.time, has_dates)
    )
