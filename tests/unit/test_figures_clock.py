"""The figures go by one clock, so that pictures of pages can be made as of a moment."""

import re

from tests.service import ROOT

CLOCK = "figures_clock.py"


def test_there_is_no_other_clock() -> None:
    """What counts or reads figures asks for the time there, and not Python's clock or PostgreSQL's."""
    found: dict[str, list[str]] = {}
    files = [*(ROOT / "database").glob("figures*.py"), *(ROOT / "work").glob("figures*.py")]
    for path in files:
        clocks = re.findall(r"clock_timestamp|func\.now|current_timestamp|datetime\.now|time\.time", path.read_text())
        if clocks and path.name != CLOCK:
            found[path.name] = clocks
    assert found == {}
    assert len(files) > 5
