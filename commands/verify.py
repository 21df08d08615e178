"""`flask --app app verify`: check that what is stored follows from the actions."""

import json

import click
from flask.cli import with_appcontext

from commands.endings import Command, check_database
from commands.terminal import json_option, over_all, processes_option
from rules.hindsight.verify_report import Difference, VerifyReport
from rules.hindsight.verify_work import VerifyWork


@click.command(cls=Command)
@processes_option
@json_option
@with_appcontext
def verify(processes: int, as_json: bool) -> None:
    """Derive every stored alert again from the stored actions, and list each difference.

    Actions are judged by the rules, ratings and overrides that first judged them. Balances, running sums and the
    answered codes are checked too. What was judged with actions that have been pruned since is passed over and counted.
    Nothing is changed, and the service keeps running. Exit status: 0 if there is no difference, 1 if there is one, 2 if
    it could not be done, 130 after Ctrl+C.
    """
    check_database()
    report, seconds = over_all("Verifying", VerifyWork(), VerifyReport(), processes)
    click.echo(json.dumps(_data(report), indent=2) if as_json else _text(report, seconds))
    if report.found:
        raise click.exceptions.Exit(1)


def _data(report: VerifyReport) -> dict[str, object]:
    return {
        "users": report.users,
        "actions": report.actions,
        "alerts": report.alerts,
        "unproved": report.unproved,
        "differences": report.found,
        "listed": [
            {"user_id": one.user_id, "seq": one.seq, "code": one.code, "what": one.what} for one in report.differences
        ],
    }


def _text(report: VerifyReport, seconds: float) -> str:
    lines = [_line(one) for one in report.differences]
    if report.found > len(lines):
        lines.append(f"and {report.found - len(lines):,} more")
    lines += [
        f"users               {report.users:>12,}",
        f"actions             {report.actions:>12,}",
        f"alerts              {report.alerts:>12,}",
        *([f"alerts not proved   {report.unproved:>12,}  raised with pruned actions"] if report.unproved else []),
        f"differences         {report.found:>12,}",
        f"seconds             {seconds:>12,.1f}",
        f"actions per second  {report.actions / seconds:>12,.0f}",
    ]
    return "\n".join(lines)


def _line(one: Difference) -> str:
    action = "" if one.seq is None else f", action {one.seq}"
    code = "" if one.code is None else f", code {one.code}"
    return f"user {one.user_id}{action}{code}: {one.what}"
