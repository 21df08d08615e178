"""Which settings a worker has."""

from pathlib import Path

import pytest

from commands import serve
from config_loader import load_settings


def test_a_worker_has_the_settings_of_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that replaces another later has the same, although `.env` is changed or cannot be read any more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OVERDRAFT=reject")
    assert serve.worker_settings().overdraft == "reject"
    monkeypatch.setattr(serve, "_in_force", load_settings())
    (tmp_path / ".env").write_text("OVERDRAFT='allow")
    assert serve.worker_settings().overdraft == "reject"


def test_a_worker_that_was_not_forked_has_the_servers_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In development mode, where the code is loaded again at each change, nobody is signed out by that.

    It is no SECRET_KEY: a later start does not have it, so nothing may be stored with it.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSACTION_ALERTS_SESSION_SECRET", "s" * 64)
    first, second = serve.worker_settings(), serve.worker_settings()
    assert first.session_secret == second.session_secret
    assert first.session_secret is not None
    assert first.session_secret.get_secret_value() == "s" * 64
    assert first.secret_key is None
