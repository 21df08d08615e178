"""What pages load besides themselves: files in `routes/static/desk`, each under an address that changes with it."""

import hashlib
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "static" / "desk"
PATH = "/desk/assets"


@lru_cache(256)
def asset_url(name: str) -> str:
    """The address of a file by its name, such as "desk.css". Raises OSError if there is no such file."""
    return f"{PATH}/{name}?v={hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]}"
