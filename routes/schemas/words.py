"""Members that are one word of a fixed list. Each list has a name in the OpenAPI document: one type in a client."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from rules import base, model, parameters

ActionType = TypeAliasType(
    "ActionType", Annotated[model.ActionType, Field(description="What a user did with the money.")]
)
Risk = TypeAliasType(
    "Risk",
    Annotated[
        model.Risk, Field(description="A user's rating: by default high halves thresholds and low doubles them.")
    ],
)
RuleStatus = TypeAliasType(
    "RuleStatus",
    Annotated[
        base.Status,
        Field(description="Active: judged and answered. Shadow: judged, but alerts are stored apart. Off: not judged."),
    ],
)
Origin = TypeAliasType(
    "Origin", Annotated[base.Origin, Field(description="Where the value of a parameter comes from for one user.")]
)
Unit = TypeAliasType("Unit", Annotated[parameters.Unit, Field(description="What a parameter counts.")])
AlertStatus = TypeAliasType(
    "AlertStatus",
    Annotated[Literal["open", "acknowledged", "closed"], Field(description="How far work on an alert has come.")],
)
AlertOutcome = TypeAliasType(
    "AlertOutcome",
    Annotated[
        Literal["true_positive", "false_positive", "inconclusive"],
        Field(description="What an alert turned out to be: it has an outcome while it is closed."),
    ],
)
WhichOnes = TypeAliasType(
    "WhichOnes", Annotated[Literal["true", "false", "any"], Field(description="Only those, none of them, or both.")]
)
Order = TypeAliasType("Order", Annotated[Literal["newest", "oldest"], Field(description="What comes first.")])
BacktestStatus = TypeAliasType(
    "BacktestStatus",
    Annotated[
        Literal["running", "done", "cancelled", "failed", "interrupted"],
        Field(description="Interrupted: the service or the backtest's process ended before the end."),
    ],
)
