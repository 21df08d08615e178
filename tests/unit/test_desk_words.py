"""How values are written on the desk's pages."""

import pytest

from routes.desk.words import unbroken


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("Deposits over 200.00 in 30 s", "30 s"),
        ("3 deposits just under 10,000.00 in 7 days", "7 days"),
        ("Withdrawals of 90 % of the deposits", "90 %"),
        ("A deposit at 2026-11-20 11:01:32 UTC is", "2026-11-20 11:01:32 UTC"),
    ],
)
def test_a_line_is_not_broken_within_a_number_with_its_unit_or_a_date(text: str, whole: str) -> None:
    """Each stays on one line."""
    assert unbroken(text) == text.replace(whole, f'<span class="nowrap">{whole}</span>')


def test_texts_stay_texts() -> None:
    """What a text has in common with HTML is written as text, also next to what is kept together."""
    assert unbroken("<b>30 s") == '&lt;b&gt;<span class="nowrap">30 s</span>'
