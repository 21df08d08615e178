"""Requests and answers about users and their actions."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from database.models import User, UserAction
from routes.schemas.answer_fields import AsStored, may_be_absent
from routes.schemas.fields import (
    Code,
    Id,
    MoneyText,
    Name,
    OpeningBalance,
    PageQuery,
    Seconds,
    cursor_of,
    optional,
)
from routes.schemas.rules import PARAMETERS, Author, ChangeRequest, GroupsRequest, Note, left_out
from rules.base import Origin, RuleInForce, RuleSetting, Status
from rules.conflicts import conflicts
from rules.model import ActionType, Risk
from rules.parameters import read_values, written_values
from rules.payload import Payload


class UserRequest(Payload):
    """A new user. Every field is optional; without `user_id`, the service picks a free one."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Ada", "total": "100.00", "risk": "normal", "user_id": 7}]}
    )

    read_only: ClassVar = frozenset({"balance"})

    user_id: Annotated[Id, optional()] = 0
    name: Annotated[Name, optional()] = ""
    total: OpeningBalance = Decimal("0.00")
    risk: Risk = "normal"


OverridesAnswer = dict[str, dict[str, MoneyText | int]]


def _members(user: User) -> dict[str, Any]:
    return {
        "id": user.user_id,
        "name": user.name,
        "total": f"{user.total:.2f}",
        "balance": f"{user.balance:.2f}",
        "risk": user.risk,
    }


class UserAnswer(BaseModel):
    """A user. `total` is the opening balance; `balance` is that plus all deposits, minus all withdrawals."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": 7, "name": "Ada", "total": "100.00", "balance": "142.00", "risk": "normal"}]
        }
    )

    id: Id
    name: str | None
    total: MoneyText
    balance: MoneyText
    risk: Risk
    overrides: Annotated[dict[str, Any], AsStored(OverridesAnswer)] | None = may_be_absent(
        "Rule parameters for this user alone, by code; left out if there are none."
    )

    @classmethod
    def of(cls, user: User) -> Self:
        """The answer about a stored user."""
        return cls(**_members(user), overrides=user.overrides or None)


class UserChangedAnswer(UserAnswer):
    """A user after a change of rating or overrides."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "name": "Ada",
                    "total": "100.00",
                    "balance": "142.00",
                    "risk": "high",
                    "overrides": {"1100": {"threshold": "50.00"}},
                }
            ]
        }
    )

    overrides: Annotated[
        dict[str, Any],
        AsStored(OverridesAnswer),
        Field(description="Rule parameters for this user alone, by code; may be empty."),
    ]

    @classmethod
    def of(cls, user: User) -> Self:
        """The answer about a user who has just been changed."""
        return cls(**_members(user), overrides=user.overrides)


class ActionAnswer(BaseModel):
    """One stored action; `seq` counts its user's actions in order of arrival, from 1."""

    seq: Id
    type: ActionType
    amount: MoneyText
    time: Seconds
    event_id: str | None

    @classmethod
    def of(cls, action: UserAction) -> Self:
        """The answer about a stored action."""
        return cls(
            seq=action.seq,
            type=cast(ActionType, action.type),
            amount=str(action.amount),
            time=action.time,
            event_id=action.event_id,
        )


class ActionsAnswer(BaseModel):
    """A page of actions, newest first, and the cursor of the next page (null on the last one)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "actions": [{"seq": 1, "type": "deposit", "amount": "42.00", "time": 10, "event_id": None}],
                    "next": None,
                }
            ]
        }
    )

    actions: list[ActionAnswer]
    next: str | None


class ActionsQuery(PageQuery):
    """Which of a user's actions to list."""

    cursor: Annotated[str, cursor_of(2)] = ""


OverridesRequest: type[GroupsRequest] = create_model(
    "OverridesRequest",
    __base__=GroupsRequest,
    __doc__="All parameters that differ for one user, by the code of their rule; may be empty.",
    **{f"of_{code}": left_out(model, alias=str(code)) for code, model in PARAMETERS.items()},
)


class UserChange(ChangeRequest):
    """What to change about how a user is judged. What is left out stays as it is."""

    read_only: ClassVar = frozenset({"id", "user_id", "name", "total", "balance"})

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [
                {"risk": "high", "overrides": {"1100": {"threshold": "50.00"}}, "note": "Watched.", "author": "Ada"}
            ],
        }
    )

    risk: Annotated[Risk, optional()] = "normal"
    overrides: GroupsRequest | None = None
    note: Note = None
    author: Author = None


UserChangeRequest: type[UserChange] = create_model(
    "UserChangeRequest", __base__=UserChange, __doc__=UserChange.__doc__, overrides=left_out(OverridesRequest)
)


class InForceAnswer(BaseModel):
    """The value of a parameter for one user, and where it comes from."""

    value: MoneyText | int
    origin: Origin


class UserRuleAnswer(BaseModel):
    """A rule as it judges one user."""

    code: Code
    title: str
    status: Status
    version: Id
    parameters: dict[str, InForceAnswer]
    contradiction: str | None = may_be_absent(
        "Which value contradicts another, if a later change of the rule made it so."
    )

    @classmethod
    def of(cls, setting: RuleSetting, user: User) -> Self:
        """The answer about a rule set to `setting`, for `user`."""
        overrides = read_values(setting.rule.declared, user.overrides.get(str(setting.code), {}))
        rule = RuleInForce(setting, risk=cast(Risk, user.risk), overrides=overrides)
        values = written_values(rule.values)
        wrong = (f"{name} {sentence}" for name, sentence in conflicts(setting.rule, rule.values, rule.values))
        return cls(
            code=setting.code,
            title=setting.rule.title.format_map(values),
            status=setting.status,
            version=setting.version,
            parameters={name: InForceAnswer(value=value, origin=rule.origin[name]) for name, value in values.items()},
            contradiction=next(wrong, None),
        )


class UserRulesAnswer(BaseModel):
    """All rules as they judge one user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": 7,
                    "risk": "high",
                    "rules": [
                        {
                            "code": 1100,
                            "title": "Withdrawal over 50.00",
                            "status": "active",
                            "version": 1,
                            "parameters": {"threshold": {"value": "50.00", "origin": "risk"}},
                        }
                    ],
                }
            ]
        }
    )

    user_id: Id
    risk: Risk
    rules: list[UserRuleAnswer]

    @classmethod
    def of(cls, user: User, settings: Iterable[RuleSetting]) -> Self:
        """The answer about `user` when the rules are set to `settings`."""
        rules = [UserRuleAnswer.of(setting, user) for setting in settings]
        return cls(user_id=user.user_id, risk=cast(Risk, user.risk), rules=rules)
