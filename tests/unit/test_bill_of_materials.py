"""`make sbom`: what the service is made of."""

import json
import re

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts.bill_of_materials import bill
from scripts.vendor_assets import PACKAGES, VENDOR
from tests.service import ROOT
from version import VERSION


def test_everything_that_is_locked_is_in_it() -> None:
    """Each package with its version and hashes, and each npm package of the desk; no other. It is valid CycloneDX."""
    document = bill()
    lock = json.loads((ROOT / "Pipfile.lock").read_text())["default"]
    components = {one["purl"]: one for one in document["components"]}
    python = {f"pkg:pypi/{name}@{package['version'].removeprefix('==')}" for name, package in lock.items()}
    npm = {f"pkg:npm/{name}@{PACKAGES[name]}" for name in ("htmx.org", "uplot", "lucide-static")}
    assert {re.sub(r"\?.*", "", purl) for purl in components} == python | npm
    assert len(document["components"]) == len(components)
    for purl, one in components.items():
        if purl.startswith("pkg:pypi/"):
            hashes = [entry["content"] for reference in one["externalReferences"] for entry in reference["hashes"]]
            assert sorted(f"sha256:{value}" for value in hashes) == sorted(lock[one["name"]]["hashes"])
    assert {path.name.partition(".")[0] for path in VENDOR.iterdir()} == {"htmx", "uplot", "icons"}
    assert document["metadata"]["component"]["version"] == VERSION
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    assert bill() == document  # and nothing of the moment is in it
    assert {"serialNumber", "timestamp"} & (document.keys() | document["metadata"].keys()) == set()
