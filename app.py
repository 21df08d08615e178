"""The service: `create_app()` wires it, `python app.py` serves it."""

import atexit
import errno
import gc
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from flask import Flask
from granian import Granian
from granian.constants import Interfaces
from sqlalchemy.exc import SQLAlchemyError
from watchfiles import PythonFilter

import logs
from commands.backtest import backtest
from commands.replay import replay
from commands.verify import verify
from config_loader import Settings, SettingsError, load_settings
from database import embedded, migrations
from database.session import CommitUncertain, is_settled, make_engine, make_sessions, run
from routes import alerts, asgi, backtests, events, health, openapi, rules, users
from routes import metrics as metrics_page
from routes.context import Context
from routes.http import bodies, exchange, problems
from routes.http.converters import AlertIdConverter, IdConverter
from rules.judging.engine import RuleEngine
from rules.judging.group_commit import EachAlone, GroupCommit
from rules.model import Event, Outcome
from rules.policy import Policy
from rules.registry import REGISTRY

STOP_SECONDS = 5  # for the exchange under way when the service is told to stop


def create_app(settings: Settings | None = None) -> Flask:
    """The Flask application.

    Without `settings` they are read from the environment, and where they name no database the embedded one is
    started (or joined) for as long as this process lives, and migrated. Raises SettingsError.
    """
    if settings is None:
        settings = load_settings()
        if settings.database is None:
            stack = ExitStack()
            atexit.register(stack.close)
            settings = settings.with_database(stack.enter_context(embedded.use(settings.data_dir)))
            migrations.upgrade(str(settings.database))
    if settings.database is None:
        raise SettingsError(["DATABASE_URL: the application needs a database"])
    logs.configure(readable=settings.global_test_flag)
    # Not above: the server imports this module before it has a folder for the metrics of its workers.
    import metrics

    app = Flask("app", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = bodies.MAX_BODY
    app.url_map.merge_slashes = False  # an odd path is a 404, not a redirect
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["alert"] = AlertIdConverter
    exchange.register(app, metrics.request_done)
    problems.register(app)
    for resource in (events, alerts, rules, backtests, users, health, openapi, metrics_page):
        app.register_blueprint(resource.blueprint)
    for command in (replay, backtest, verify):
        app.cli.add_command(command)
    database = make_engine(settings, settings.database)
    metrics.watch_pool(database)
    sessions = make_sessions(database)
    recorder = metrics.Recorder()
    engine = RuleEngine(_policy(settings), recorder)

    def process(batch: Sequence[Event], atomic: bool = False) -> list[Outcome]:
        return run(sessions, lambda session: engine.process(session, batch, atomic))

    line: GroupCommit | EachAlone
    if settings.group_commit == "on":
        line = GroupCommit(process, settings.group_commit_max, may_try_alone, recorder, settings.threads)
    else:
        line = EachAlone(process, settings.threads)
    with app.app_context():
        Context(
            sessions,
            line.submit,
            line.submit_soon,
            process,
            engine.books,
            migrations.head(),
            metrics.request_done,
            lambda: (metrics.exposition(), metrics.CONTENT_TYPE),
        ).store()
    return app


def _policy(settings: Settings) -> Policy:
    return Policy(
        rules=tuple(REGISTRY[code] for code in settings.rules),
        create_users=settings.unknown_users == "create",
        allow_overdraft=settings.overdraft == "allow",
        accept_out_of_order=settings.out_of_order == "accept",
    )


def may_try_alone(error: Exception, event: Event) -> bool:
    """Whether an event of a batch that failed with `error` can be tried by itself without being stored twice."""
    return is_settled(error) or (isinstance(error, CommitUncertain) and event.event_id is not None)


def create_worker() -> asgi.Application:
    """The application as one of the server's processes, which ends when the server itself has died."""
    # Ctrl+C, or closing the terminal, reaches every process there; the server alone answers it, and stops its workers
    # by SIGTERM.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    # Until this worker serves, it has the server's own handler, which would swallow the order to stop.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with_parent, args=(parent.pid,), daemon=True).start()
    settings = load_settings()
    app = asgi.application(create_app(settings), settings.threads)
    # What is here now stays: leave it out of every later collection, and make those rarer, since exchange leave
    # little behind.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return app


def _end_with_parent(parent: int | None) -> None:
    # A worker that outlives a killed server would go on holding the port.
    while os.getppid() == parent:
        time.sleep(0.2)
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)  # a killed server cannot
    os._exit(1)


def main() -> None:
    """Migrate the database and serve until SIGINT, SIGTERM or SIGHUP.

    Ends the process with status 2 for bad settings and with 1 where the database cannot be used.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):  # until the server takes over
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    try:
        with ExitStack() as stack:
            settings = load_settings()
            address = _free_address(settings)
            url = settings.database or stack.enter_context(embedded.use(settings.data_dir))
            migrations.upgrade(url)
            enter_rules(settings, url)
            os.environ["DATABASE_URL"] = url  # for the workers, which are processes of their own
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(_metrics_folder())
            _serve(settings, address)
    except SettingsError as error:
        sys.exit(_complaint(error, 2))
    except (embedded.EmbeddedError, migrations.MigrationError) as error:
        sys.exit(_complaint(error, 1))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def enter_rules(settings: Settings, url: str) -> None:
    """Enter into the database at `url` what `settings.rules` say, for all who use it. Raises MigrationError.

    That is for the one who starts the service: a worker or a command with other settings must not change the rules.
    """
    database = make_engine(settings, url)
    try:
        run(make_sessions(database), RuleEngine(_policy(settings)).enter_declared)
    except SQLAlchemyError as error:
        raise migrations.MigrationError(
            f"The rules cannot be entered: {getattr(error, 'orig', None) or error}"
        ) from None
    finally:
        database.dispose()


def _serve(settings: Settings, address: str) -> None:
    if settings.global_test_flag:
        # A forked worker would go on with the modules that this process has loaded, whatever has changed since.
        multiprocessing.set_start_method("spawn")
    server = Granian(
        "app:create_worker",
        factory=True,
        interface=Interfaces.ASGI,
        address=address,
        port=settings.backend_port,
        workers=1 if settings.global_test_flag else settings.workers,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_SECONDS,
        log_dictconfig=logs.server_config(settings.global_test_flag),
        reload=settings.global_test_flag,
        reload_paths=[migrations.ROOT],
        reload_filter=PythonFilter,
    )
    # By default the server takes SIGHUP for an order to restart its workers, and would outlive its terminal.
    server.on_startup(lambda: signal.signal(signal.SIGHUP, server.signal_handler_interrupt))
    server.serve()


def _metrics_folder() -> tempfile.TemporaryDirectory[str]:
    # In memory where the system has such a place: a process that writes to a mapped file on a full disk is killed.
    memory = "/dev/shm"  # noqa: S108
    where = memory if os.access(memory, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="transaction-alerts-", dir=where, ignore_cleanup_errors=True)


def _free_address(settings: Settings) -> str:
    # The server itself takes only numbers, and would say "address in use" only after the database was started.
    name, port = settings.backend_host, settings.backend_port
    try:
        family, *_, place = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        socket.create_server(place[:2], family=family).close()
    except OSError as error:
        setting = "BACKEND_PORT" if error.errno == errno.EADDRINUSE else "BACKEND_HOST, BACKEND_PORT"
        raise SettingsError([f"{setting}: cannot listen on {name}:{port}: {error.strerror}"]) from None
    return str(place[0])


def _complaint(error: Exception, status: int) -> int:
    print(error, file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
