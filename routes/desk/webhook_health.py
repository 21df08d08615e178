"""How sending to a webhook goes, in words, for its line in the list and for its page."""

from typing import Literal, NamedTuple, Self

from markupsafe import Markup

from database.webhooks import WebhookRow
from routes.desk import words

State = Literal["delivers", "failing", "disabled", "held", "new"]


class WebhookHealth(NamedTuple):
    """How it goes: the state, a word for it, and more about it ("" if there is no more to say)."""

    state: State
    title: str
    detail: str | Markup

    @classmethod
    def of(cls, row: WebhookRow, held: str | None) -> Self:
        """The health of a webhook; `held` is why nothing is sent to any, if it is not."""
        if not row.enabled:
            return cls("disabled", "Disabled", row.disabled_reason or "on request")
        if held:
            return cls("held", "Held", "as all webhooks are")
        if row.failing_since:
            since = Markup("since {}").format(words.moment(row.failing_since))
            return cls(
                "failing", "Failing", Markup("{}: {}").format(since, row.last_error) if row.last_error else since
            )
        if row.last_success_at:
            return cls("delivers", "Delivers", "")
        return cls("new", "Nothing sent yet", "")
