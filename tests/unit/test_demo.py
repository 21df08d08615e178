"""Demo data as it is made up: what there is to tune, and what people do with alerts, whatever day it ends on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from commands.demo_events import DAYS, make_arrivals, make_people
from commands.demo_work import WorkStep, is_at_work, plan
from database.demo import SeenAlert

END = datetime(2026, 1, 30, 12, tzinfo=UTC)  # a Friday


def test_there_is_a_rule_to_tune() -> None:
    """Some 40 withdrawals a day are over 100.00, and a budget of 10 a day is met by a value not far above."""
    end = int(END.timestamp())
    arrivals = make_arrivals(make_people(400, end), end)
    assert 40_000 <= len(arrivals) <= 80_000
    assert all(before.at <= after.at for before, after in pairwise(arrivals))

    def a_day(threshold: int) -> float:
        over = [one for one in arrivals if one.event.type == "withdraw" and one.event.amount > Decimal(threshold)]
        return len(over) / DAYS

    assert 35 <= a_day(100) <= 45
    assert a_day(175) > 10 > a_day(250)


@pytest.mark.parametrize("day", range(7))
def test_what_people_do_fits_their_days(day: int) -> None:
    """They work in office hours after the alert came, some put alerts off, and what is closed has an outcome."""
    end = END + timedelta(days=day)
    steps: list[WorkStep] = []
    for n in range(1, 2_000):
        created = end - timedelta(hours=n / 2)
        alert = SeenAlert(7, n, 1100, False, False, False, "120.00", created, created)
        planned = plan(alert, "saver", end)
        moments = [step.at for step in planned]
        assert moments == sorted(moments)
        assert all(created < moment < end for moment in moments)
        steps += planned
    assert all(is_at_work(step.who, step.at) for step in steps if step.wanted)
    assert all("outcome" in step.wanted for step in steps if step.wanted.get("status") == "closed")
    assert any("snoozed_until" in step.wanted for step in steps)
    assert {step.wanted.get("outcome") for step in steps} == {"true_positive", "false_positive", "inconclusive", None}
