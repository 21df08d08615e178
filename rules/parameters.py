"""What a rule can be set to: parameters with a unit, a default, bounds and the reason for the default."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields
from decimal import Decimal
from typing import Any, Literal

from rules.model import Value
from rules.values import CENT, MOST_MONEY, read_decimal, read_whole_number

Unit = Literal["money", "factor", "actions", "seconds"]

_EXPECTED: Mapping[Unit, str] = {
    "money": 'money such as "42.00"',
    "factor": 'a number with at most 2 decimals such as "1.50"',
    "actions": "a whole number of actions",
    "seconds": "a whole number of seconds",
}


@dataclass(frozen=True)
class Parameter:
    """One knob of a rule: its name, what it counts, its default, its bounds (both included), and why that default.

    `scaled` says whether the user's risk rating scales the value.
    """

    name: str
    unit: Unit
    default: Value
    least: Value
    most: Value
    why: str
    scaled: bool = False

    @property
    def is_decimal(self) -> bool:
        """Whether its values have two decimals and travel as text; else they are whole numbers."""
        return self.unit in ("money", "factor")

    def value(self, stored: str | int) -> Value:
        """The value that is stored as `stored`, even if it is out of bounds by now."""
        return Decimal(stored).quantize(CENT) if self.is_decimal else int(stored)

    def read(self, raw: object) -> Value:
        """The value of `raw`: text or a number as it was written for money and factors, else a whole number.

        Raises ValueError; its message says what is expected.
        """
        value: Value | None = None
        if self.is_decimal:
            with suppress(ValueError):
                value = read_decimal(raw)
        elif isinstance(raw, int) and not isinstance(raw, bool):
            value = raw
        if value is None or not self.least <= value <= self.most:
            raise ValueError(f"must be {_EXPECTED[self.unit]}, {self.least} to {self.most}")
        return value

    def typed(self, text: str) -> Value:
        """The value that somebody typed. Raises ValueError as `read` does."""
        if self.is_decimal:
            return self.read(text)
        try:
            return self.read(read_whole_number(text))
        except ValueError:
            return self.read(text)  # which says what is expected


@dataclass(frozen=True)
class Order:
    """Two parameters of which `lower` is never more than `upper` (nor as much, unless `or_equal`).

    Else the rule could never fire, or would say what makes no sense. It holds for the values in force, whatever each of
    them comes from.
    """

    lower: str
    upper: str
    or_equal: bool = True

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether these values of all parameters are so."""
        lower, upper = values[self.lower], values[self.upper]
        return lower < upper or (self.or_equal and lower == upper)


def read_values(declared: Iterable[Parameter], written: Mapping[str, Any]) -> dict[str, Value]:
    """Values of declared parameters from the JSON form in which they are stored.

    What is no longer declared is left out; a value that is no longer within bounds still holds.
    """
    return {one.name: one.value(written[one.name]) for one in declared if one.name in written}


def written_values(values: Mapping[str, Value]) -> dict[str, str | int]:
    """Values of parameters in their JSON form: money and factors as text, so that nobody reads them as floats."""
    return {name: value if isinstance(value, int) else str(value) for name, value in values.items()}


# The fields of a rule's class of parameters. These return Any, so that each field can be declared with its own type.


def money(default: str, why: str, least: str = "0.00", most: str = str(MOST_MONEY), scaled: bool = True) -> Any:
    """An amount of money with two decimals. Unless less is stricter, it must not be `scaled` by the risk rating."""
    return _declared("money", Decimal(default).quantize(CENT), Decimal(least), Decimal(most), why, scaled)


def factor(default: str, why: str, least: str = "0.01", most: str = "1000.00") -> Any:
    """A share or a multiple with two decimals; no risk rating scales it."""
    return _declared("factor", Decimal(default).quantize(CENT), Decimal(least), Decimal(most), why)


def actions(default: int, why: str, least: int = 1, most: int = 100) -> Any:
    """A number of actions."""
    return _declared("actions", default, least, most, why)


def seconds(default: int, why: str, least: int = 0, most: int = 3600) -> Any:
    """A length of time. Keep `most` low if a look-back is `Within` it: a late event reaches as far ahead."""
    return _declared("seconds", default, least, most, why)


def _declared(unit: Unit, default: Value, least: Value, most: Value, why: str, scaled: bool = False) -> Any:
    assert least <= default <= most
    return field(default=default, metadata={"unit": unit, "least": least, "most": most, "why": why, "scaled": scaled})


@dataclass(frozen=True)
class NoParameters:
    """For rules that have none."""


def declared_in(parameters: type) -> tuple[Parameter, ...]:
    """The parameters that a rule's class of parameters declares, in order."""
    return tuple(_parameter(one) for one in fields(parameters))


def _parameter(one: "Field[Any]") -> Parameter:
    assert one.default is not MISSING
    return Parameter(name=one.name, default=one.default, **one.metadata)
