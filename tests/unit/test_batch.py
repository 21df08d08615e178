"""One user while a batch is judged: how actions arrive, and what is checked before they are stored."""

from decimal import Decimal

import pytest

from database.offsets import LateOffsets
from rules.base import RuleSetting
from rules.judging.batch import Batch, BatchUser
from rules.model import Action
from rules.registry import REGISTRY
from rules.versions import RuleSet
from tests.unit.rules.timeline import actions, events, numbered

RULES = RuleSet([RuleSetting.initial(REGISTRY[1100]), RuleSetting.initial(REGISTRY[30], "shadow")], risk="normal")


def batch_of(stored: str, arriving: str, *, more: int = 0) -> Batch:
    """A batch of one user with stored actions, counted up for the arriving ones and for `more`; all have arrived."""
    known = numbered(actions(stored)) if stored else []
    new = events(1, arriving) if arriving else []
    net = sum((one.amount if one.type == "deposit" else -one.amount for one in new), Decimal(0))
    user = BatchUser(
        user_id=1,
        rule_set=RULES,
        last_seq=len(known),
        balance=Decimal("7.00"),
        unused_actions=len(new) + more,
        unused_net=net + more * 5,
    )
    user.load(known)
    batch = Batch(rules_number=1, offsets=LateOffsets())
    batch.users[1] = user
    for event in new:
        action = user.accept(event)
        batch.stored.append((event, action, user.arrive(action, user.rule_set)))
    return batch


STORED = "d 1 @10, w 2 @20, d 3 @30"
IN_ORDER, LATE = "w 150 @40, w 1 @50, d 5 @50", "w 150 @40, d 5 @15, w 1 @5"


def test_arrival() -> None:
    """An action gets the next place in the order of arrival, is judged, and its alerts are noted, shadow ones too."""
    batch = batch_of("w 1 @10, w 1 @20", "w 150 @30, d 1 @15")
    user = batch.users[1]
    assert [(action.seq, codes) for _, action, codes in batch.stored] == [(3, (1100,)), (4, ())]
    assert {key: (state.stands, state.late, state.shadow) for key, state in user.alerts.items()} == {
        (3, 1100): (True, False, False),
        (3, 30): (True, False, True),
    }
    assert (user.first_new, user.last_seq, user.balance) == (3, 4, Decimal("-142.00"))
    assert [action.seq for action in user.late] == [4]
    assert {seq: user.rule_sets[seq] for seq in (3, 4)} == {3: RULES, 4: RULES}


@pytest.mark.parametrize("arriving", [IN_ORDER, LATE, ""], ids=["in order", "late", "nothing"])
@pytest.mark.parametrize("stored", [STORED, ""], ids=["known", "new"])
def test_a_sound_batch_passes(stored: str, arriving: str) -> None:
    """Whatever order events come in, what is to be stored follows from what was read."""
    batch_of(stored, arriving).check()


def test_what_is_given_back() -> None:
    """A user counted up for more than is stored passes once that is taken back."""
    batch = batch_of(STORED, IN_ORDER, more=2)
    with pytest.raises(AssertionError, match="counted up for actions that are not stored"):
        batch.check()
    assert batch.users[1].give_back() == (2, Decimal(10))
    batch.check()


@pytest.mark.parametrize("arriving", [IN_ORDER, LATE], ids=["in order", "late"])
@pytest.mark.parametrize(
    ("field", "more", "message"),
    [
        ("unused_net", Decimal("0.01"), "the balance counts what is not stored"),
        ("last_seq", 1, "running counts do not continue those read"),
        ("balance", Decimal("0.01"), "running sums do not continue"),
        ("first_new", 1, "running counts do not continue"),
    ],
)
def test_what_does_not_follow_is_found(field: str, more: int | Decimal, message: str, arriving: str) -> None:
    """A count, a sum or a place that does not continue what was read is not stored."""
    batch = batch_of(STORED, arriving)
    user = batch.users[1]
    setattr(user, field, getattr(user, field) + more)
    with pytest.raises(AssertionError, match=message):
        batch.check()


def test_an_action_beside_the_batch_is_found() -> None:
    """An action in the timeline that is not among those stored shows in the running counts, and the other way round."""
    batch = batch_of(STORED, IN_ORDER)
    batch.users[1].place(Action(7, "deposit", Decimal(1), 60), RULES)
    with pytest.raises(AssertionError, match="running counts do not continue"):
        batch.check()
    batch = batch_of(STORED, IN_ORDER)
    batch.stored.pop()
    with pytest.raises(AssertionError, match="other actions are stored"):
        batch.check()
