"""The bounds of docs/operations.md: what each one is in the code, and the test that goes beyond it.

A new bound takes a row in the table there and a line in BOUNDS, under the same name. A new cache, queue, thread or
process in the code takes a line in KEEPERS, which says what bounds it.
"""

import sys
from typing import Any, NamedTuple

from pydantic import TypeAdapter

import app
import log_output
import metrics
import traces
from access import bad_keys, key_changes, key_terms, keyring, keys_file, limits, rates
from commands import (
    connections,
    erasures,
    replay,
    replay_file,
    replay_order,
    replay_tally,
    serve,
    slow_readers,
    workers,
)
from config_loader import Settings
from database import (
    alert_counts,
    alert_evidence,
    alert_lists,
    backtests,
    delivery_lists,
    embedded,
    embedded_supervisor,
    engines,
    errors,
    figures,
    figures_progress,
    figures_step,
    history,
    inbox,
    late_counts,
    readiness,
    rule_versions,
    session,
    user_lists,
    user_sets,
    webhook_figures,
    webhook_hold,
)
from database import pruning as stored_pruning
from routes import events, flask_reads, flask_streams, flask_threads, metrics_port, people, rules, users
from routes.desk import alert_bulk, alert_proof, evidence_chart, pulse, send, user_timeline
from routes.desk import forms as desk_forms
from routes.desk import inbox as desk_inbox
from routes.http import bodies, csv_answer, heads, intake, origins, person_file, problems
from routes.http.sessions import LIFETIME
from routes.schemas import fields
from routes.schemas.alert_work import Assignee, WorkNote
from routes.schemas.events import MAX_EVENTS
from routes.schemas.keys import MOST_SCOPES
from routes.schemas.rules import Note
from routes.schemas.views import ViewName
from routes.schemas.webhooks import Url
from routes.sessions import MAX_FORM
from rules import json_text, model, payload, rule_settings, service, values, versions
from rules.hindsight import (
    backtest,
    backtester,
    question,
    run,
    verify,
    verify_report,
    verify_user,
    verify_work,
)
from rules.judging import ahead, batches, group_commit, kept, stays
from rules.model import Value
from rules.parameters import Parameter, Unit
from rules.registry import REGISTRY
from work import (
    bulk,
    erasure,
    erasure_job,
    figures_job,
    pruning,
    queue,
    tries,
    webhook_connections,
    webhook_deliverer,
    webhook_line,
    webhook_relay,
    webhook_schedule,
    webhook_sender,
    webhook_upkeep,
    webhooks,
)
from work import views as saved_views
from work.alerts import HISTORY_SHOWN


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

_CROWDS = "integration/test_one_callers_trouble.py"
_MANY = size(events.MAX_EVENTS_BODY)
_RECURSION = f"{count(sys.getrecursionlimit())} levels"
_PAGE = fields.Page.model_json_schema()["properties"]["limit"]["maximum"]
_KNOWN = "what routes, statuses, methods, rules and webhooks there are"

_DOOR = "integration/test_door.py"
_HEAD = f"{_DOOR}::test_bounds_of_the_head"

_SENDER = "unit/test_webhook_sender.py"
_SCHEDULE, _DELIVERER = "unit/test_webhook_schedule.py", "integration/test_webhook_deliverer.py"

