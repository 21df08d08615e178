"""How much of a machine a backtest and a verification take."""

import os
import subprocess
import sys

import pytest

from tests.service import ROOT

SHOWN = """
import os
from rules.hindsight.all_users import _step_back
before = os.nice(0)
_step_back()
print(os.nice(0) == min(before + 5, 19), os.sched_getscheduler(0) == os.SCHED_BATCH)
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="of Linux")
def test_a_low_share_rather_than_what_nobody_wants() -> None:
    """Their processes come after others, but get on beside them: while they run they hold a snapshot."""
    done = subprocess.run([sys.executable, "-c", SHOWN], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
