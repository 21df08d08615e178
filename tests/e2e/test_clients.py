"""The JavaScript client of docs/clients.md against a server that fails in every way."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents import blocks
from tests.e2e.faulty import FaultyServer
from tests.service import ROOT
from tests.waiting import PATIENCE

JAVASCRIPT = """
const waits = [];
const later = globalThis.setTimeout;
globalThis.setTimeout = (done, milliseconds, ...more) => {
  if (!new Error().stack.includes("alerts-client.mjs")) return later(done, milliseconds, ...more);
  waits.push(milliseconds / 1000);
  return later(done, 0);
};
const { AlertsClient, Refused } = await import("./alerts-client.mjs");
const client = new AlertsClient(process.argv[2], { key: "tak_1", attempts: 6 });
const found = { waits };
found.codes = await client.postEvent({ event_id: "one" });
found.results = await client.postEvents([{ event_id: "a" }, { event_id: "b" }, { event_id: "c" }]);
for (const wrong of [() => client.postEvent({}), () => client.postEvents([{}])]) {
  await wrong().catch((error) => { found.nameless = error.message; });
}
await client.postEvent({ event_id: "refused" }).catch((error) => { found.refused = error.problem.status; });
await client.postEvent({ event_id: "away" }).catch((error) => { found.away = error.problem.status; });
console.log(JSON.stringify(found));
process.exit(0);
"""


def test_a_client_tries_again_what_can_succeed(server: FaultyServer, tmp_path: Path) -> None:
    """It repeats an event with the same id until it is answered, waits as asked, and gives up what is refused."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    for block in blocks((ROOT / "docs/clients.md").read_text()):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    (tmp_path / "try.mjs").write_text(JAVASCRIPT)
    url = f"http://127.0.0.1:{server.server_port}"
    done = subprocess.run(["node", "try.mjs", url], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    waits = found.pop("waits")
    assert found == {
        "codes": [30],
        "results": [{"alert_codes": [1]}, {"alert_codes": [2]}, {"alert_codes": [1]}],
        "nameless": "without an event_id it could be stored twice",
        "refused": 409,
        "away": 503,
    }
    assert server.authorized == {"Bearer tak_1"}
    assert server.received == [["one"]] * 5 + [["a", "b", "c"], ["b"]] + [["refused"]] + [["away"]] * 6
    assert len(waits) == 4 + 1 + 5
    assert waits[3] == 7
    assert all(wait > 0 for wait in waits)
