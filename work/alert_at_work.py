"""One alert while it is worked: what it was read as, what becomes of it, and what is to be stored."""

from datetime import datetime

from database.alert_work import NewAlertChange, WorkedAlert, WorkedEvent, WorkRow
from database.records import AlertKey
from work.change import LAPSED, SERVICE, HistoryLine, Wanted, WorkState, changed, lines


class AlertAtWork:
    """An alert that was read at a moment. If its claim has lapsed by then, that is its first change."""

    def __init__(self, row: WorkRow, at: datetime) -> None:
        self.key = AlertKey(user_id=row.user_id, seq=row.seq, code=row.code)
        self.state = WorkState(row.status, row.outcome, row.assignee, row.snoozed_until)
        self.history: list[HistoryLine] = []
        self._seen_version: int = row.work_version
        self._claim_lapses_at: datetime | None = row.claim_lapses_at
        if row.claim_lapses_at is not None and row.claim_lapses_at <= at:
            self.change({"assignee": None}, who=SERVICE, note=LAPSED)

    @property
    def version(self) -> int:
        """The number of its newest line of history."""
        return self._seen_version + len(self.history)

    def change(self, wanted: Wanted, *, who: str, note: str | None, lapses_at: datetime | None = None) -> bool:
        """Make a change without faults; a claim if it is to lapse, while any other makes a claim firm.

        Returns whether anything has changed, or was noted.
        """
        after = changed(self.state, wanted)
        new = lines(self.version, self.state, after, who=who, note=note)
        if new:
            self.state, self._claim_lapses_at = after, lapses_at
            self.history += new
        return bool(new)

    def stored(self) -> WorkedAlert:
        """It as it is to be stored."""
        return WorkedAlert(
            **self.key._asdict(),
            **self.state._asdict(),
            seen_version=self._seen_version,
            claim_lapses_at=self._claim_lapses_at,
            work_version=self.version,
        )

    def lines(self) -> list[NewAlertChange]:
        """The new lines of its history."""
        return [NewAlertChange(**self.key._asdict(), **line._asdict()) for line in self.history]

    def event(self) -> WorkedEvent:
        """What webhooks are told of its new lines: which fields they are about and what these are now, but no note."""
        change = {
            **self.state._asdict(),
            "fields": list(dict.fromkeys(line.what for line in self.history)),
            "who": self.history[-1].who,
        }
        return WorkedEvent(**self.key._asdict(), work_version=self.version, change=change)
