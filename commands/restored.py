"""`flask --app app restored`: after a restore, what becomes of the messages to webhooks that wait in it."""

import click
from flask.cli import with_appcontext
from sqlalchemy.orm import Session

from access.caller import COMMAND_LINE
from commands.endings import Command, check_database, service
from database import webhook_hold
from database.log_entries import add_log_entry
from database.session import commit


@click.command(cls=Command)
@click.option("--resume", "decision", flag_value="resume", help="Send what waits, and all that comes.")
@click.option("--discard", "decision", flag_value="discard", help="Drop what waits, and send what comes.")
@with_appcontext
def restored(decision: str | None) -> None:
    """After a restore: hold all webhooks until it is decided what becomes of the messages that wait.

    Some of them may have been sent by the original. Without an option, nothing is sent any more, and what waits is
    counted. --resume sends it all: who gets a message twice knows it by its `webhook-id`. --discard drops it. In a copy
    beside the original do neither: leave them held. Exit status: 0, or 2 if the database cannot be used.
    """
    check_database()
    waiting = service().run(webhook_hold.waiting)
    if decision is None:
        service().run(lambda session: _hold(session, waiting))
        click.echo(f"Nothing is sent to webhooks until you decide. {waiting} may have been sent before.")
        click.echo("  flask --app app restored --resume   sends them, and what comes")
        click.echo("  flask --app app restored --discard  drops them, and sends what comes")
        return
    if decision == "discard":
        while service().run(_discard_some):
            pass
    service().run(lambda session: _release(session, decision, waiting))
    done = "Discarded" if decision == "discard" else "To be sent now"
    click.echo(f"{done}: {waiting}. Webhooks are no longer held.")


def _hold(session: Session, waiting: webhook_hold.Waiting) -> None:
    webhook_hold.hold(session, webhook_hold.RESTORED)
    _log(session, "held", waiting)
    commit(session)


def _discard_some(session: Session) -> int:
    number = webhook_hold.discard_some(session)
    commit(session)
    return number


def _release(session: Session, decision: str, waiting: webhook_hold.Waiting) -> None:
    webhook_hold.release(session)
    _log(session, {"resume": "resumed", "discard": "discarded"}[decision], waiting)
    commit(session)


def _log(session: Session, what: str, waiting: webhook_hold.Waiting) -> None:
    add_log_entry(session, who=COMMAND_LINE, kind="webhook", subject="all", what=what, after=waiting._asdict())
