"""The bounds of docs/operations.md: what each one is in the code, and the test that goes beyond it.

A new bound takes a row in the table there and a line in BOUNDS, under the same name. A new cache, queue, thread or
process in the code takes a line in KEEPERS, which says what bounds it.
"""

import sys
from typing import Any, NamedTuple

from pydantic import TypeAdapter

import app
from commands import replay, replay_file, serve
from config_loader import Settings
from database import backtests, embedded, history, session
from routes import events, rules, users
from routes.http import bodies, problems
from routes.schemas import fields
from routes.schemas.events import MAX_EVENTS
from routes.schemas.rules import Note
from rules import json_text, model, rule_settings, values, versions
from rules.hindsight import all_users, backtest, question, run, verify
from rules.model import Value
from rules.parameters import Parameter, Unit
from rules.registry import REGISTRY


class Bound(NamedTuple):
    """The value as the table has it, and a test below tests/ that goes beyond it and sees what the caller gets."""

    value: str
    test: str


def setting(name: str) -> float:
    """The default of a setting."""
    default = Settings.model_fields[name.lower()].default
    assert isinstance(default, int | float)
    return default


def count(number: float | Value) -> str:
    """A number with thousands separated."""
    return f"{number:,}"


def size(number: int) -> str:
    """A number of bytes."""
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"


def seconds(number: float) -> str:
    """A length of time."""
    return f"{number:g} s"


def most(unit: Unit) -> str:
    """The range of the parameters of all rules that have this unit."""
    declared: list[Parameter] = [one for rule in REGISTRY.values() for one in rule.declared if one.unit == unit]
    return f"{count(min(one.least for one in declared))} to {count(max(one.most for one in declared))}"


def longest(text: Any) -> str:
    """The most characters of a text (or null), by its declaration."""
    schema = TypeAdapter(text).json_schema()
    (found,) = (one["maxLength"] for one in (schema, *schema.get("anyOf", ())) if "maxLength" in one)
    return f"{found:,} characters"


DB_TIMEOUT = setting("DB_TIMEOUT")
_ANY_CASE = "contract/test_event.py::test_the_refused_values_of_a_field"

_MANY = size(events.MAX_EVENTS_BODY)
_RECURSION = f"{count(sys.getrecursionlimit())} levels"
_PAGE = fields.Page.model_json_schema()["properties"]["limit"]["maximum"]
_KNOWN = "what routes, statuses, methods and rules there are"

