"""`flask --app app demo`: fill an empty database with eight weeks of activity, and of work on what it raised."""

from datetime import UTC, datetime
from typing import Any

import click
from flask.cli import with_appcontext

from commands.collecting import rare_collections
from commands.demo_events import make_arrivals, make_people
from commands.demo_fill import Filler
from commands.demo_story import make_story
from commands.endings import Command, Interrupted, Stopped, check_database, service
from database.demo import other_data
from rules.policy import Policy
from rules.registry import DEFAULT_CODES

# The most actions that stand behind a late event in it.
_BEHIND = 1_000
_AFRESH = "An interrupted demo leaves part of its data; docs/backup.md says how to start afresh."


class _Moment(click.ParamType[datetime]):
    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a moment such as 2026-01-31T12:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail("it needs a zone, such as in 2026-01-31T12:00:00Z", param, ctx)
        return moment.astimezone(UTC)


@click.command(cls=Command)
@click.option(
    "--until",
    type=_Moment(),
    help="The moment (RFC 3339) at which the eight weeks end; with the same one the data is the same.  "
    "[default: the present minute's beginning]",
)
@click.option("--users", type=click.IntRange(20, 10_000), default=400, show_default=True, help="How many users.")
@with_appcontext
def demo(until: datetime | None, users: int) -> None:
    """Fill an empty database with demo data: eight weeks of 400 users, their alerts, and the work on these.

    Ada, Grace and Linus have worked most of the alerts, set rules, rated users and tried values. The `time` of events
    is seconds since 1970 (with TIME_IS_EPOCH=true the pages show dates). Everything is judged and worked as it would be
    over HTTP; only the moments at which it was stored are replaced. Snoozes and mutes that would have ended by now are
    left out. Exit status: 0 if done, 2 if it could not be, 130 after Ctrl+C.
    """
    now = datetime.now(UTC)
    until = until or now.replace(second=0, microsecond=0)
    if until > now:
        raise click.BadParameter("must not be in the future", param_hint="--until")
    if until < datetime(1971, 1, 1, tzinfo=UTC):
        raise click.BadParameter("must not be before 1971", param_hint="--until")
    check_database()
    ours = service()
    if problems := _refused_by(ours.policy):
        raise Stopped("Demo data needs other settings:\n" + "\n".join(f"  {problem}" for problem in problems))
    if found := ours.run(other_data):
        raise Stopped(f"The database must be empty, but it holds {', '.join(found)}. {_AFRESH}")
    people = make_people(users, int(until.timestamp()))
    arrivals = make_arrivals(people, int(until.timestamp()))
    try:
        with rare_collections(), Filler(ours, people, until) as filler:
            filler.fill(arrivals, make_story(people, until))
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped. {_AFRESH}") from None
    click.echo(filler.summary())


def _refused_by(policy: Policy) -> list[str]:
    """What the settings keep from being stored."""
    problems = []
    if not policy.accept_out_of_order:
        problems.append("OUT_OF_ORDER must be accept: some events come late")
    if not policy.allow_overdraft:
        problems.append("OVERDRAFT must be allow: late deposits come after what they pay for")
    if policy.late_limit < _BEHIND:
        problems.append(f"LATE_LIMIT must be at least {_BEHIND}")
    if tuple(rule.code for rule in policy.rules) != DEFAULT_CODES:
        problems.append(f"RULES must be {','.join(map(str, DEFAULT_CODES))}: the demo switches on further ones itself")
    return problems
