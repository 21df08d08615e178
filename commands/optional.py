"""What only some commands need, and what they say where it is not there."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from commands.endings import Stopped

_INSTALL = "make spark (or: .venv/bin/pip install --no-deps --require-hashes --requirement requirements-spark.txt)"
JAVA = 17  # the oldest that Spark runs on


def check_packages(*names: str) -> None:
    """Raise Stopped if one of these packages, which are installed only by those who want them, is not there."""
    if missing := [name for name in names if find_spec(name) is None]:
        raise Stopped(f"Not installed, and needed for this: {', '.join(missing)}. Install: {_INSTALL}")


def check_java() -> None:
    """Raise Stopped if Spark would find no Java, or one that is too old."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin/java")) if home else shutil.which("java")
    where = f"JAVA_HOME is {home}" if home else "There is no java"
    if program is None or not Path(program).exists():
        raise Stopped(
            f"{where}, and Spark needs Java {JAVA} or newer (Debian: apt-get install openjdk-17-jre-headless)."
        )
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    if found is None or int(found[1]) < JAVA:
        version = found[1] if found else "one that does not say which"
        raise Stopped(f"{program} is Java {version}, and Spark needs {JAVA} or newer; JAVA_HOME names another.")
