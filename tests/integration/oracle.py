"""What the service must answer, by brute force from the contract's text: plain loops over the whole history.

It shares no code with `rules/`. Money is whole cents.
"""

from dataclasses import dataclass, field
from typing import Literal

ANSWER_ORDER = (1100, 30, 300, 123, 500)

LARGE_WITHDRAWAL = {"low": 200_00, "normal": 100_00, "high": 50_00}
DEPOSITS_IN_30_S = {"low": 400_00, "normal": 200_00, "high": 100_00}
ACTIONS_IN_60_S = 5


@dataclass(frozen=True)
class Posted:
    """An event as it is posted."""

    user: int
    type: Literal["deposit", "withdraw"]
    cents: int
    time: int
    key: str | None = None


@dataclass
class Account:
    """A user as the oracle knows it: every event that was stored, in order of arrival, and what it answered."""

    risk: str = "normal"
    opening: int = 0
    stored: list[Posted] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)

    def standing(self, active: frozenset[int]) -> list[tuple[int, int]]:
        """(seq, code) of every alert that holds on the whole history, judged in the order of time."""
        found = []
        for seq, event in enumerate(self.stored, start=1):
            before = [e for s, e in enumerate(self.stored, start=1) if (e.time, s) < (event.time, seq)]
            found += [(seq, code) for code in codes(before, event, self.risk) if code in active]
        return found

    @property
    def balance(self) -> int:
        return self.opening + sum(e.cents if e.type == "deposit" else -e.cents for e in self.stored)


@dataclass
class Oracle:
    """Answers events one by one; `accounts` is all that has been stored."""

    active: frozenset[int] = frozenset(ANSWER_ORDER)
    reject_overdraft: bool = False
    reject_out_of_order: bool = False
    reject_unknown: bool = False
    accounts: dict[int, Account] = field(default_factory=dict)

    def post(self, event: Posted) -> list[int] | str:
        """The codes of the answer, or why the event is refused (then nothing is stored)."""
        if event.user not in self.accounts and self.reject_unknown:
            return "unknown_user"
        account = self.accounts.get(event.user, Account())
        if event.key is not None:
            for number, earlier in enumerate(account.stored):
                if earlier.key == event.key:
                    return account.answers[number] if earlier == event else "event_id_conflict"
        if self.reject_overdraft and event.type == "withdraw" and event.cents > account.balance:
            return "overdraft"
        if self.reject_out_of_order and any(earlier.time > event.time for earlier in account.stored):
            return "out_of_order"
        answer = [code for code in codes(account.stored, event, account.risk) if code in self.active]
        account.stored.append(event)
        account.answers.append(answer)
        self.accounts[event.user] = account
        return answer


def codes(stored: list[Posted], event: Posted, risk: str) -> list[int]:
    """The codes that `event` raises after `stored`, its user's events in order of arrival."""
    seen = []
    for time in sorted({e.time for e in stored if e.time <= event.time}):
        seen += [e for e in stored if e.time == time]
    seen.append(event)
    deposits = [e for e in seen if e.type == "deposit"]

    fired = set()
    if event.type == "withdraw":
        if event.cents > LARGE_WITHDRAWAL[risk]:
            fired.add(1100)
        if len(seen) >= 3 and seen[-1].type == seen[-2].type == seen[-3].type == "withdraw":
            fired.add(30)
    else:
        if len(deposits) >= 3 and deposits[-3].cents < deposits[-2].cents < deposits[-1].cents:
            fired.add(300)
        if sum(e.cents for e in deposits if e.time >= event.time - 30) > DEPOSITS_IN_30_S[risk]:
            fired.add(123)
    if sum(1 for e in seen if e.time >= event.time - 60) > ACTIONS_IN_60_S:
        fired.add(500)
    return [code for code in ANSWER_ORDER if code in fired]
