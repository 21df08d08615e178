"""Titles and sentences for people: how they are shown.

What a rule says is stored and compared as it was written, with plain numbers: `in 604800 s`, `between 20 and 20`. It is
shown as `in 7 days` and `at 20` (docs/decisions/texts-for-people.md).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

_MONEY = r"\d+\.\d\d"
_LAST_DATE = 253_402_300_799  # the last second that has a date in four digits of a year

_SECONDS = re.compile(r"\b(\d+) s\b")
_AMOUNT = re.compile(rf"(?<![\d.]){_MONEY}(?![\d.]*\d)")
_SHARE = re.compile(rf"\b({_MONEY}) of the (deposits?)\b")
_TIMES = re.compile(rf"\b({_MONEY}) times\b")
_LONG = re.compile(r"\d{4}")
_ONE = re.compile(r"(?<![\d.,])1 (action|deposit|withdrawal|change|time)s\b")
_LAST_ONE = re.compile(r"\bThe last 1 actions are all (withdrawal|multiple)s\b")
_CHANGE_ONCE = re.compile(r"\bchange 1 times\b")
_AVERAGE_ITSELF = re.compile(r"\b([Oo]ver) 1\.00 times the\b")
_MANY = re.compile(r"\b(\d{4,}) (actions|deposits|withdrawals|changes)\b")
_NO_TIME = re.compile(r"\bin( the first)? 0 s\b")
# The times that a sentence names: of actions, so whole numbers without a unit.
_MOMENTS = re.compile(r"\b(between|from|since|at|to|and) (\d+)(?!\d|\.\d| s\b)")
_SAME = re.compile(r"\bbetween (\d+) and \1\b(?!\.\d)")
_NOTHING_LESS = re.compile(rf" less withdrawals of 0\.00( between \d+ and \d+) are {_MONEY}, over ")
_FIRST_SAME = re.compile(r"\bbetween the user's first action at (\d+) and \1\b(?!\.\d)")
_FIRST = ", the time of the user's first action,"
_SUMS = re.compile(rf"^(Deposit|Withdrawal)s of ({_MONEY}) (?:at|between \d+ and) (\d+)({_FIRST})? are over ")
_FIRST_SUMS = re.compile(rf"^Deposits of ({_MONEY}) between the user's first action at (\d+) and (\d+) are over ")
_IN_AND_OUT = re.compile(
    rf"^Withdrawals of ({_MONEY}) (?:at|between \d+ and) (\d+) are at least (\S+) of the deposits of ({_MONEY}) in "
)
_ONE_LESS_ONE = re.compile(
    rf"^Deposits of ({_MONEY}) less withdrawals of ({_MONEY}) (at|between \d+ and) (\d+) are ({_MONEY}), over "
)


def shown_title(title: str) -> str:
    """A rule's title, with its parameters filled in, as people read it."""
    return _for_people(title)


def shown_evidence(evidence: Mapping[str, Any], time_is_epoch: bool) -> dict[str, Any]:
    """Evidence as it is stored, but with its sentence as people read it, if it has one."""
    sentence = evidence.get("sentence")
    if not isinstance(sentence, str):
        return dict(evidence)
    actions = len(evidence.get("actions", ())) + evidence.get("actions_unlisted", 0)
    return {**evidence, "sentence": shown_sentence(sentence, actions, time_is_epoch)}


def shown_sentence(sentence: str, actions: int, time_is_epoch: bool) -> str:
    """What an alert says, as people read it: behind it are so many `actions`; times are dates if they can be."""
    text = _NOTHING_LESS.sub(r"\1 are over ", sentence) if " less " in sentence else sentence
    text = _SAME.sub(r"at \1", text)
    if "first action" in text:
        text = _FIRST_SAME.sub(rf"at \1{_FIRST}", text)
    if actions == 1:
        text = _SUMS.sub(_one_sum, text)
        text = _FIRST_SUMS.sub(_one_first, text)
    if actions == 2:
        text = _IN_AND_OUT.sub(r"A withdrawal of \1 at \2 is at least \3 of the deposit of \4 in ", text)
        text = _ONE_LESS_ONE.sub(r"A deposit of \1 less a withdrawal of \2 \3 \4 is \5, over ", text)
    if time_is_epoch:
        text = _MOMENTS.sub(lambda found: f"{found[1]} {_date(int(found[2]))}", text)
    return _for_people(text)


def duration(seconds: int) -> str:
    """A length of time in words: 7 days, 2 hours 30 minutes, 30 s."""
    parts = []
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number:,} {name}{'s' if number > 1 else ''}")
    if seconds or not parts:
        parts.append(f"{seconds} s")
    return " ".join(parts)


def _for_people(text: str) -> str:
    # A page of alerts has a thousand texts, so nothing is searched for that cannot be there.
    if " 1 " in text or text.startswith("1 "):
        text = _LAST_ONE.sub(r"The last action is a \1", text)
        text = _CHANGE_ONCE.sub("change once", text)
        text = _ONE.sub(r"1 \1", text)
    if " times" in text:
        text = _AVERAGE_ITSELF.sub(r"\1 the", text)
        text = _TIMES.sub(lambda found: f"{_plain(Decimal(found[1]))} times", text)
    if " of the deposit" in text:
        text = _SHARE.sub(lambda found: f"{_plain(Decimal(found[1]) * 100)} % of the {found[2]}", text)
    if " 0 s" in text:
        text = _NO_TIME.sub(lambda found: "in the first second" if found[1] else "in the same second", text)
    text = _SECONDS.sub(lambda found: duration(int(found[1])), text)
    if _LONG.search(text):
        text = _MANY.sub(lambda found: f"{int(found[1]):,} {found[2]}", text)
        text = _AMOUNT.sub(lambda found: f"{Decimal(found[0]):,}", text)
    return text


def _one_sum(found: re.Match[str]) -> str:
    return f"A {found[1].lower()} of {found[2]} at {found[3]}{found[4] or ''} is over "


def _one_first(found: re.Match[str]) -> str:
    amount, first, now = found.groups()
    return f"A deposit of {amount} at {now}, after the user's first action at {first}, is over "


def _date(time: int) -> str:
    if time > _LAST_DATE:
        return str(time)
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(number: Decimal) -> str:
    """The number with no more decimals than it needs."""
    return f"{number.normalize():,f}"
