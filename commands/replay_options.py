"""The options of `replay` that say how a file writes an event; together they make its `columns`."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import click

from commands.replay_columns import FIELDS, SKIP, SPLIT, TIME_FORMATS, Columns
from rules.model import ACTION_TYPES

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--map",
        "names",
        multiple=True,
        metavar="FIELD=COLUMN",
        help=f"The column of {', '.join(FIELDS)}: its name, or #N for the N-th. With deposit=COLUMN and "
        "withdraw=COLUMN, the amounts of each kind are in a column of their own.",
    ),
    click.option("--set", "constants", multiple=True, metavar="FIELD=VALUE", help="The same value for every line."),
    click.option(
        "--type",
        "types",
        multiple=True,
        metavar="WORD=KIND",
        help=f"What a word in the column of types means: deposit, withdraw or {SKIP}. * is any other word.",
    ),
    click.option("--signed", is_flag=True, help="An amount below zero is a withdrawal, any other a deposit."),
    click.option(
        "--time-format",
        default="seconds",
        show_default=True,
        metavar="FORMAT",
        help=f"{', '.join(TIME_FORMATS)}, or a pattern such as %d.%m.%Y %H:%M. Without a time zone, times are UTC.",
    ),
    click.option("--decimal", type=click.Choice([".", ","]), default=".", show_default=True, help="In amounts."),
    click.option(
        "--thousands", type=click.Choice([",", ".", " ", "'"]), help="The separator of thousands in amounts, if any."
    ),
    click.option(
        "--user-ids",
        type=click.Choice(["numbers", "hashed"]),
        default="numbers",
        show_default=True,
        help="hashed: ids are any text, and the number is made of its SHA-256.",
    ),
    click.option(
        "--separator", default=",", show_default=True, metavar="SIGN", help="Between the cells of CSV; also: tab."
    ),
)


def column_options(command: CommandT) -> CommandT:
    """Adds the options to `command`, which gets `columns` and `separator`."""

    @wraps(command)
    def with_columns(
        *args: Any,
        names: tuple[str, ...],
        constants: tuple[str, ...],
        types: tuple[str, ...],
        signed: bool,
        time_format: str,
        decimal: str,
        thousands: str | None,
        user_ids: str,
        separator: str,
        **kwargs: Any,
    ) -> Any:
        columns = Columns(
            names=_pairs("--map", names, (*FIELDS, *SPLIT)),
            constants=_pairs("--set", constants, FIELDS[:-1]),
            types=_pairs("--type", types, None),
            signed=signed,
            time_format=_time_format(time_format),
            decimal=decimal,
            thousands=thousands or "",
            hashed_ids=user_ids == "hashed",
        )
        _check(columns)
        if separator.lower() in ("tab", "\\t"):
            separator = "\t"
        if len(separator) != 1 or separator in '"\r\n':
            raise click.BadParameter("must be one character, or tab", param_hint="--separator")
        return command(*args, columns=columns, separator=separator, **kwargs)

    wrapped: Any = with_columns
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def _pairs(option: str, texts: tuple[str, ...], known: tuple[str, ...] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        # The word of a type may hold an equals sign; a kind does not.
        name, found, value = text.partition("=") if known else text.rpartition("=")
        if not found or not name or not value:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE", param_hint=option)
        if known and name not in known:
            raise click.BadParameter(f"{name} is none of {', '.join(known)}", param_hint=option)
        if name in pairs:
            raise click.BadParameter(f"{name} is there twice", param_hint=option)
        pairs[name] = value
    return pairs


def _time_format(text: str) -> str:
    if text in TIME_FORMATS:
        return text
    try:
        datetime.strptime("", text)
    except ValueError as error:
        wrong = "%" not in text or "does not match" not in str(error)
    else:
        wrong = True
    if wrong:
        known = ", ".join(TIME_FORMATS)
        raise click.BadParameter(f"must be {known}, or a pattern such as %Y-%m-%d", param_hint="--time-format")
    return text


def _check(columns: Columns) -> None:
    """Refuse options that contradict each other."""
    for word, kind in columns.types.items():
        if kind not in (*ACTION_TYPES, SKIP):
            raise click.BadParameter(f"{word} must be {', '.join(ACTION_TYPES)} or {SKIP}", param_hint="--type")
    both = [name for name in columns.names if name in columns.constants]
    if both:
        raise click.UsageError(f"--map and --set both say where {both[0]} comes from.")
    if columns.decimal == columns.thousands:
        raise click.UsageError("--decimal and --thousands are the same.")
    if columns.is_split:
        if missing := [kind for kind in SPLIT if kind not in columns.names]:
            raise click.UsageError(f"--map {missing[0]}=COLUMN is missing.")
        if columns.signed or columns.types or {"type", "amount"} & {*columns.names, *columns.constants}:
            raise click.UsageError("With --map deposit and withdraw there is nothing more to say of type or amount.")
    ways = [columns.signed, "type" in columns.names or bool(columns.types), "type" in columns.constants]
    if sum(ways) > 1:
        raise click.UsageError("Only one of --signed, --type (or --map type) and --set type can hold.")
