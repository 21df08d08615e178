"""The SECRET_KEY that is kept beside the embedded database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config_loader import load_settings
from database.embedded_access import EmbeddedError
from database.embedded_secret import kept_secret


def test_it_is_made_once(tmp_path: Path) -> None:
    """Later starts read what the first one made; nobody else may read it, and nothing else is left."""
    made = kept_secret(tmp_path)
    assert len(made) == 64
    assert kept_secret(tmp_path) == made
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_two_that_start_at_once_have_one_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second with one of its own reads what the first has made."""
    monkeypatch.setattr("database.embedded_secret.os.getpid", iter(range(100)).__next__)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(kept_secret, [tmp_path] * 8))) == 1


def test_a_secret_that_cannot_be_kept(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(EmbeddedError, match="missing/secret_key"):
        kept_secret(tmp_path / "missing")


def test_the_setting_wins(tmp_path: Path) -> None:
    """A SECRET_KEY that is set stays; without one it is the kept secret, of which sessions have the same."""
    given = load_settings(None, secret_key="g" * 32)
    assert given.with_secret_key("k" * 64) is given
    kept = load_settings(None, data_dir=tmp_path).with_secret().with_secret_key("k" * 64)
    assert kept.secret_key is not None
    assert kept.secret_key.get_secret_value() == "k" * 64
    assert kept.session_secret == kept.secret_key
