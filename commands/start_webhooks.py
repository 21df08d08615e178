"""The secrets of webhooks as the service starts: stored anew with the SECRET_KEY in force."""

import sys
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from database import migrations
from rules.service import Service
from work.webhook_secrets import WebhookSecrets
from work.webhooks import renew_secrets


def enter(service: Service, secret_key: str | None, fallbacks: Sequence[str]) -> None:
    """Store secrets that an earlier SECRET_KEY encrypted with the present one, so that the earlier one can be dropped.

    Says which webhooks have a secret that none of them reads. Raises MigrationError if nothing can be stored.
    """
    secrets = WebhookSecrets(secret_key, fallbacks)
    try:
        for webhook_id in service.run(lambda session: renew_secrets(session, secrets)):
            print(
                f"Warning: the secret of webhook {webhook_id} was stored with another SECRET_KEY, so nothing can be "
                "sent to it: set that one again, name it in SECRET_KEY_FALLBACKS, or rotate the secret.",
                file=sys.stderr,
                flush=True,
            )
    except SQLAlchemyError as error:
        raise migrations.MigrationError(
            f"The secrets of webhooks cannot be stored: {getattr(error, 'orig', None) or error}"
        ) from None
    finally:
        service.dispose()  # a worker must not share its connections
