"""The rules as the service starts. They hold for all who use the database, so others must not be changed unasked."""

import sys
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from database import migrations, presence
from rules.service import Service
from rules.versions import RuleChange


class RulesOfOthers(Exception):
    """Another service runs by the rules that this start would change; the message names each, and what can be done."""


def enter(service: Service, *, may_change_others: bool) -> dict[int, str]:
    """Store what RULES and the declarations say of rules that nobody has set.

    Returns the status of each rule; what changes is printed. Raises RulesOfOthers if another service is alive, unless
    `may_change_others`, and MigrationError if the rules cannot be stored.
    """

    def approve(changes: Sequence[tuple[RuleChange, RuleChange]], active: Sequence[int]) -> None:
        lines = "\n".join(f"  {_said(before, after)}" for before, after in changes)
        if not may_change_others and presence.is_anybody_serving(service.url):
            codes = ",".join(map(str, active))
            otherwise = f"; RULES={codes} leaves those that are active as they are" if codes else ""
            raise RulesOfOthers(
                f"Another service runs on this database, and this start would change its rules:\n{lines}\n"
                f"RULES_APPLY=true changes them for both{otherwise}."
            )
        print(f"This start changes rules, for every service on this database:\n{lines}", file=sys.stderr, flush=True)

    try:
        service.enter_rules(approve)
        return {code: change.setting.status for code, change in service.run(service.rules).items()}
    except SQLAlchemyError as error:
        raise migrations.MigrationError(
            f"The rules cannot be stored: {getattr(error, 'orig', None) or error}"
        ) from None
    finally:
        service.dispose()  # a worker must not share its connections


def _said(before: RuleChange, after: RuleChange) -> str:
    was, will_be = before.setting.status, after.setting.status
    changed = [f"from {was} to {will_be}"] if was != will_be else []
    changed += [
        f"{name} {before.written.get(name, 'unset')} becomes {value}"
        for name, value in after.written.items()
        if before.written.get(name) != value
    ]
    return f"rule {after.setting.code}: {', '.join(changed) or 'its parameters'}"
