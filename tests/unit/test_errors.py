"""What is shown of the errors of a database."""

from database.errors import MOST_SHOWN, cause


def test_only_the_first_line_of_a_cause_is_shown() -> None:
    """The lines after it can contain a statement and its values; a long one is cut off."""
    assert cause(Exception("relation does not exist\nLINE 1: 98765.43")) == "relation does not exist"
    assert cause(ConnectionError()) == "ConnectionError"
    assert cause(Exception("x" * 10_000)) == "x" * MOST_SHOWN
