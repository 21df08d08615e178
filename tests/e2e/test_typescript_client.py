"""A client that openapi-typescript makes of the document, checked by TypeScript and run against the service."""

import shutil
import subprocess

import pytest

from tests.service import ROOT, Service
from tests.waiting import PATIENCE


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_generated_client_works(shared_service: Service) -> None:
    """Its types fit what the program in use.ts does, and the service answers that as the types say."""
    command = [str(ROOT / "scripts/clients/clients.sh"), shared_service.url, "openapi-typescript"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
