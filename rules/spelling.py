"""What somebody may have meant who has written a name that there is not."""

from collections.abc import Collection
from difflib import get_close_matches

_LONGEST = 64  # characters of a name that is looked at: comparing takes the square of its length


def near(name: str, known: Collection[str]) -> list[str]:
    """Up to three of the `known` names that may be meant by `name`, the likeliest first."""
    if len(name) > _LONGEST:
        return []
    plain = {_plain(one): one for one in known}
    found = [plain[one] for one in get_close_matches(_plain(name), plain)]
    return found or [one for one in known if _plain(name) in one.lower().split("_")][:1]  # id: user_id


def nearest(name: str, known: Collection[str]) -> str | None:
    """The likeliest of them; None if none is near."""
    return next(iter(near(name, known)), None)


def unknown(name: str, known: Collection[str]) -> str:
    """The end of a sentence that begins with an unknown `name`: which of the `known` is meant, or what there is."""
    if (meant := nearest(name, known)) is not None:
        return f'is unknown: did you mean "{meant}"?'
    if not known:
        return "is unknown: nothing is taken here"
    return f"is unknown: there {'are' if len(known) > 1 else 'is'} only {listed(known)}"


def listed(names: Collection[str]) -> str:
    """The names as people list them: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