BOUNDS: dict[str, Bound] = {
    # Requests
    "body": Bound(size(bodies.MAX_BODY), "contract/test_errors.py::test_a_body_over_the_limit"),
    "body of `POST /events`": Bound(_MANY, "contract/test_many_events.py::test_the_largest_body"),
    "body of `POST /events` of unknown length": Bound(
        _MANY, "contract/test_many_events.py::test_chunks_over_the_limit"
    ),
    "what gzip unpacks to": Bound(_MANY, "contract/test_many_events.py::test_a_zip_bomb"),
    "events of `POST /events`": Bound(count(MAX_EVENTS), "contract/test_many_events.py::test_too_many_events"),
    "nesting of JSON": Bound(
        f"{count(sys.getrecursionlimit())} levels", "contract/test_errors.py::test_malformed_json"
    ),
    "actions of a user": Bound("2^62", "integration/test_full_users.py::test_the_last_action_there_can_be"),
    "net deposits of a user": Bound("10^35", "integration/test_full_users.py::test_a_full_user_is_refused_by_name"),
    "digits of a JSON number that is read": Bound(f"{json_text._LONGEST_INT}", _ANY_CASE),
    "`amount`": Bound("12 digits and 2 decimals", _ANY_CASE),
    "`user_id`, `time`": Bound("2^63-1" if values.MAX_ID == values.LAST_TIME == 2**63 - 1 else "", _ANY_CASE),
    "`event_id`": Bound(values.EVENT_ID.rpartition(",")[2].rstrip("}") + " characters", _ANY_CASE),
    "`X-Request-ID`": Bound("128 characters", "contract/test_errors.py::test_a_bad_request_id_is_replaced"),
    "name, author": Bound(longest(fields.Name), "contract/test_users.py::test_a_refused_field"),
    "note": Bound(longest(Note), "contract/test_rules.py::test_a_refused_field"),
    "`limit` of a list": Bound(
        count(_PAGE),
        "contract/test_alerts.py::test_a_bad_filter",
    ),
    "`cursor`": Bound("19 digits for each number", "contract/test_users.py::test_a_bad_query"),
    "overrides of a user": Bound("one value for each parameter", "contract/test_users.py::test_a_refused_change"),
    "parameter: actions": Bound(most("actions"), "contract/test_rules.py::test_a_refused_value"),
    "parameter: seconds": Bound(most("seconds"), "contract/test_rules.py::test_a_refused_value"),
    "parameter: money": Bound(most("money"), "contract/test_rules.py::test_a_refused_value"),
    "parameter: factor": Bound(most("factor"), "contract/test_rules.py::test_a_refused_value"),
    # Answers and what is stored
    "actions that an alert lists": Bound(
        count(model.LISTED_ACTIONS), "unit/test_model.py::test_at_most_a_hundred_are_listed"
    ),
    "actions of a window that are read": Bound(
        f"{model.LISTED_ACTIONS} and the oldest, of each type",
        "integration/test_crowds.py::test_what_is_read_does_not_grow_with_a_crowd",
    ),
    "alerts that a rule's figures look at": Bound(
        count(rules.COUNTED), "contract/test_rules.py::test_figures_are_bounded"
    ),
    "values of a label of the metrics": Bound(
        "what routes, statuses, methods and rules there are",
        "contract/test_metrics.py::test_callers_cannot_make_labels",
    ),
    "ids tried for a new user": Bound(count(users.ID_ATTEMPTS), "integration/test_bounds.py::test_no_free_id"),
    # Processes, threads and connections
    "worker processes": Bound(count(setting("WORKERS")), "unit/test_config_loader.py::test_bad_value_is_named"),
    "requests in Flask at once, per process": Bound(
        count(setting("THREADS")), "integration/test_serving.py::test_post_event_does_not_wait_for_threads"
    ),
    "database connections per process": Bound(
        count(app.CONNECTIONS), "integration/test_session.py::test_pool_timeout_is_away"
    ),
    # Queues and batches
    "events waiting for a batch, per process": Bound(
        count(setting("GROUP_COMMIT_QUEUE")), "contract/test_queue.py::test_the_server_refuses_what_finds_the_line_full"
    ),
    "single events of a transaction": Bound(
        count(setting("GROUP_COMMIT_MAX")),
        "unit/test_group_commit.py::test_a_line_longer_than_the_maximum_is_several_batches",
    ),
    "events judged alone at once, per process": Bound(
        count(setting("THREADS")), "unit/test_group_commit.py::test_each_alone_has_the_same_bound"
    ),
    # Times
    "wait for a connection": Bound(seconds(DB_TIMEOUT), "integration/test_session.py::test_pool_timeout_is_away"),
    "wait for a lock": Bound(seconds(DB_TIMEOUT), "contract/test_errors.py::test_a_lock_that_is_held_too_long"),
    "a statement": Bound(seconds(DB_TIMEOUT), "integration/test_session.py::test_statement_timeout_is_away"),
    "a silence within a transaction": Bound(
        seconds(2 * DB_TIMEOUT), "integration/test_bounds.py::test_a_transaction_that_stalls_is_ended"
    ),
    "no answer of the database at all": Bound(
        seconds(4 * DB_TIMEOUT), "integration/test_watchdog.py::test_a_database_that_hangs_is_a_503_and_heals"
    ),
    "connecting to the database": Bound(
        seconds(max(2, DB_TIMEOUT)), "integration/test_session.py::test_unreachable_server_is_away"
    ),
    "attempts at a transaction that PostgreSQL undid": Bound(
        count(session.ATTEMPTS), "integration/test_session.py::test_gives_up"
    ),
    "a rule change's wait for its turn": Bound(
        seconds(rule_settings.PATIENCE),
        "contract/test_rules.py::test_a_change_that_cannot_wait",
    ),
    "`Retry-After`": Bound(seconds(problems.RETRY_AFTER), "contract/test_errors.py::test_a_closed_port"),
    "stopping": Bound(
        seconds(serve.STOP_SECONDS), "integration/test_bounds.py::test_a_request_that_does_not_end_is_left_behind"
    ),
    # Caches
    "reaches of late events that are remembered": Bound(
        count(versions._REMEMBERED), "unit/test_versions.py::test_what_is_kept_is_bounded"
    ),
    "rule sets that are remembered": Bound(
        count(versions._REMEMBERED), "unit/test_bounds.py::test_rule_sets_beyond_the_cache"
    ),
    "rule versions in force that are remembered": Bound(
        count(versions._REMEMBERED), "unit/test_versions.py::test_what_is_kept_is_bounded"
    ),
    "rule sets that a backtest remembers": Bound(
        count(backtest.REMEMBERED), "unit/test_bounds.py::test_rule_sets_of_a_backtest_beyond_the_cache"
    ),
    # All of history
    "backtests and verifications at once": Bound("1", "contract/test_backtests.py::test_one_runs_at_a_time"),
    "values of a sweep": Bound(count(question.MOST_STEPS), "unit/test_question.py::test_a_sweep_has_an_end"),
    "actions of one part": Bound(
        count(all_users.PART), "integration/test_bounds.py::test_a_user_larger_than_a_part_is_a_part"
    ),
    "rows that `verify` has read ahead": Bound(
        count(history._AT_ONCE), "integration/test_hindsight.py::test_verify_reads_as_it_goes"
    ),
    "actions of a user that `verify` holds": Bound(
        f"{count(verify._TO_FORGET)}, and what rules look back at",
        "integration/test_hindsight.py::test_what_verify_holds_does_not_grow_with_a_users_actions",
    ),
    "a backtest's silence": Bound(
        seconds(backtests.SILENT_SECONDS), "contract/test_backtests.py::test_a_run_that_is_killed"
    ),
    "a backtest's wait for another one to end": Bound(
        seconds(run.PATIENCE), "integration/test_hindsight_commands.py::test_one_reads_all_of_history_at_a_time"
    ),
    "alerts that a backtest shows": Bound(
        f"{backtest.SAMPLES} added and {backtest.SAMPLES} removed", "unit/test_bounds.py::test_samples_of_a_backtest"
    ),
    "differences that `verify` lists": Bound(
        count(verify.LISTED), "unit/test_bounds.py::test_differences_beyond_those_listed"
    ),
    # Commands and the start
    "events of a transaction of `replay`": Bound("1,000", "integration/test_replay.py::test_bad_options_are_errors"),
    "line of a replayed file": Bound(
        size(replay_file.LONGEST_LINE), "integration/test_replay.py::test_bad_lines_are_listed_and_the_rest_is_stored"
    ),
    "`replay`'s wait for the database": Bound(
        f"{len(replay.WAITS)} times, {seconds(sum(replay.WAITS))} in all",
        "integration/test_bounds.py::test_replay_gives_up",
    ),
    "a migration's wait for a lock": Bound(
        "4 s", "integration/test_migrations.py::test_what_a_migration_sets_for_itself_ends_with_it"
    ),
    "a migration's statement": Bound(
        "10 min", "integration/test_migrations.py::test_what_a_migration_sets_for_itself_ends_with_it"
    ),
    "wait for another runner of migrations": Bound(
        "60 s",
        "integration/test_migrations.py::test_a_runner_that_hangs_is_given_up_and_one_that_is_killed_is_followed",
    ),
    "start of the embedded PostgreSQL": Bound(
        seconds(embedded.START),
        "integration/test_bounds.py::test_an_embedded_server_out_of_time",
    ),
    "stop of the embedded PostgreSQL": Bound(
        seconds(embedded.STOP),
        "integration/test_bounds.py::test_an_embedded_server_out_of_time",
    ),
}

# What holds things or runs beside the caller, by file and kind: the bound that it comes under, or why it has none.
KEEPERS: dict[str, str] = {
    "commands/serve.py Thread": "one for each worker, which watches its parent",
    "database/embedded.py Popen": "one PostgreSQL",
    "database/migrations.py cache": "one value",
    "database/watchdog.py Thread": "one for each engine",
    "metrics.py cache": "values of a label of the metrics",
    "routes/flask_threads.py WSGIMiddleware": "requests in Flask at once, per process",
    "rules/hindsight/all_users.py ProcessPoolExecutor": "one process less than there are cores, at least one",
    "rules/hindsight/all_users.py Thread": "one for each of those processes, which watches its parent",
    "rules/hindsight/run.py Thread": "two for each backtest",
    "rules/hindsight/start.py Popen": "backtests and verifications at once",
    "rules/hindsight/start.py Thread": "backtests and verifications at once",
    "rules/judging/group_commit.py ThreadPoolExecutor": "events judged alone at once, per process",
    "rules/judging/group_commit.py deque": "events waiting for a batch, per process",
    "rules/judging/group_commit.py SimpleQueue": "one order at a time: the next is given when the one before has ended",
    "rules/judging/group_commit.py Thread": "one leader",
}
