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
