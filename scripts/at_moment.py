"""Run a module as a program in which figures are counted and read as of a moment: for the pictures of pages.

`python -m scripts.at_moment 2026-01-31T12:00:00Z flask --app app demo`
"""

import runpy
import sys
from datetime import datetime

from sqlalchemy import literal

from database import figures_clock


def main() -> None:
    """Run the module that is named after the moment, with the arguments that follow it."""
    moment = literal(datetime.fromisoformat(sys.argv[1]))
    # Before statements are made of them, which happens when the program is loaded.
    figures_clock.now = figures_clock.began = lambda: moment
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
