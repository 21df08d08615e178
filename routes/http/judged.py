"""Judging what was sent through Flask, and the answers: what `POST /event` and `POST /events` do, for pages too."""

from collections.abc import Iterable, Sequence
from typing import Any

from routes.http.answers import Answer, json_bytes
from routes.http.decisions import answer_with, dry_run_answer, problem_of, written_decision
from routes.http.hooks import service
from routes.http.problems import Problem, refused
from rules.model import Event, Outcome, Refusal, Verdict
from rules.payload import BadPayload, event_of

WITH_OTHERS = Problem(424, "It was not stored because other events are bad.")


def event_answer(event: Event, *, is_dry: bool) -> Answer:
    """Store and judge an event, or only judge it, and return the answer. Raises Problem if it is refused."""
    if is_dry:
        return dry_run_answer(service().dry_run(event), service().policy.time_is_epoch)
    return answer_with(service().judge(event))


def events_answer(items: Iterable[Any], *, atomic: bool) -> Answer:
    """Store and judge the events that parsed JSON values describe, together, and return the answer.

    In place of a value may be the event itself or its Problem. Raises Problem 400 if they are `atomic` and one is bad:
    none is stored then.
    """
    results = _results([_event(item) for item in items], atomic)
    rejected = sum(isinstance(result, Problem) for result in results)
    counts: dict[str, Any] = {"accepted": len(results) - rejected, "rejected": rejected}
    if atomic and rejected:
        problems = [
            {"index": index, "problem": result.document()}
            for index, result in enumerate(results)
            if isinstance(result, Problem)  # all of them
        ]
        raise Problem(400, "Nothing was stored: some of the events are bad.", more=counts | {"results": problems})
    # Written by hand, since there may be thousands that differ in little.
    written = b",".join([_written(index, result) for index, result in enumerate(results)])
    content = b'%b,"results":[%b]}\n' % (_json(counts)[:-1], written)
    return Answer(200, {"Content-Type": "application/json"}, content)


def _event(item: Any) -> Event | Problem:
    if isinstance(item, Event | Problem):  # a plain event; a line that is not JSON
        return item
    try:
        return event_of(item)
    except BadPayload as bad:
        return refused(bad)


def _results(items: Sequence[Event | Problem], atomic: bool) -> Sequence[Verdict | Problem]:
    events = [item for item in items if isinstance(item, Event)]
    if atomic and len(events) < len(items):
        return _all_refused(items)  # the others are not judged: events around them are missing
    outcomes = iter(service().judge_many(events, atomic=atomic) if events else [])
    results = [_result(next(outcomes)) if isinstance(item, Event) else item for item in items]
    is_bad = any(isinstance(result, Problem) for result in results)
    return _all_refused(results) if atomic and is_bad else results


def _all_refused(results: Sequence[Event | Verdict | Problem]) -> Sequence[Problem]:
    return [result if isinstance(result, Problem) else WITH_OTHERS for result in results]


def _result(outcome: Outcome) -> Verdict | Problem:
    return problem_of(outcome) if isinstance(outcome, Refusal) else outcome


def _written(index: int, result: Verdict | Problem) -> bytes:
    if isinstance(result, Problem):
        return _json({"index": index, "problem": result.document()})
    replayed = b',"replayed":true' if result.replayed else b""
    return b'{"index":%d,%b%b}' % (index, written_decision(result), replayed)


def _json(data: dict[str, Any]) -> bytes:
    return json_bytes(data)[:-1]  # without the newline
