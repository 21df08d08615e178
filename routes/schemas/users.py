"""Requests and answers about users and their actions."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, create_model
from pydantic_core import CoreSchema, PydanticCustomError
from typing_extensions import TypeAliasType

from database.models import User
from routes.schemas.answer_fields import AsStored, Moment, ParametersAnswer, may_be_absent
from routes.schemas.fields import (
    WHOLE,
    Code,
    Id,
    MomentText,
    MoneyText,
    Name,
    OpeningBalance,
    Seconds,
    not_null,
    optional,
)
from routes.schemas.rules import (
    PARAMETERS,
    Author,
    ChangeRequest,
    GroupsRequest,
    Note,
    ParameterValues,
    declared_schema,
    left_out,
    map_by_code,
)
from routes.schemas.words import Origin, Risk, RuleStatus
from rules import model
from rules.base import RuleInForce, RuleSetting
from rules.conflicts import conflicts
from rules.parameters import read_values, written_values
from rules.payload import Payload
from work.erasure import AccountChange


class UserRequest(Payload):
    """A new user. Every field is optional; without `user_id`, the service picks a free one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ada", "total": "100.00", "risk": "normal"}]})

    read_only: ClassVar = frozenset({"balance"})

    user_id: Annotated[Id, optional(f"The user's id: {WHOLE}, 1 to 2^63-1.")] = 0
    name: Annotated[Name, optional()] = ""
    total: OpeningBalance = Decimal("0.00")
    risk: Risk = "normal"


OverridesAnswer = TypeAliasType(
    "OverridesAnswer",
    Annotated[
        dict[str, ParametersAnswer], Field(description="Rule parameters for one user alone, by the code of their rule.")
    ],
)


def _members(user: User, retained_until: datetime | None) -> dict[str, Any]:
    return {
        "id": user.user_id,
        "name": user.name,
        "total": f"{user.total:.2f}",
        "balance": f"{user.balance:.2f}",
        "risk": user.risk,
        "closed_at": user.closed_at,
        "legal_hold": user.legal_hold or None,
        "retained_until": None if user.erased_at else retained_until,
        "erasure_requested_at": user.erasure_requested_at,
        "erased_at": user.erased_at,
        "pruned_before": user.pruned_before,
    }


class UserAnswer(BaseModel):
    """A user. `total` is the opening balance; `balance` is that plus all deposits, minus all withdrawals."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": 7, "name": "Ada", "total": "100.00", "balance": "100.00", "risk": "normal"}]
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
    closed_at: Moment | None = may_be_absent("When the account was closed; left out while it is open.")
    legal_hold: bool | None = may_be_absent("Always true. The data must be kept whatever else holds.")
    retained_until: Moment | None = may_be_absent("Until when the law keeps the data of a closed account.")
    erasure_requested_at: Moment | None = may_be_absent(
        "Since when it is to be erased as soon as nothing keeps the data; left out once all of that is done."
    )
    erased_at: Moment | None = may_be_absent("When it was erased.")
    pruned_before: Seconds | None = may_be_absent(
        "All actions with an earlier `time` have been removed; left out if none have been."
    )

    @classmethod
    def of(cls, user: User, retained_until: datetime | None = None) -> Self:
        """The answer about a stored user, whose data the law keeps until a moment, unless that is None."""
        return cls(**_members(user, retained_until), overrides=user.overrides or None)


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
    def of(cls, user: User, retained_until: datetime | None = None) -> Self:
        """The answer about a user who has just been changed."""
        return cls(**_members(user, retained_until), overrides=user.overrides)


class Overrides(GroupsRequest):
    """All parameters that differ for one user, by the code of their rule; may be empty."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A map of maps: by code, then by name."""
        return map_by_code(core_schema, handler, ParameterValues, declared_schema)


OverridesRequest: type[Overrides] = create_model(
    "OverridesRequest",
    __base__=Overrides,
    __doc__=Overrides.__doc__,
    **{f"of_{code}": left_out(model, alias=str(code)) for code, model in PARAMETERS.items()},
)


def _not_ahead(moment: datetime | None) -> datetime | None:
    if moment is not None and moment > datetime.now(UTC):
        raise PydanticCustomError("moment", "must not be in the future")
    return moment


ACCOUNT = frozenset({"closed_at", "legal_hold", "erasure_requested"})


class UserChangeRequest(ChangeRequest):
    """What to change about a user. What is left out stays as it is."""

    read_only: ClassVar = frozenset(
        {
            "id",
            "user_id",
            "name",
            "total",
            "balance",
            "retained_until",
            "erasure_requested_at",
            "erased_at",
            "pruned_before",
        }
    )

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [{"risk": "high", "overrides": {"1100": {"threshold": "50.00"}}, "note": "Watched."}],
        }
    )

    risk: Annotated[Risk, optional()] = "normal"
    overrides: Overrides | None = not_null()
    closed_at: Annotated[
        MomentText | None,
        AfterValidator(_not_ahead),
        optional("When the account was closed, not in the future; null: it is open."),
    ] = None
    legal_hold: Annotated[bool, optional("Whether the data must be kept whatever else holds.")] = False
    erasure_requested: Annotated[
        bool, optional("Whether it is to be erased as soon as nothing keeps the data; false takes that back.")
    ] = False
    note: Note = None
    author: Author = None

    def account(self) -> AccountChange | None:
        """What to change about what keeps the data; None for nothing."""
        sent = self.model_fields_set
        if not sent & ACCOUNT:
            return None
        return AccountChange(
            closed_at=self.closed_at,
            reopens="closed_at" in sent and self.closed_at is None,
            legal_hold=self.legal_hold if "legal_hold" in sent else None,
            erasure_requested=self.erasure_requested if "erasure_requested" in sent else None,
        )


# What validates it: for each rule, only its own parameters.
UserChange: type[UserChangeRequest] = create_model(
    "UserChange", __base__=UserChangeRequest, overrides=left_out(OverridesRequest)
)


class InForceAnswer(BaseModel):
    """The value of a parameter for one user, and where it comes from."""

    value: MoneyText | int
    origin: Origin


class UserRuleAnswer(BaseModel):
    """A rule as it judges one user."""

    code: Code
    title: str
    status: RuleStatus
    version: Id
    parameters: dict[str, InForceAnswer]
    contradiction: str | None = may_be_absent(
        "Which value contradicts another, if a later change of the rule made it so."
    )

    @classmethod
    def of(cls, setting: RuleSetting, user: User) -> Self:
        """The answer about a rule set to `setting`, for `user`."""
        overrides = read_values(setting.rule.declared, user.overrides.get(str(setting.code), {}))
        rule = RuleInForce(setting, risk=cast(model.Risk, user.risk), overrides=overrides)
        values = written_values(rule.values)
        wrong = (f"{name} {sentence}" for name, sentence in conflicts(setting.rule, rule.values, rule.values))
        return cls(
            code=setting.code,
            title=setting.rule.titled(values),
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
        return cls(user_id=user.user_id, risk=cast(model.Risk, user.risk), rules=rules)
