"""The service: `create_app()` wires it, `python app.py` serves it."""

import commands.starting  # first of all: loading the rest takes a moment, in which Ctrl+C ends it

# isort: split

import atexit
import secrets
from contextlib import ExitStack

from flask import Flask

import log_output
import logs
import metrics
import traces
from access.keyring import Keyring
from access.limits import KeyLimits
from access.rates import read_rate
from commands import serve, slow_readers
from commands.backtest import backtest
from commands.deliver import deliver
from commands.demo import demo
from commands.distribute import distribute
from commands.endings import is_loaded_for_command, named_command, or_end
from commands.erasures import erasures
from commands.export import export
from commands.keys import keys
from commands.prune import prune
from commands.replay import replay
from commands.restored import restored
from commands.spark_backtest import spark_backtest
from commands.upgrade import upgrade
from commands.verify import verify
from config_loader import Settings, SettingsError, load_settings
from database import embedded, embedded_secret, migrations, presence
from database.engines import make_engines
from database.replica import Replica
from routes import (
    alert_bulk,
    alert_lists,
    alert_work,
    alerts,
    asgi,
    backtests,
    deliveries,
    events,
    flask_streams,
    health,
    log,
    metrics_port,
    mutes,
    openapi,
    people,
    proof,
    rules,
    sessions,
    start,
    users,
    views,
    webhooks,
)
from routes import keys as keys_view
from routes import metrics as metrics_page
from routes.desk.pages import PAGES
from routes.http import bodies, hooks
from routes.http.access import Access
from routes.http.converters import AlertIdConverter, IdConverter, KeyIdConverter
from routes.http.origins import TrustedHosts
from routes.http.proxies import TrustedProxy
from routes.http.sessions import SignedSessions
from rules.policy import Policy
from rules.registry import REGISTRY
from rules.service import Service
from work import erasure_job, figures_job, webhook_watch
from work.retention import Retention
from work.webhook_addresses import AddressPolicy
from work.webhook_deliverer import Deliverer
from work.webhook_secrets import WebhookSecrets
from work.webhooks import Webhooks

commands.starting.imported()

# The most connections of a process's main engine. Requests that share a transaction share its connection, so far fewer
# are needed than threads; and all processes together must stay below PostgreSQL's max_connections (100 by default).
CONNECTIONS = 16


def create_app(settings: Settings | None = None) -> Flask:
    """Returns the Flask application.

    Without `settings`, reads them from the environment. If those name no database, starts (or joins) the embedded one
    for as long as this process lives, and migrates it, which our commands do themselves. For a command that needs
    neither settings nor a database, there is only that. Raises SettingsError; under a command whatever prevents it ends
    the process, with a message.
    """
    is_own = False
    if settings is None and named_command() == spark_backtest.name:
        return _without_database()
    if settings is None:
        settings, is_own = or_end(
            _own_settings, SettingsError, embedded.EmbeddedError, migrations.MigrationError, OSError
        )
    if settings.database is None:
        raise SettingsError(["DATABASE_URL: the application needs a database"])
    logs.configure(readable=settings.global_test_flag)

    app = Flask("app", static_folder=None)
    app.config["OWN_DATABASE"] = is_own
    app.config["MAX_CONTENT_LENGTH"] = bodies.MAX_BODY
    app.url_map.merge_slashes = False  # an odd path is a 404, not a redirect
    app.url_map.converters["id"] = IdConverter
    app.url_map.converters["alert"] = AlertIdConverter
    app.url_map.converters["key"] = KeyIdConverter
    hooks.register(app)
    for resource in (
        events,
        alerts,
        alert_lists,
        alert_work,
        alert_bulk,
        proof,
        log,
        views,
        users,
        people,
        mutes,
        rules,
        backtests,
        webhooks,
        deliveries,
        keys_view,
        sessions,
        start,
        health,
        openapi,
        *([metrics_page] if settings.metrics_port is None else []),
        *PAGES,
    ):
        app.register_blueprint(resource.blueprint)
    for command in (
        replay,
        backtest,
        verify,
        export,
        spark_backtest,
        prune,
        deliver,
        demo,
        keys,
        erasures,
        upgrade,
        restored,
        distribute,
    ):
        app.cli.add_command(command)
    service = make_service(settings, settings.database)
    metrics.watch_pools(service.engines.all)
    log_output.when_dropped(metrics.log_lines_dropped)
    service.readiness.when_warned(health.log_warnings)
    service.readiness.when_warned(metrics.indexes_known)
    service.store_in(app.extensions)
    if settings.replica is not None:
        Replica(service.url, settings.replica).store_in(app.extensions)
    make_deliverer(settings, settings.database).store_in(app.extensions)
    keyring, hosts = Keyring(settings.database), TrustedHosts(settings.own_names)
    limits = KeyLimits(None if settings.key_rate is None else read_rate(settings.key_rate))
    keyring.when_flushed(limits.learn)
    access = Access(
        keyring,
        hosts,
        limits,
        is_loopback=settings.is_loopback,
        allow_anonymous=settings.allow_anonymous,
        sessions=_sessions(app, settings),
        proxy=_proxy(settings),
    )
    secrets_of_webhooks = WebhookSecrets(*settings.secret_keys)
    endpoints = Webhooks(secrets_of_webhooks, _address_policy(settings))
    for one in (keyring, hosts, access, Retention(settings.retention_years), secrets_of_webhooks, endpoints):
        one.store_in(app.extensions)
    migrations.head()  # without migrations of its own it could never be ready: that shows now
    return app


