"""`flask --app app deliver`, and `DELIVER=false`: what delivers can run apart from the service."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from sqlalchemy.orm import Session, sessionmaker

from tests.integration.test_engine import post
from tests.integration.test_outbox import RULES
from tests.integration.test_webhook_deliverer import sent, subscribe
from tests.service import ROOT, Service
from tests.waiting import PATIENCE, wait_until
from tests.webhook_receiver import Receiver

COMMAND = [sys.executable, "-m", "flask", "--app", "app", "deliver"]


def test_it_runs_apart(
    database_url: str, sessions: sessionmaker[Session], start_service: Callable[..., Service]
) -> None:
    """The service then has no such process; the command delivers until SIGTERM, and ends with status 0."""
    service = start_service(DELIVER="false", WORKERS="1")
    settings = {"DATABASE_URL": database_url, "SECRET_KEY": "k" * 32, "WEBHOOK_ALLOW": "127.0.0.1"}
    with Receiver() as receiver:
        subscribe(sessions, f"{receiver.url}/apart")
        post(sessions, 1, "w 101 @1", rules=RULES)
        process = subprocess.Popen(COMMAND, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: sent(sessions) == 1 or process.poll() is not None)
            assert service.deliverers() == []
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert ('"delivering"' in output, '"delivering_ended"' in output) == (True, True)
    assert len(receiver.at("/apart")) == 1
