"""The form of a webhook: where to, and what it is told; read as the API reads it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy.orm import Session

from database.webhooks import WebhookRow
from routes.desk.forms import BadForm
from routes.http.hooks import service
from routes.schemas.webhooks import WebhookRequest
from rules.parameters import written_values
from rules.payload import BadPayload, validate
from rules.values import read_whole_number
from work.webhook_messages import CHANGED, CREATED, REINSTATED, SUPERSEDED, TEST

# A test is sent when it is asked for, whether it is among them or not, so the form does without.
EVENTS: Mapping[str, str] = {
    CREATED: "an alert was raised",
    SUPERSEDED: "it no longer holds, because of a late event",
    REINSTATED: "it holds again, because of another one",
    CHANGED: "somebody worked it",
}
NO_URL = "Enter where messages are to be posted."
NO_EVENT = "Choose at least one."


class EnteredWebhook(NamedTuple):
    """What stands in the form. No code, or no rating, is all of them."""

    url: str = ""
    events: tuple[str, ...] = (CREATED, SUPERSEDED, REINSTATED)
    codes: tuple[str, ...] = ()
    risk: tuple[str, ...] = ()
    amounts: bool = False

    @classmethod
    def of(cls, row: WebhookRow) -> Self:
        """A webhook as it is stored."""
        codes = tuple(map(str, row.codes or ()))
        return cls(row.url, tuple(row.events), codes, tuple(row.risk or ()), row.amounts)

    @classmethod
    def sent(cls, fields: Mapping[str, Sequence[str]]) -> Self:
        """What a form has sent."""
        many = {name: tuple(fields.get(name, ())) for name in ("events", "codes", "risk")}
        return cls(url=fields.get("url", [""])[-1].strip(), amounts=fields.get("amounts", [""])[-1] == "true", **many)

    def columns(self, also: Sequence[str] = ()) -> dict[str, Any]:
        """The columns of the webhook, with events that the form does not show. Raises BadForm, by field."""
        faults = {}
        if not self.url:
            faults["url"] = NO_URL
        if not (self.events or also):
            faults["events"] = NO_EVENT
        codes, risk = [_number(code) for code in self.codes] or None, list(self.risk) or None
        events = [*self.events, *also]
        asked = {"url": self.url, "events": events, "codes": codes, "risk": risk, "amounts": self.amounts}
        try:
            wanted = validate(WebhookRequest, asked)
        except BadPayload as bad:
            faults = {one.pointer.split("/")[1]: one.detail for one in bad.errors} | faults
        if faults:
            raise BadForm(faults, {})
        return wanted.model_dump()


def unshown(row: WebhookRow) -> tuple[str, ...]:
    """The events of a webhook that the form does not show, and that stay."""
    return (TEST,) if TEST in row.events else ()


def rule_titles(session: Session) -> dict[int, str]:
    """The rules that the form offers: the title of each by its code, in the order in which answers list codes."""
    return {
        code: change.setting.rule.titled(written_values(change.setting.parameters))
        for code, change in service().rules(session).items()
    }


def _number(text: str) -> object:
    try:
        return read_whole_number(text)
    except ValueError:
        return text  # which is refused