def _without_database() -> Flask:
    """What is left of the application for a command that needs neither a database nor settings."""
    app = Flask("app", static_folder=None)
    app.cli.add_command(spark_backtest)
    return app


def _sessions(app: Flask, settings: Settings) -> SignedSessions:
    # Without a server, which makes one for all of its workers, this process is the only one.
    secret = settings.session_secret.get_secret_value() if settings.session_secret else secrets.token_hex(32)
    return SignedSessions(app, secret, [one.get_secret_value() for one in settings.secret_key_fallbacks])


def _address_policy(settings: Settings) -> AddressPolicy:
    return AddressPolicy(allow=settings.webhook_allow, allow_private=settings.webhook_allow_private)


def _proxy(settings: Settings) -> TrustedProxy | None:
    if settings.trusted_proxy_header is None:
        return None
    return TrustedProxy(settings.trusted_proxy_header, settings.trusted_proxies, settings.trusted_proxy_scopes)


def _own_settings() -> tuple[Settings, bool]:
    """The settings, and whether the database is the embedded one."""
    settings = load_settings()
    if settings.database is not None:
        return settings, False
    stack = ExitStack()
    atexit.register(stack.close)
    settings = settings.with_database(stack.enter_context(embedded.use(settings.data_dir)))
    settings = settings.with_secret_key(embedded_secret.kept_secret(settings.data_dir))
    if not is_loaded_for_command():  # a command of ours migrates it when it needs it: one says first what that will do
        migrations.upgrade(str(settings.database))
    return settings, True


def make_service(settings: Settings, url: str) -> Service:
    """The service on the database at `url` (a SQLAlchemy URL), as `settings` ask for it."""
    return Service(
        engines=make_engines(
            url,
            timeout=settings.db_timeout,
            connections=min(settings.threads, CONNECTIONS),
            read_timeout=settings.read_timeout,
            read_connections=settings.read_threads + flask_streams.AT_ONCE,
            replica_url=settings.replica,
        ),
        policy=Policy(
            rules=tuple(REGISTRY[code] for code in settings.rules),
            create_users=settings.unknown_users == "create",
            allow_overdraft=settings.overdraft == "allow",
            accept_out_of_order=settings.out_of_order == "accept",
            late_limit=settings.late_limit,
            max_ahead=settings.max_ahead,
            time_is_epoch=settings.time_is_epoch,
        ),
        group_commit_max=settings.group_commit_max if settings.group_commit == "on" else None,
        group_commit_queue=settings.group_commit_queue,
        threads=settings.threads,
        observer=traces.observed(metrics.Recorder()),
    )


def make_deliverer(settings: Settings, url: str) -> Deliverer:
    """What delivers to webhooks from the database at `url` (a SQLAlchemy URL), as `settings` ask for it."""
    return Deliverer(
        url,
        policy=_address_policy(settings),
        secrets=WebhookSecrets(*settings.secret_keys),
        time_is_epoch=settings.time_is_epoch,
        timeout=settings.db_timeout,
    )


def create_worker() -> asgi.Application:
    """The application for one worker process of the server, which ends if the server dies. Raises SettingsError."""
    serve.begin_worker()
    settings = serve.worker_settings()
    traces.start(settings.otel_exporter_otlp_endpoint, settings.otel_traces_sampler_arg)
    logs.say_with_each_line(traces.in_log_line)
    app = create_app(settings)
    Keyring.of(app.extensions).watch()
    if (replica := Replica.of(app.extensions)) is not None:
        replica.watch()
    application = asgi.application(
        app,
        threads=settings.threads,
        read_threads=settings.read_threads,
        body_timeout=settings.body_timeout,
    )
    slow_readers.watch(settings.backend_port)
    if listener := serve.metrics_listener(settings):
        metrics_port.watch(listener, TrustedHosts.of(app.extensions))
    presence.announce(str(settings.database))
    figures_job.watch(str(settings.database), metrics.figures_known)
    webhook_watch.watch(str(settings.database), metrics.webhooks_known)
    erasure_job.watch(str(settings.database), Retention(settings.retention_years))
    serve.settle_worker()
    return application


if __name__ == "__main__":
    serve.main(make_service, make_deliverer)
