"""A SECRET_KEY for the embedded database: made once, and kept beside its files, where whoever can read it has all."""

import os
import secrets
from pathlib import Path

from database.embedded_access import EmbeddedError

_NAME = "secret_key"
_BYTES = 32


def kept_secret(data_dir: Path) -> str:
    """The secret of the embedded database below `data_dir`, which must be there; the first caller makes it.

    Raises EmbeddedError if it cannot be kept or read.
    """
    path = data_dir / _NAME
    try:
        if not path.exists():
            _make(path)
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EmbeddedError(f"The secret in {path} cannot be used: {error}.") from error


def _make(path: Path) -> None:
    # Under its name it is whole from the first moment: whoever comes second reads what the first has made.
    new = path.with_name(f"{path.name}.{os.getpid()}")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, f"{secrets.token_hex(_BYTES)}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()
