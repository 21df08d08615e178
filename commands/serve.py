"""`python app.py`: migrate the database, and serve until told to stop."""

import argparse
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import log_output
from granian import Granian
from granian.constants import Interfaces, Loops
from watchfiles import PythonFilter

import logs
import metrics  # noqa: TID251 (the files that the workers count in)
from access.keys_file import KeysFileError
from commands import connections, start_access, start_keys, start_messages, start_replica, start_rules, start_webhooks
from commands.deliver import DeliveryProcess
from commands.listening import CannotListen, free_address, listener
from commands.looking_after import both, nothing, patiently
from commands.start_messages import Started
from commands.workers import Workers, WorkersFailed, say_ready
from config_loader import Settings, SettingsError, load_settings  # noqa: TID251
from database import connecting, embedded, embedded_secret, fitness, migrations
from database.replica import NotAReplica
from rules.service import Service
from version import VERSION
from work.webhook_deliverer import Deliverer

# An event passes from thread to thread four times. With Python's 0.005 s it would wait that long for each turn while
# another thread makes a long answer.
SWITCH_SECONDS = 0.001
STOP_SECONDS = 5  # for requests still in progress when the service is asked to stop

_SESSION_SECRET = "TRANSACTION_ALERTS_SESSION_SECRET"  # noqa: S105 (the name of the variable that hands it on)

_in_force: Settings | None = None  # the server's
_of_metrics: socket.socket | None = None  # where the workers that it forks are asked for metrics, if on a port apart
_leaving = 0  # the status to end with, once a signal has asked for it before it serves


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    global _leaving
    _leaving = 128 + number  # the exception may be raised where Python can only print it and go on
    sys.exit(_leaving)