BOUNDS: dict[str, Bound] = {
    # Requests
    "body": Bound(size(bodies.MAX_BODY), "contract/test_errors.py::test_a_body_over_the_limit"),
    "body of `POST /events`": Bound(_MANY, "contract/test_many_events.py::test_the_largest_body"),
    "body of `POST /events` of unknown length": Bound(
        _MANY, "contract/test_many_events.py::test_chunks_over_the_limit"
    ),
    "what gzip unpacks to": Bound(_MANY, "contract/test_many_events.py::test_a_zip_bomb"),
    "how far gzip unpacks": Bound(
        f"{size(bodies.FREE)} and {bodies.RATIO} times the packed size",
        "contract/test_hostile_bodies.py::test_a_costly_body",
    ),
    "gzip members of a body": Bound(count(bodies.MEMBERS), "contract/test_hostile_bodies.py::test_a_costly_body"),
    "one event of `POST /events`": Bound(
        size(bodies.MAX_BODY), "contract/test_hostile_bodies.py::test_a_long_line_is_its_own_problem"
    ),
    "blank lines of `POST /events`": Bound(count(MAX_EVENTS), "contract/test_hostile_bodies.py::test_a_costly_body"),
    "faults that an answer names": Bound(
        count(payload.MOST_FAULTS), "contract/test_hostile_bodies.py::test_thousands_of_faults"
    ),
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
    "URL": Bound(size(heads.MAX_URL), _HEAD),
    "headers of a request": Bound(count(heads.MAX_HEADERS), _HEAD),
    "bytes of all headers": Bound(size(heads.MAX_HEAD), _HEAD),
    "life of a session": Bound(f"{LIFETIME // 3600} h", "contract/test_sessions.py::test_a_session_ends_by_itself"),
    "form of `/sign-in`": Bound(f"{MAX_FORM // 1024} KiB", "contract/test_sessions.py::test_odd_forms"),
    "name, author": Bound(longest(fields.Name), "contract/test_users.py::test_a_refused_field"),
    "note": Bound(longest(Note), "contract/test_rules.py::test_a_refused_field"),
    "note about an alert": Bound(longest(WorkNote), "contract/test_alert_work.py::test_a_change_that_does_not_fit"),
    "assignee": Bound(longest(Assignee), "contract/test_alert_work.py::test_a_change_that_does_not_fit"),
    "alerts of `POST /alerts/bulk`": Bound(
        count(bulk.MOST), "contract/test_alert_bulk.py::test_a_bad_request_changes_nothing"
    ),
    "wait of `POST /alerts/bulk` for one alert": Bound(
        seconds(bulk.LOCK_WAIT), "integration/test_work_races.py::test_an_alert_that_is_held"
    ),
    "tries of `POST /alerts/bulk` and `POST /alerts/next`": Bound(
        seconds(tries.PATIENCE), "integration/test_work_races.py::test_an_alert_that_is_held"
    ),
    "alerts that `POST /alerts/next` tries before it looks again": Bound(
        count(queue.CANDIDATES), "contract/test_alert_bulk.py::test_more_lapsed_claims_than_are_settled_at_once"
    ),
    "a claim that is not worked": Bound(
        f"{queue.CLAIM.seconds // 60} min", "contract/test_alert_bulk.py::test_a_claim_lapses"
    ),
    "lines of history that come with an alert": Bound(
        count(HISTORY_SHOWN), "contract/test_alert_work.py::test_a_long_history"
    ),
    "name of a view": Bound(longest(ViewName), "contract/test_views.py::test_a_refused_field"),
    "webhooks": Bound(count(webhooks.MOST), "contract/test_webhooks.py::test_no_more_than_there_may_be"),
    "`url` of a webhook": Bound(longest(Url), "contract/test_webhooks.py::test_bad_fields_are_named"),
    "lists of events, codes and ratings of a webhook": Bound(
        "each once", "contract/test_webhooks.py::test_bad_fields_are_named"
    ),
    "overlap of two secrets of a webhook": Bound(
        f"{webhooks.LONGEST_OVERLAP.days} days", "contract/test_webhooks.py::test_rotate"
    ),
    "deliveries that one call sends again": Bound(
        f"{webhooks.MOST_RESENT:,}, in transactions of {delivery_lists.STRETCH:,}",
        "contract/test_webhooks.py::test_resend_since",
    ),
    "deliveries that are looked at for a page of one status": Bound(
        count(delivery_lists.LOOKED_AT), "contract/test_webhooks.py::test_deliveries"
    ),
    "deliveries that wait, as counted": Bound(
        count(delivery_lists.COUNTED), "contract/test_webhooks.py::test_how_many_wait"
    ),
    "attempts that are shown of a delivery": Bound(
        count(delivery_lists.ATTEMPTS), "contract/test_webhooks.py::test_deliveries"
    ),
    "views of one person": Bound(count(saved_views.MOST), "contract/test_views.py::test_too_many_views"),
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
    "alerts that a page of `GET /alerts` looks at": Bound(
        count(alert_lists.LOOKED_AT), "integration/test_queries.py::test_every_filter_finds_all"
    ),
    "statements on alerts that are kept, by what they filter by": Bound(
        f"{alert_lists.KEPT} for lists, {alert_counts.KEPT} for each way to count, {inbox.KEPT} for the rest",
        "integration/test_alert_lists.py::test_lists_neighbours_and_counts",
    ),
    "alerts of a kind that `GET /alerts/counts` counts": Bound(
        count(alert_counts.COUNTED), "integration/test_alert_lists.py::test_counts_end"
    ),
    "touched alerts that a pulse of the inbox looks at, besides those shown": Bound(
        count(pulse.MOST_TOUCHED), "contract/test_desk_pulse.py::test_very_many_at_once"
    ),
    "alerts that a pulse of the inbox is asked about by name": Bound(
        count(pulse.MOST_SHOWN), "contract/test_desk_pulse.py::test_a_question_that_cannot_be"
    ),
    "form of a page of the desk": Bound(
        f"{desk_forms.MAX_FORM // 1024} KiB", "contract/test_desk_frame.py::test_errors_are_pages"
    ),
    "events that `/desk/send` takes at once": Bound(
        count(send.MOST_EVENTS), "contract/test_desk_send.py::test_too_many"
    ),
    "refused alerts that the end of bulk work names": Bound(
        count(alert_bulk.MOST_NAMED), "contract/test_desk_bulk.py::test_what_was_refused_stays_named"
    ),
    "actions that the chart of an alert draws one by one": Bound(
        count(evidence_chart.MOST_DRAWN), "contract/test_desk_alert.py::test_many_actions_are_summed_up"
    ),
    "later arrivals among which the page of an alert looks for late ones": Bound(
        count(alert_evidence.ARRIVALS_SEEN), "contract/test_desk_alert.py::test_a_late_event_among_very_many"
    ),
    "lines of history on the proof page of an alert": Bound(
        count(alert_proof.MOST_LINES), "contract/test_desk_proof.py::test_a_very_long_history"
    ),
    "saved views that the inbox lists": Bound(
        count(desk_inbox.VIEWS_SHOWN), "contract/test_desk_inbox.py::test_no_more_views_than_fit_are_listed"
    ),
    "actions of a user's story that are drawn one by one": Bound(
        count(user_timeline.POINTS), "contract/test_desk_user.py::test_columns_of_a_long_story"
    ),
    "actions of a story among which the least and the most balance are looked for": Bound(
        count(user_timeline.SUMMED), "contract/test_desk_user.py::test_columns_however_they_are_read"
    ),
    "alerts of a user's story": Bound(
        f"{count(user_timeline.ALERTS)}, or {user_timeline.ALERTS_OF_COLUMN} in each of "
        f"{user_timeline.COLUMNS} columns",
        "contract/test_desk_user.py::test_alerts_of_a_long_story",
    ),
    "users that a page of `/desk/users` looks at for a rating": Bound(
        count(user_lists.LOOKED_AT), "contract/test_desk_user.py::test_users_with_a_rating"
    ),
    "newest alerts of a user that `/desk/users` looks at": Bound(
        count(user_lists.NEWEST), "contract/test_desk_user.py::test_open_alerts_are_counted_among_the_newest"
    ),
    "earlier arrivals by which a user's page tells that an action came late": Bound(
        count(user_lists.ARRIVALS), "contract/test_desk_user.py::test_late_by_the_last_arrivals"
    ),
    "age of a rule's figures": Bound(
        seconds(rules.FIGURES_SECONDS), "contract/test_rules.py::test_figures_are_kept_for_a_while"
    ),
    "alerts that a rule's figures look at": Bound(
        count(rules.COUNTED), "contract/test_rules.py::test_figures_are_bounded"
    ),
    "values of a label of the metrics": Bound(
        "what routes, statuses, methods, rules and webhooks there are",
        "contract/test_metrics.py::test_callers_cannot_make_labels",
    ),
    "ids tried for a new user": Bound(count(users.ID_ATTEMPTS), "integration/test_bounds.py::test_no_free_id"),
    # Processes, threads and connections
    "connections of a process": Bound(
        count(connections.MOST_CONNECTIONS), "unit/test_connections.py::test_few_open_files_mean_few_connections"
    ),
    "connections that wait to be accepted": Bound(
        count(connections.BACKLOG), "unit/test_connections.py::test_the_options"
    ),
    "a connection with no request, or a part of its head": Bound(
        seconds(connections.HEAD_SECONDS), "unit/test_connections.py::test_the_options"
    ),
    "time for a body to arrive": Bound(
        seconds(setting("BODY_TIMEOUT")), f"{_DOOR}::test_a_body_that_does_not_arrive_in_time"
    ),
    "bodies that have not arrived in full, per process": Bound(
        f"{size(intake.MAX_UNFINISHED)}, and {size(intake.MAX_UNFINISHED)} of those over {size(bodies.MAX_BODY)}",
        "unit/test_intake.py::test_unfinished_bodies_share_a_number_of_bytes",
    ),
    "bodies over 2 MiB, or packed, in hand at once, per process": Bound(
        count(intake.LARGE_AT_ONCE), f"{_DOOR}::test_large_bodies_take_turns"
    ),
    "a body that nobody wants": Bound(
        f"{seconds(intake.LINGER_SECONDS)} of silence, {seconds(setting('BODY_TIMEOUT'))} "
        f"and {size(intake.LINGER_BYTES)}",
        "unit/test_intake.py::test_throwing_away_has_an_end",
    ),
    "living keys": Bound(count(key_changes.MOST_LIVING), "integration/test_keyring.py::test_no_more_keys_than_may"),
    "name of a key": Bound(
        f"{key_terms.LONGEST_NAME} characters", "contract/test_keys.py::test_what_is_wrong_with_a_new_key_is_named"
    ),
    "scopes in the list of a new key": Bound(
        count(MOST_SCOPES), "contract/test_keys.py::test_what_is_wrong_with_a_new_key_is_named"
    ),
    "how far ahead a key may end": Bound(
        f"{count(key_terms.LONGEST_DAYS)} days", "integration/test_keys_command.py::test_what_is_wrong_is_said"
    ),
    "overlap of a rotated key": Bound(
        f"{key_terms.LONGEST_OVERLAP.days} days", "contract/test_keys.py::test_an_overlap_is_a_number_of_hours"
    ),
    "changes of keys under way at once, per process": Bound(
        count(key_changes.MOST_WAITING), "contract/test_keys.py::test_no_more_changes_at_once_than_may"
    ),
    "age of what a process knows of keys": Bound(
        seconds(keyring.STALE), "integration/test_keyring.py::test_a_look_that_is_too_old_says_nothing"
    ),
    "a question for changes of keys": Bound(
        f"{seconds(keyring.TIMEOUT)} to connect, and {seconds(keyring.TIMEOUT)}",
        "integration/test_keyring_watch.py::test_a_database_that_hangs_closes_it_until_it_goes_on",
    ),
    "rate of a key": Bound(
        f"1 to {count(rates.MOST_REQUESTS)} requests in an hour at most" if rates.LONGEST_WINDOW == 3600 else "",
        "unit/test_rates.py::test_no_rate",
    ),
    "bad keys from one address, per process": Bound(
        f"{count(bad_keys.MOST)} in {seconds(bad_keys.WINDOW)}",
        "unit/test_bad_keys.py::test_too_many_bad_keys_of_an_address",
    ),
    "addresses of bad keys that are remembered": Bound(
        count(bad_keys.REMEMBERED), "unit/test_bad_keys.py::test_more_addresses_than_are_remembered"
    ),
    "keys whose rate is counted, per process": Bound(
        count(limits.REMEMBERED), "unit/test_limits.py::test_more_keys_than_are_remembered"
    ),
    "keys of `KEYS_FILE`": Bound(
        f"{count(keys_file.MOST_KEYS)}, and {size(keys_file.MOST_BYTES)}",
        "unit/test_keys_file.py::test_files_that_cannot_be_read",
    ),
    "requests that wait for a thread, per process": Bound(
        count(flask_threads.MOST_WAITING), "unit/test_flask_threads.py::test_too_many_wait_for_a_thread"
    ),
    "a caller that does not read its answer": Bound(
        f"{size(slow_readers.FEWEST_BYTES)} in {seconds(slow_readers.INTERVAL)}",
        "unit/test_connections.py::test_callers_that_do_not_read_are_ended",
    ),
    "worker processes": Bound(count(setting("WORKERS")), "unit/test_config_loader.py::test_bad_value_is_named"),
    "requests in Flask at once, per process": Bound(
        count(setting("THREADS")), "integration/test_serving.py::test_post_event_does_not_wait_for_threads"
    ),
    "reads at once, per process": Bound(
        count(setting("READ_THREADS")), "unit/test_flask_reads.py::test_as_many_at_once_as_there_are_threads"
    ),
    "reads that wait, per process": Bound(
        count(flask_reads.MOST_WAITING), "unit/test_flask_reads.py::test_as_many_at_once_as_there_are_threads"
    ),
    "a read's wait for its turn": Bound(
        seconds(flask_reads.PATIENCE), "unit/test_flask_reads.py::test_a_read_does_not_wait_for_ever"
    ),
    "a thread's rest between two reads": Bound(
        "as long as the read", "unit/test_flask_reads.py::test_a_thread_rests_for_as_long_as_it_read"
    ),
    "exports at once, per process": Bound(
        count(flask_streams.AT_ONCE),
        "unit/test_flask_streams.py::test_pieces_are_made_as_they_are_taken_and_few_at_once",
    ),
    "a caller that does not take the next piece of an export": Bound(
        seconds(flask_streams.STALLED), "unit/test_flask_streams.py::test_a_stalled_caller_loses_its_place"
    ),
    "rows of an export in memory": Bound(
        count(csv_answer.PAGE), "unit/test_csv_answer.py::test_pages_are_read_as_they_are_taken"
    ),
    "rows of an export of a user in memory": Bound(
        count(person_file.PAGE), "contract/test_people.py::test_everything_is_in_the_file"
    ),
    "all of an export of a user": Bound(
        seconds(2 * person_file.WAIT), "contract/test_people.py::test_an_export_that_takes_too_long_is_cut_off"
    ),
    "reason of an `override`": Bound(longest(people.Override), "contract/test_people.py::test_an_override"),
    "an erasure that somebody waits for": Bound(
        seconds(people.PATIENCE), "integration/test_erasure.py::test_it_goes_on_where_it_was_left"
    ),
    "rows of a transaction that erases": Bound(
        count(erasure.STRETCH), "integration/test_erasure.py::test_it_goes_on_where_it_was_left"
    ),
    "a run that erases who is due, per process": Bound(
        seconds(erasure_job.RUN), "integration/test_erasure.py::test_a_run_ends_and_the_next_goes_on"
    ),
    "rest between runs that erase": Bound(
        f"{seconds(erasure_job.INTERVAL)}, or {erasure_job.RESTS} times as long as the run",
        "integration/test_erasure.py::test_a_run_ends_and_the_next_goes_on",
    ),
    "a line of a ledger that is applied": Bound(
        f"{count(erasures.LONGEST)} characters",
        "integration/test_erasure.py::test_a_bad_line_is_named_and_nothing_is_erased",
    ),
    "`/healthz` and `/readyz` at once, per process": Bound(
        "1 each", "unit/test_flask_reads.py::test_as_many_at_once_as_there_are_threads"
    ),
    "`/healthz` and `/readyz` that wait, per process": Bound(
        f"{count(flask_reads.MOST_PROBES)} each", "unit/test_flask_reads.py::test_probes_have_a_bound_too"
    ),
    "database connections per process": Bound(
        f"{app.CONNECTIONS} and {engines.FEW}", "integration/test_session.py::test_pool_timeout_is_away"
    ),
    # Queues and batches
    "events waiting for a batch, per process": Bound(
        count(setting("GROUP_COMMIT_QUEUE")), "contract/test_queue.py::test_the_server_refuses_what_finds_the_line_full"
    ),
    "single events of a transaction": Bound(
        count(setting("GROUP_COMMIT_MAX")),
        "unit/test_group_commit.py::test_a_line_longer_than_the_maximum_is_several_batches",
    ),
    "users judged alone at once, per process": Bound(
        count(service.ALONE_THREADS), "unit/test_group_commit.py::test_each_alone_has_the_same_bound"
    ),
    "events that begin in a later lane, per process": Bound(
        "half of the queue", "unit/test_lanes.py::test_held_users_leave_half_of_the_queue_to_others"
    ),
    "events of one user in a later lane, per process": Bound(
        count(stays.OF_USER), "unit/test_lanes.py::test_one_user_cannot_fill_the_lanes"
    ),
    "users remembered as held": Bound(
        count(stays.REMEMBERED), "unit/test_lanes.py::test_users_beyond_those_remembered"
    ),
    "runs of a shared batch": Bound(count(group_commit.RUNS), "unit/test_lanes.py::test_a_batch_is_not_run_for_ever"),
    "stored actions that a shared batch may change": Bound(
        f"{count(service.REPAIR_BUDGET)}, and {service.REPAIR_SHARE} for each user",
        "unit/test_lanes.py::test_a_large_repair_leaves_its_batch",
    ),
    "stored actions that a user may change in `POST /events`": Bound(
        count(batches.REPAIR_LIMIT),
        f"{_CROWDS}::test_users_with_large_repairs_leave_their_batch",
    ),
    "large repairs at once, per process": Bound(
        f"{group_commit.REPAIRS}, and {engines.REPAIRS} with those of batches",
        "unit/test_lanes.py::test_a_large_repair_leaves_its_batch",
    ),
    "batches with large repairs at once, per process": Bound(
        count(batches.REPAIRED_AT_ONCE),
        f"{_CROWDS}::test_too_many_batches_with_large_repairs",
    ),
    "events of a batch that needs no turn": Bound(
        count(batches.BIG), f"{_CROWDS}::test_a_big_batch_waits_for_its_turn_without_locks"
    ),
    "big batches at once, per process": Bound(count(batches.BIG_AT_ONCE), f"{_CROWDS}::test_too_many_big_batches"),
    "dry runs at once, per process": Bound(count(service.DRY_RUNS), "contract/test_dry_run.py::test_too_many_at_once"),
    "a dry run's wait for a place": Bound(
        seconds(service.DRY_RUN_WAIT), "contract/test_dry_run.py::test_too_many_at_once"
    ),
    "changes of rules that wait, per process": Bound(
        count(service.MOST_CHANGES), "unit/test_lanes.py::test_too_many_and_too_long"
    ),
    # Times
    "wait for a connection": Bound(seconds(DB_TIMEOUT), "integration/test_session.py::test_pool_timeout_is_away"),
    "wait for a lock": Bound(seconds(DB_TIMEOUT), "contract/test_errors.py::test_a_lock_that_is_held_too_long"),
    "a statement": Bound(seconds(DB_TIMEOUT), "integration/test_session.py::test_statement_timeout_is_away"),
    "a statement that reads": Bound(
        seconds(setting("READ_TIMEOUT")), "contract/test_reads.py::test_a_read_that_takes_too_long"
    ),
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
        seconds(rule_settings.PATIENCE), "contract/test_rules.py::test_a_change_that_cannot_wait"
    ),
    "a rule change's hold on events, at once": Bound(
        seconds(max(rule_versions.ASKS)), "contract/test_rules.py::test_a_change_that_cannot_wait"
    ),
    "rest between changes of rules": Bound(
        seconds(rule_versions.APART),
        f"{_CROWDS}::test_changes_that_wait_are_made_together",
    ),
    "a shared batch's wait for a user": Bound(
        f"{seconds(engines.SHARED_WAIT)}, then {seconds(engines.PATIENT_WAIT)}",
        f"{_CROWDS}::test_a_held_row_holds_up_its_own_user_alone",
    ),
    "a batch's wait for a user, at once": Bound(
        seconds(batches.WAIT),
        f"{_CROWDS}::test_a_batch_does_not_hold_others_while_it_waits",
    ),
    "an event's wait to be judged alone": Bound(
        seconds(2 * DB_TIMEOUT), "unit/test_lanes.py::test_what_waits_for_too_long_is_turned_away"
    ),
    "a statement of a large repair, and its wait": Bound(
        seconds(engines.REPAIR_SECONDS),
        f"{_CROWDS}::test_a_large_repair_of_a_batch_that_fails",
    ),
    "attempts at a large repair while rules change": Bound(
        count(batches.TRIES), f"{_CROWDS}::test_a_large_repair_while_rules_change"
    ),
    "`Retry-After`": Bound(seconds(problems.RETRY_AFTER), "contract/test_errors.py::test_a_closed_port"),
    "lines of the log that wait, per process and stream": Bound(
        size(log_output.MOST_WAITING), "integration/test_log_output.py::test_a_pipe_that_nobody_reads"
    ),
    "a process's wait for its last log lines": Bound(
        seconds(log_output.FLUSH_SECONDS), "integration/test_log_output.py::test_a_pipe_that_nobody_reads"
    ),
    "hosts that are remembered as trusted or not": Bound(
        count(origins.REMEMBERED), "contract/test_hosts.py::test_more_hosts_than_are_remembered"
    ),
    "stopping": Bound(
        seconds(serve.STOP_SECONDS), "integration/test_bounds.py::test_a_request_that_does_not_end_is_left_behind"
    ),
    # Late events
    "actions behind a late event": Bound(
        count(setting("LATE_LIMIT")), "integration/test_large_repairs.py::test_too_many_behind"
    ),
    "numbers that a late event rewrites": Bound(
        count(2 * late_counts.STRETCH), "integration/test_large_repairs.py::test_a_late_event_rewrites_one_stretch"
    ),
    "later actions that are read at once": Bound(
        count(2 * ahead.PART), "integration/test_large_repairs.py::test_a_repair_in_parts_equals_one_at_once"
    ),
    "later actions of all users that are read at once": Bound(
        count(ahead.AT_ONCE), "integration/test_large_repairs.py::test_many_repairs_that_are_large_together"
    ),
    "changes of rules that a late event looks for": Bound(
        count(ahead.MOST_CHANGES),
        "integration/test_large_repairs.py::test_what_judges_is_found_among_many_changes",
    ),
    # Caches
    "users whose last actions a worker keeps": Bound(count(kept.MOST_USERS), "integration/test_kept.py::test_bounds"),
    "actions of all users that a worker keeps": Bound(
        count(kept.MOST_ACTIONS), "integration/test_kept.py::test_bounds"
    ),
    "actions of a user and type that are kept": Bound(
        count(kept.MOST_OF_TYPE), "integration/test_kept.py::test_a_busy_user_stays_kept"
    ),
    "actions of a user that are read to bring what is kept up to date": Bound(
        count(kept.MOST_SINCE), "integration/test_kept.py::test_more_came_since_than_is_read"
    ),
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
        count(backtester.REMEMBERED), "unit/test_bounds.py::test_rule_sets_of_a_backtest_beyond_the_cache"
    ),
    # All of history
    "backtests and verifications at once": Bound("1", "contract/test_backtests.py::test_one_runs_at_a_time"),
    "days of a backtest that are counted": Bound(
        count(backtest.MOST_DAYS), "unit/test_question.py::test_days_are_counted_up_to_a_bound"
    ),
    "values of a sweep": Bound(count(question.MOST_STEPS), "unit/test_question.py::test_a_sweep_has_an_end"),
    "actions of one part of a backtest, and of a verification": Bound(
        f"{count(backtest.PART)}, and {count(verify_work.PART)}",
        "integration/test_bounds.py::test_a_user_larger_than_a_part_is_a_part",
    ),
    "processes of a backtest": Bound(
        "one less than cores, and 1", "contract/test_backtests.py::test_started_and_cancelled_again_and_again"
    ),
    "wait for the end of a backtest's processes": Bound(
        seconds(run.ENDING), "contract/test_backtests.py::test_one_that_is_cancelled_leaves_no_process"
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
    "actions of a user whose alert is verified": Bound(
        count(verify_user.MOST_ACTIONS), "contract/test_proof.py::test_too_many_actions"
    ),
    "actions that `prune` removes in one transaction": Bound(
        count(pruning.ACTIONS), "integration/test_pruning.py::test_the_cut_moves_step_by_step"
    ),
    "wait of `prune` for a user": Bound(
        f"{stored_pruning.LOCK_TIMEOUT} ms", "integration/test_pruning.py::test_users_in_use_are_left"
    ),
    "users that `prune` tries again": Bound(
        f"{count(pruning.MOST_BUSY)}, {('once', 'twice', 'three times')[pruning.TRIES - 1]}",
        "integration/test_pruning.py::test_users_in_use_are_left",
    ),
    "users that `prune` looks at in one statement": Bound(
        count(pruning.USERS), "integration/test_pruning.py::test_all_users"
    ),
    "work to verify one user": Bound(seconds(verify_user.WORK), "contract/test_proof.py::test_it_takes_too_long"),
    "users verified at once, per process": Bound(
        count(verify_user.AT_ONCE), "contract/test_proof.py::test_too_many_at_once"
    ),
    "actions that are judged again in one go for one alert": Bound(
        count(verify_user.STRETCH), "contract/test_proof.py::test_it_rests_in_between"
    ),
    "differences that `verify` lists": Bound(
        count(verify_report.LISTED), "unit/test_bounds.py::test_differences_beyond_those_listed"
    ),
    # Commands and the start
    "events of a transaction of `replay`": Bound("1,000", "integration/test_replay.py::test_bad_options_are_errors"),
    "line of a replayed file": Bound(
        size(replay_file.LONGEST_LINE), "integration/test_replay.py::test_bad_lines_are_listed_and_the_rest_is_stored"
    ),
    "lines that `replay` sorts in memory": Bound(
        count(replay_order.IN_MEMORY), "integration/test_replay.py::test_any_order_of_the_lines_ends_the_same"
    ),
    "sorted parts of that file that are merged at once": Bound(
        count(replay_order.AT_ONCE), "integration/test_replay.py::test_any_order_of_the_lines_ends_the_same"
    ),
    "users whose last time `replay` remembers": Bound(
        count(replay_order.USERS), "integration/test_replay.py::test_more_users_than_are_remembered"
    ),
    "stretches of actions that `replay` remembers": Bound(
        count(replay_tally.STRETCHES),
        "integration/test_replay.py::test_more_stretches_than_are_remembered_are_counted_at_once",
    ),
    "`replay`'s wait for the database": Bound(
        f"{len(replay.WAITS)} times, {seconds(sum(replay.WAITS))} in all",
        "integration/test_bounds.py::test_replay_gives_up",
    ),
    "rows that one transaction of `restored --discard` takes": Bound(
        f"{count(webhook_hold.STRETCH)} of each table",
        "integration/test_backup.py::test_more_is_discarded_than_one_transaction_takes",
    ),
    "a migration's wait for a lock, at once": Bound(
        "0.5 s", "integration/test_migrations.py::test_what_a_migration_sets_for_itself_ends_with_it"
    ),
    "a migration's waits for locks, in all": Bound(
        "45 s", "integration/test_upgrades.py::test_a_migration_that_gets_no_lock_says_who_has_it"
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
    "pause between starts of the embedded PostgreSQL": Bound(
        seconds(embedded_supervisor.LONGEST_PAUSE),
        "integration/test_embedded_kills.py::test_a_full_disk_that_has_room_again",
    ),
    "silence of the embedded PostgreSQL's supervisor": Bound(
        seconds(embedded.SIGNS),
        "integration/test_embedded_kills.py::test_a_stopped_supervisor_is_replaced",
    ),
    "log of the embedded PostgreSQL": Bound(
        f"2 files of {embedded_supervisor.LOG_BYTES // 1_000_000} MB",
        "integration/test_embedded_kills.py::test_the_log_has_a_bound",
    ),
    "pause before a worker that died is replaced": Bound(
        seconds(workers.LONGEST_PAUSE),
        "integration/test_workers.py::test_workers_are_replaced_however_often_they_die",
    ),
    "deaths of one worker in a row": Bound(
        f"{workers.FAILURES}, or {workers.FIRST_STARTS} before any has served",
        "integration/test_workers.py::test_workers_that_cannot_start_end_the_service",
    ),
    "files of the metrics, per worker": Bound(
        f"{sum(metrics.SIZES.values()) / 2**20:.1f} MiB",
        "integration/test_workers.py::test_without_room_anywhere_there_are_no_metrics",
    ),
    "calls at once on the port of the metrics, per worker": Bound(
        count(metrics_port.AT_ONCE),
        "integration/test_metrics_port.py::test_callers_that_stall_leave_the_port_to_others",
    ),
    "a call on the port of the metrics": Bound(
        f"{seconds(metrics_port.SECONDS)}, and {metrics_port.MAX_HEAD // 1024} KiB",
        "integration/test_metrics_port.py::test_callers_that_stall_leave_the_port_to_others",
    ),
    "spans that wait to be sent, per process": Bound(
        count(traces.SPANS_WAITING), "unit/test_traces.py::test_more_spans_than_may_wait"
    ),
    "a message to the collector of traces": Bound(
        f"{traces.AT_ONCE} spans, {seconds(traces.SEND_SECONDS)}, and {seconds(traces.STOP_SECONDS)} at the end",
        "integration/test_traces.py::test_traces_of_the_real_service",
    ),
    "links of a span": Bound(count(traces.MOST_LINKS), "unit/test_traces.py::test_more_requests_than_links"),
    "a run that counts figures, on all machines together": Bound(
        f"{seconds(figures_job.RUN)}, and the stretch of time it is at",
        "integration/test_figures.py::test_a_run_ends_and_goes_on_later",
    ),
    "rest between runs that count figures": Bound(
        f"{seconds(figures_job.INTERVAL)}, or {figures_job.RESTS} times as long as the run",
        "integration/test_figures.py::test_one_counts_at_a_time_and_rests",
    ),
    "a statement that counts figures": Bound(
        seconds(figures_progress.STATEMENT),
        "integration/test_figures.py::test_a_stretch_that_takes_too_long_is_made_shorter",
    ),
    "a run that counts figures and has died": Bound(
        seconds(figures_job.LEASE), "integration/test_figures.py::test_a_dead_turn_ends"
    ),
    "users of a day that are counted exactly": Bound(
        f"{count(user_sets.EXACT)}, of each rule and of all", "integration/test_figures.py::test_many_users"
    ),
    "how far back superseded alerts are counted again": Bound(
        f"{figures_step.RECOUNTED_DAYS} days", "integration/test_figures.py::test_superseded_alerts_are_counted_again"
    ),
    "minutes of which figures are kept": Bound(
        count(figures.MINUTES), "integration/test_figures.py::test_minutes_take_the_place_of_older_ones"
    ),
    "questions of `GET /readyz` to the database, per worker": Bound(
        f"1 every {seconds(readiness.FRESH)}",
        "integration/test_workers.py::test_readiness_is_asked_once_a_second",
    ),
    "wait of `GET /readyz`": Bound(
        seconds(readiness.PATIENCE),
        "integration/test_watchdog.py::test_probes_do_not_wait_for_a_database_that_hangs",
    ),
    "questions of `GET /readyz` at once, per worker": Bound(
        "1",
        "integration/test_watchdog.py::test_probes_do_not_wait_for_a_database_that_hangs",
    ),
    "a database error in the log": Bound(
        f"{errors.MOST_SHOWN} characters",
        "unit/test_errors.py::test_only_the_first_line_of_a_cause_is_shown",
    ),
    # Deliveries to webhooks
    "an attempt to send a message to a webhook": Bound(
        seconds(webhook_sender.ATTEMPT_SECONDS), f"{_SENDER}::test_too_slow"
    ),
    "what is read of a webhook's answer": Bound(
        f"{size(webhook_connections.MOST_HEAD)} of its head and {size(webhook_connections.MOST_READ)} of its body",
        f"{_SENDER}::test_a_head_without_end",
    ),
    "addresses of a webhook's host that an attempt connects to, one after the other": Bound(
        count(webhook_sender.MOST_ADDRESSES), f"{_SENDER}::test_silent_addresses_leave_time_for_others"
    ),
    "names of one webhook that are looked up at once": Bound(
        count(webhook_connections.LOOKUPS), f"{_SENDER}::test_names_that_are_not_found_in_time"
    ),
    "attempts for a message": Bound(count(len(webhook_schedule.SCHEDULE)), f"{_SCHEDULE}::test_the_schedule"),
    "pause that a webhook may ask for": Bound(
        seconds(webhook_schedule.MOST_RETRY_AFTER), f"{_SCHEDULE}::test_retry_after"
    ),
    "rest of a webhook at which attempts fail": Bound(
        seconds(webhook_schedule.LONGEST_REST), f"{_SCHEDULE}::test_an_endpoint_that_fails_is_left_alone"
    ),
    "nothing but failures of a webhook": Bound(
        f"{webhook_schedule.DISABLED_AFTER / 86_400:g} days", f"{_DELIVERER}::test_five_days_of_failures_disable"
    ),
    "connections to one webhook, each with a thread": Bound(
        count(webhook_line.CONNECTIONS), f"{_DELIVERER}::test_an_endpoint_that_hangs_holds_up_no_other"
    ),
    "messages of one webhook that are being sent or wait for a thread": Bound(
        count(webhook_line.MOST_CLAIMED), f"{_DELIVERER}::test_an_endpoint_that_hangs_holds_up_no_other"
    ),
    "events that become deliveries in one transaction": Bound(
        count(webhook_relay.BATCH), f"{_DELIVERER}::test_order_across_batches"
    ),
    "age of finished deliveries": Bound(
        f"{webhook_upkeep.KEPT_SECONDS / 86_400:g} days", f"{_DELIVERER}::test_old_deliveries_are_removed"
    ),
    "a webhook whose process has died or hangs": Bound(
        seconds(webhook_deliverer.LEASE), f"{_DELIVERER}::test_one_process_sends_to_an_endpoint"
    ),
    "what waits for webhooks in the metrics": Bound(
        f"{count(webhook_figures.COUNTED)} in the outbox and for each", f"{_DELIVERER}::test_figures"
    ),
    "attempts under way when what delivers is stopped": Bound(
        seconds(webhook_deliverer.STOP_SECONDS), f"{_DELIVERER}::test_an_attempt_is_on_record_before_it_is_made"
    ),
}

# What holds things or runs beside the caller, by file and kind: the bound that it comes under, or why it has none.
KEEPERS: dict[str, str] = {
    "commands/deliver.py Thread": "one in the process that delivers, which watches its parent",
    "work/webhook_line.py SimpleQueue": "messages of one webhook that are being sent or wait for a thread",
    "work/webhook_line.py Thread": "connections to one webhook, each with a thread",
    "work/webhook_watch.py Thread": "one for each worker, which reads how webhooks are doing",
    "work/webhook_deliverer.py cache": "one value",
    "work/webhook_deliverer.py SimpleQueue": "messages of one webhook that are being sent or wait for a thread",
    "work/webhook_connections.py SimpleQueue": "one value: what a lookup has found",
    "work/webhook_connections.py Thread": "one that cuts off what takes too long, and names that are looked up at once",
    "work/webhook_connections.py BoundedSemaphore": "names of one webhook that are looked up at once",
    "transaction_alerts_client.py deque": "threads of the caller that wait, each for a call of its own",
    "log_output.py SimpleQueue": "lines of the log that wait, per process and stream",
    "log_output.py Thread": "one for each of the two streams",
    "routes/http/decisions.py lru_cache": "the beginnings of answers, by the codes in them",
    "routes/http/server_messages.py lru_cache": "the headers of answers, by the names and values in them",
    "routes/http/origins.py lru_cache": "hosts that are remembered as trusted or not",
    "routes/http/assets.py lru_cache": "one value for each file of the desk",
    "access/key_changes.py BoundedSemaphore": "changes of keys under way at once, per process",
    "access/keyring.py Thread": "one for each worker, which looks for changes of keys",
    "database/replica.py Thread": "one for each worker, which looks how far the replica is",
    "commands/workers.py SimpleQueue": "one call at a time: what wakes the server is forgotten as it wakes",
    "commands/demo_fill.py deque": "what one demo stores: some fifty thousand events and their alerts",
    "commands/serve.py Thread": "one for each worker, which watches its parent",
    "commands/spark_backtest.py Thread": "one for each command, which shows how far it has come",
    "commands/slow_readers.py Thread": "one for each worker",
    "database/embedded_supervisor.py Popen": "one PostgreSQL",
    "database/migrations.py cache": "one value",
    "database/presence.py Thread": "one for each worker",
    "database/lock_watch.py Thread": "one for each upgrade, until its end",
    "database/readiness.py Thread": "questions of `GET /readyz` at once, per worker",
    "database/watchdog.py Thread": "one for each engine",
    "traces.py Thread": "one at the end of each worker",
    "metrics.py cache": "values of a label of the metrics",
    "routes/metrics_port.py Thread": "calls at once on the port of the metrics, per worker",
    "routes/flask_reads.py ThreadPoolExecutor": "reads at once, per process",
    "database/alert_counts.py lru_cache": "statements on alerts that are kept, by what they filter by",
    "database/inbox.py lru_cache": "statements on alerts that are kept, by what they filter by",
    "database/alert_lists.py lru_cache": "statements on alerts that are kept, by what they filter by",
    "routes/flask_streams.py ThreadPoolExecutor": "exports at once, per process",
    "routes/flask_threads.py WSGIMiddleware": "requests in Flask at once, per process",
    "rules/hindsight/all_users.py ProcessPoolExecutor": "one process less than there are cores, at least one",
    "rules/hindsight/all_users.py Thread": "one for each of those processes, which watches its parent",
    "rules/hindsight/run.py Thread": "two for each backtest",
    "rules/hindsight/start.py Popen": "backtests and verifications at once",
    "rules/hindsight/start.py Thread": "backtests and verifications at once",
    "rules/hindsight/verify_user.py BoundedSemaphore": "users verified at once, per process",
    "rules/judging/batches.py BoundedSemaphore": "two of the bounds of batches",
    "rules/judging/lanes.py ThreadPoolExecutor": "users judged alone at once, per process",
    "rules/judging/lanes.py deque": "events waiting for a batch, per process",
    "rules/judging/lanes.py SimpleQueue": "one order at a time: the next is given when the one before has ended",
    "rules/judging/lanes.py Thread": "one leader for each of the two shared lanes",
    "rules/service.py BoundedSemaphore": "dry runs at once, per process",
    "work/erasure_job.py Thread": "one for each worker, which erases who is due",
    "work/figures_job.py Thread": "one for each worker, which counts figures when it is its turn",
    "rules/together.py deque": "changes of rules that wait, per process",
}
