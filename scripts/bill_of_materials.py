"""Write what the service is made of, as CycloneDX: `make sbom`.

It lists the packages that are locked in requirements.txt, with their hashes, and the npm packages of which parts are in
routes/static/desk/vendor. The same lock gives the same file.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.vendor_assets import FILES, PACKAGES, VENDOR
from version import VERSION

ROOT = Path(__file__).resolve().parent.parent
NAME = "sbom.cdx.json"
LICENCES = {"htmx.org": "0BSD", "uplot": "MIT", "lucide-static": "ISC"}


def main() -> None:
    """Write it into the current folder."""
    Path(NAME).write_text(json.dumps(bill(), indent=2, sort_keys=True) + "\n")
    print(f"wrote {NAME}")


def bill() -> dict[str, Any]:
    """The whole document. Raises CalledProcessError if the library cannot read the lock."""
    # A test validates the whole document, which takes the library ten times as long as making it.
    options = ["--output-reproducible", "--no-validate"]
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", *options, "requirements.txt"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    document: dict[str, Any] = json.loads(found)
    document["components"] += [_vendored(name) for name in sorted(vendored())]
    whole = {"type": "application", "bom-ref": "transaction-alerts", "name": "transaction-alerts", "version": VERSION}
    document["metadata"]["component"] = whole
    parts = [component["bom-ref"] for component in document["components"]]
    document["dependencies"] = [{"ref": whole["bom-ref"], "dependsOn": parts}, *({"ref": part} for part in parts)]
    return document


def vendored() -> set[str]:
    """The npm packages of which something is in the folder of the desk."""
    return {path.partition("/")[0] for path, target in FILES.items() if target.parent == VENDOR}


def _vendored(name: str) -> dict[str, Any]:
    reference = f"pkg:npm/{name}@{PACKAGES[name]}"
    return {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": PACKAGES[name],
        "purl": reference,
        "licenses": [{"license": {"id": LICENCES[name]}}],
    }


if __name__ == "__main__":
    main()