def main(
    make_service: Callable[[Settings, str], Service], make_deliverer: Callable[[Settings, str], Deliverer]
) -> None:
    """Migrate the database and serve until SIGINT, SIGTERM or SIGHUP, with a process beside it that delivers.

    Exits with status 2 for bad settings or if nobody could call it, and with 1 if the database cannot be used or the
    workers keep dying.
    """
    _read_arguments()
    log_output.never_wait()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # until the server takes over
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup has SIGHUP ignored
            signal.signal(ending, _leave)
    try:
        with ExitStack() as stack:
            settings = load_settings().with_secret(start_access.making_a_key())
            logs.configure(readable=settings.global_test_flag)
            address, metrics_address = _free_addresses(settings)
            url, look_after = settings.database, nothing
            if url is None:
                place = f"embedded PostgreSQL below {settings.data_dir.resolve()}"
                start_messages.step(f"Starting the {place}")
                server = stack.enter_context(embedded.use_and_look_after(settings.data_dir))
                url, look_after = server.url, patiently(server.look_after)
                settings = settings.with_secret_key(embedded_secret.kept_secret(settings.data_dir))
            else:
                place = connecting.place_of(url)
                start_messages.step(f"Connecting to the database {place}")
            start_messages.step(f"Bringing the database to migration {migrations.head()}")
            upgraded = migrations.upgrade(url)
            if note := fitness.check(url):
                start_messages.step(note)
            start_replica.check(url, settings.replica)
            service = make_service(settings, url)
            start_keys.enter(service, settings.keys_file)
            start_webhooks.enter(service, *settings.secret_keys)
            access = start_access.check(
                service,
                host=settings.backend_host,
                is_loopback=settings.is_loopback,
                allow_anonymous=settings.allow_anonymous,
                has_proxy=settings.trusted_proxy_header is not None,
            )
            rules = start_rules.enter(service, may_change_others=settings.rules_apply)
            global _in_force
            _in_force = settings.with_database(url)
            assert settings.session_secret is not None
            # For workers that are not forked.
            name = "SECRET_KEY" if settings.secret_key else _SESSION_SECRET
            os.environ |= {"DATABASE_URL": url, name: settings.session_secret.get_secret_value()}
            counts = stack.enter_context(_metrics_folder(settings.workers))
            workers = 1 if settings.global_test_flag else settings.workers
            start_messages.step(f"Starting {workers} worker{'s' * (workers > 1)}")
            started = Started(
                address=start_messages.address_for_people(settings.backend_host, settings.backend_port),
                database=place,
                migration=upgraded.revision or f"one newer than {migrations.head()}",
                applied=upgraded.applied,
                active=[code for code, status in rules.items() if status == "active"],
                shadow=[code for code, status in rules.items() if status == "shadow"],
                workers=workers,
                access=access,
            )
            if metrics_address is not None and settings.metrics_port is not None and not settings.global_test_flag:
                global _of_metrics
                _of_metrics = stack.enter_context(listener(metrics_address, settings.metrics_port))
            beside = None
            if settings.deliver:
                beside = DeliveryProcess(partial(make_deliverer, _in_force, url))
                stack.callback(beside.stop)
            _serve(settings, address, look_after, counts, lambda: start_messages.started(started), beside)
        start_messages.stopped()
    except (SettingsError, KeysFileError, start_access.NobodyMayCall, start_rules.RulesOfOthers, NotAReplica) as error:
        sys.exit(_complaint(error, 2))
    except (embedded.EmbeddedError, migrations.MigrationError, fitness.Unfit) as error:
        sys.exit(_complaint(error, 1))
    except (connections.TooFewFiles, WorkersFailed) as error:
        sys.exit(_complaint(error, 1))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _read_arguments() -> None:
    parser = argparse.ArgumentParser(
        prog="python app.py",
        description="Migrate the database, and serve until told to stop (Ctrl+C, SIGTERM).",
        epilog="Settings are environment variables or lines of .env; .env.example lists them.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.parse_args()


def _serve(
    settings: Settings,
    address: str,
    look_after: Callable[[], None],
    counts: Path | None,
    on_ready: Callable[[], None],
    beside: DeliveryProcess | None,
) -> None:
    options: dict[str, Any] = {
        "factory": True,
        "interface": Interfaces.ASGI,
        "loop": Loops.uvloop,
        "address": address,
        "port": settings.backend_port,
        "workers": settings.workers,
        "websockets": False,
        **connections.options(),
        "respawn_failed_workers": True,
        "workers_kill_timeout": STOP_SECONDS,
        "log_dictconfig": logs.server_config(settings.global_test_flag),
    }
    with ExitStack() as stack:
        if settings.global_test_flag:
            # A forked worker would keep the modules that this process has loaded, whatever has changed since.
            multiprocessing.set_start_method("spawn")
            os.environ["WORKER_SLOT"] = "0"
            options |= {"workers": 1, "reload": True, "reload_paths": [migrations.ROOT], "reload_filter": PythonFilter}
            server = Granian("app:create_worker", **options)
            server.on_startup(on_ready)  # it does not tell when its worker serves
            if beside is not None:
                server.on_startup(beside.begin)
        else:
            server = Workers(
                "app:create_worker",
                listener=stack.enter_context(listener(address, settings.backend_port)),
                on_ready=on_ready if beside is None else both(on_ready, beside.begin),
                on_tick=look_after if beside is None else both(look_after, beside.look_after),
                on_death=lambda number: metrics.forget_gauges(counts, number),
                on_stop=start_messages.stopping if beside is None else both(start_messages.stopping, beside.end),
                **options,
            )
        outlives_terminal = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

        def take_over() -> None:
            # By default the server restarts its workers on SIGHUP, and so would outlive its terminal.
            signal.signal(signal.SIGHUP, signal.SIG_IGN if outlives_terminal else server.signal_handler_interrupt)
            if _leaving:
                sys.exit(_leaving)

        server.on_startup(take_over)
        server.serve()


@contextmanager
def _metrics_folder(workers: int) -> Iterator[Path | None]:
    """A folder where the workers count, with all the room they need: who writes to a mapped file without is killed.

    In memory if the system has such a place. None, and a line that says so, if there is no room anywhere.
    """
    for where in ("/dev/shm", None):  # noqa: S108 (None: the place for temporary files)
        try:
            folder = tempfile.TemporaryDirectory(prefix="transaction-alerts-", dir=where, ignore_cleanup_errors=True)
        except OSError:
            continue
        with folder as name:
            try:
                metrics.reserve(Path(name), workers)
            except OSError:
                continue
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = name
            yield Path(name)
            return
    print("Nowhere is room for the metrics: GET /metrics will be a 503.", file=sys.stderr, flush=True)
    yield None


def _free_addresses(settings: Settings) -> tuple[str, str | None]:
    """The numeric addresses of the service, and of its metrics if these are apart. Raises SettingsError."""
    try:
        address = free_address(settings.backend_host, settings.backend_port, settings="BACKEND")
        if settings.metrics_port is None:
            return address, None
        return address, free_address(settings.metrics_host, settings.metrics_port, settings="METRICS")
    except CannotListen as error:
        raise SettingsError([str(error)]) from None


def _complaint(error: Exception, status: int) -> int:
    print(error, file=sys.stderr)
    return status


# In the workers


def worker_settings() -> Settings:
    """The settings of the server that forked this worker, whatever has become of `.env` since.

    In development mode workers are not forked, and read them anew. Raises SettingsError.
    """
    return _in_force or load_settings().with_session_secret(os.environ.get(_SESSION_SECRET))


def metrics_listener(settings: Settings) -> socket.socket | None:
    """Where this worker is asked for metrics, if on a port apart: the server's socket, or if not forked its own."""
    if _of_metrics is not None or settings.metrics_port is None:
        return _of_metrics
    address = free_address(settings.metrics_host, settings.metrics_port, settings="METRICS")
    return listener(address, settings.metrics_port)


def begin_worker() -> None:
    """Make this worker end when the server stops it, or has died."""
    log_output.never_wait()  # unless it was forked, this is new to it
    # Ctrl+C, or closing the terminal, signals every process there. Only the server reacts; it stops its workers with
    # SIGTERM.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    # Until this worker serves, it has the server's own handler, which would swallow SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with_parent, args=(parent.pid,), daemon=True).start()


def settle_worker() -> None:
    """Make garbage collection cheap: what is loaded now stays, and requests leave little behind.

    And have a thread that is needed for events get its turn soon while others read.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    say_ready()


def _end_with_parent(parent: int | None) -> None:
    # A worker that outlived a killed server would keep holding the port.
    while os.getppid() == parent:
        time.sleep(0.2)
    if counts := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shutil.rmtree(counts, ignore_errors=True)  # a killed server cannot do it
    os._exit(1)
