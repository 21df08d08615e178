"""The secrets of webhooks: made, stored encrypted, and read again with the same SECRET_KEY or a later one."""

import base64

import pytest

from work.webhook_secrets import LENGTH, PREFIX, NoSecretKey, SecretUnreadable, WebhookSecrets

OLD, NEW = "o" * 32, "n" * 32


def test_a_secret_is_random_and_has_the_specifications_form() -> None:
    """32 random bytes in base64 after the prefix; no two are the same."""
    first, second = (WebhookSecrets(NEW).new()[0] for _ in range(2))
    assert first != second
    assert first.startswith(PREFIX)
    assert len(first) == LENGTH
    assert len(base64.b64decode(first.removeprefix(PREFIX), validate=True)) == 32


def test_what_is_stored_does_not_show_the_secret() -> None:
    """It is read again by another process with the same key, and nothing of it stands in what is stored."""
    secret, stored = WebhookSecrets(NEW).new()
    assert WebhookSecrets(NEW).read(stored) == secret
    assert secret.removeprefix(PREFIX).encode() not in stored


def test_a_secret_outlives_a_change_of_the_key() -> None:
    """What was stored with the key before is read while that one is a fallback, and new ones need the new key."""
    secret, stored = WebhookSecrets(OLD).new()
    both = WebhookSecrets(NEW, [OLD])
    assert both.read(stored) == secret
    newer, newer_stored = both.new()
    assert WebhookSecrets(NEW).read(newer_stored) == newer


@pytest.mark.parametrize("secrets", [WebhookSecrets(NEW), WebhookSecrets(None), WebhookSecrets(NEW, ["x" * 32])])
def test_another_key_reads_nothing(secrets: WebhookSecrets) -> None:
    """The error says what to do, and not what was stored."""
    _, stored = WebhookSecrets(OLD).new()
    with pytest.raises(SecretUnreadable, match="SECRET_KEY_FALLBACKS"):
        secrets.read(stored)


def test_without_a_key_none_is_made() -> None:
    """A key that only was in force before stores nothing new."""
    for secrets in (WebhookSecrets(None), WebhookSecrets(None, [OLD])):
        with pytest.raises(NoSecretKey):
            secrets.new()


def test_a_secret_is_stored_anew() -> None:
    """With the present key, so that the one before can be dropped; what has that already stays."""
    secret, stored = WebhookSecrets(OLD).new()
    renewed = WebhookSecrets(NEW, [OLD]).renewed(stored)
    assert renewed is not None
    assert WebhookSecrets(NEW).read(renewed) == secret
    assert WebhookSecrets(NEW, [OLD]).renewed(renewed) is None
    assert WebhookSecrets(None, [OLD]).renewed(stored) is None
    with pytest.raises(SecretUnreadable):
        WebhookSecrets(NEW).renewed(stored)
