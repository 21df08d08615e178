"""The receiver in docs/webhooks.md: run as it stands there, it takes what the service signs and nothing else."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from tests.service import ROOT, free_port
from tests.waiting import PATIENCE, wait_until
from work.webhook_messages import message_of_test, new_message_id, sign
from work.webhook_secrets import WebhookSecrets

OLD, NEW = (WebhookSecrets("k" * 32).new()[0] for _ in range(2))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its address, and the file that it prints to."""
    (program,) = re.findall(
        r"^```python\n(# receiver\.py.*?)^```$", (ROOT / "docs/webhooks.md").read_text(), re.M | re.S
    )
    (tmp_path / "receiver.py").write_text(program)
    port, output = free_port(), tmp_path / "output"
    environment = os.environ | {"WEBHOOK_SECRET": OLD, "PORT": str(port)}
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "receiver.py"], cwd=tmp_path, env=environment, stdout=file, stderr=file
        )
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}"))
        yield f"http://127.0.0.1:{port}", output
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=PATIENCE).status_code == 501
    except requests.ConnectionError:
        return False


def post(url: str, message_id: str, body: str, *secrets: str) -> int:
    """Send a message signed with these secrets as the service does; returns the status of the answer."""
    now = datetime.now(UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": sign(secrets, message_id, now, body),
    }
    return requests.post(url, body, headers=headers, timeout=PATIENCE).status_code


def test_the_receiver_of_the_page(receiver: tuple[str, Path]) -> None:
    """It takes a message once, also while the secret is rotated, and refuses one with another signature."""
    url, output = receiver
    body, message_id = message_of_test(datetime.now(UTC), 1), new_message_id()
    assert post(url, new_message_id(), body, NEW) == 400
    assert post(url, message_id, body, OLD) == 204
    assert post(url, message_id, body, OLD) == 204
    assert post(url, new_message_id(), body, NEW, OLD) == 204
    assert output.read_text().count("webhook.test {'webhook_id': 1") == 2
