"""Take what the desk's pages load from other projects out of their npm packages: `make assets` (needs npm).

The versions and icons are named here; what it writes is committed, with the licences.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "routes" / "static" / "desk" / "vendor"
TESTS = Path(__file__).resolve().parent.parent / "tests" / "browser" / "vendor"

PACKAGES = {"htmx.org": "4.0.1", "uplot": "1.6.32", "lucide-static": "1.62.0", "axe-core": "4.14.1"}
FILES = {
    "htmx.org/dist/htmx.min.js": VENDOR / "htmx.min.js",
    "htmx.org/LICENSE": VENDOR / "htmx.LICENSE",
    "uplot/dist/uPlot.iife.min.js": VENDOR / "uplot.min.js",
    "uplot/dist/uPlot.min.css": VENDOR / "uplot.min.css",
    "uplot/LICENSE": VENDOR / "uplot.LICENSE",
    "lucide-static/LICENSE": VENDOR / "icons.LICENSE",
    "axe-core/axe.min.js": TESTS / "axe.min.js",
    "axe-core/LICENSE": TESTS / "axe.LICENSE",
}
ICONS = [
    "arrow-down",
    "arrow-up",
    "bell",
    "bookmark",
    "chart-column",
    "check",
    "chevron-left",
    "chevron-right",
    "chevrons-left",
    "circle",
    "circle-alert",
    "circle-check",
    "circle-check-big",
    "circle-dot",
    "clock",
    "download",
    "external-link",
    "eye",
    "eye-off",
    "flag",
    "hand",
    "history",
    "inbox",
    "keyboard",
    "link",
    "list",
    "list-filter",
    "log-out",
    "message-square",
    "moon",
    "printer",
    "rotate-ccw",
    "rows-3",
    "scroll-text",
    "search",
    "send",
    "shield-check",
    "sliders-horizontal",
    "trash-2",
    "triangle-alert",
    "undo-2",
    "user",
    "users",
    "webhook",
    "x",
]


def main() -> None:
    """Fetch the packages and write the files."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = {"dependencies": PACKAGES, "private": True}
        Path(folder, "package.json").write_text(json.dumps(wanted))
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
            cwd=folder,
            check=True,
            stdout=sys.stderr,
        )
        packages = Path(folder, "node_modules")
        for name, path in FILES.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(packages / name, path)
        (VENDOR / "icons.svg").write_text(sprite(packages / "lucide-static" / "icons"))
    _without_source_map(VENDOR / "htmx.min.js")


def sprite(folder: Path) -> str:
    """All icons as symbols of one file; `<use href="icons.svg#name">` draws one in the colour of the text around it."""
    symbols = [_symbol(name, (folder / f"{name}.svg").read_text()) for name in sorted(ICONS)]
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def _symbol(name: str, icon: str) -> str:
    found = re.search(r"<svg[^>]*>(.*)</svg>", icon, re.DOTALL)
    assert found is not None, name
    drawn = re.sub(r"\s+", " ", found[1]).replace("> <", "><").strip()
    look = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
    return f'<symbol id="{name}" viewBox="0 0 24 24" {look}>{drawn}</symbol>'


def _without_source_map(script: Path) -> None:
    # Browsers would ask for it.
    script.write_text(re.sub(r"\n//# sourceMappingURL=.*\s*$", "\n", script.read_text()))


if __name__ == "__main__":
    main()
