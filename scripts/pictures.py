"""Take the pictures of the desk in docs/pictures, of demo data: `make pictures` (needs Chromium, and some minutes).

They are the same each time: the data is seeded, and when it ends, the clock of the browser stands still, and so does
the one by which figures are counted. Other clocks of the service go on; nothing of them is in these pictures.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
SHOWN_AT = "localhost:5000"
UNTIL = "2026-01-31T12:00:00Z"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 600  # seconds
# What is drawn piece by piece, by several threads, differs at rounded corners.
SAME_EACH_TIME = ["--disable-partial-raster", "--num-raster-threads=1", "--disable-gpu"]

WIDE, NARROW = (1280, 800), (390, 844)
TUNED = "/desk/rules/1100?try=2#try"  # with what Linus tried
# By file name: the page, its size, and the colour scheme.
PICTURES = {
    "inbox": ("/desk/", WIDE, "light"),
    "inbox-dark": ("/desk/", WIDE, "dark"),
    "inbox-narrow": ("/desk/", NARROW, "light"),
    "alert": ("/desk/alerts/1225-89-300", (1280, 1000), "light"),
    "alert-dark": ("/desk/alerts/1225-89-300", (1280, 1000), "dark"),
    "alert-narrow": ("/desk/alerts/1225-89-300", NARROW, "dark"),
    "user": ("/desk/users/1225", WIDE, "light"),
    "overview": ("/desk/overview", (1280, 1000), "light"),
    "overview-narrow": ("/desk/overview", NARROW, "dark"),
    "rules": ("/desk/rules", WIDE, "light"),
    "rule": (TUNED, (1280, 1000), "light"),
    "rule-narrow": (TUNED, (390, 1200), "dark"),
    "send": ("/desk/send?type=withdraw&amount=150.00&user_id=7&time=1769860800&event_id=order-17", WIDE, "light"),
    "log": ("/desk/log", WIDE, "light"),
    "log-narrow": ("/desk/log", NARROW, "dark"),
}


def main() -> int:
    """Take all pictures. Returns 0."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        sys.exit("Chromium is missing: make test-browser says what to install")
    FOLDER.mkdir(exist_ok=True)
    with serving() as port, sync_playwright() as playwright:
        # Pages show the address that they are asked for at.
        options = [f"--host-resolver-rules=MAP {SHOWN_AT} 127.0.0.1:{port}"]
        options += SAME_EACH_TIME
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # for root there is none
        browser = playwright.chromium.launch(executable_path=program, args=options)
        for name, (path, size, scheme) in PICTURES.items():
            with looking(browser, size, scheme) as page:
                page.goto(f"http://{SHOWN_AT}{path}", wait_until="networkidle")
                page.screenshot(path=FOLDER / f"{name}.png", animations="disabled", caret="hide")
                print(f"wrote {name}.png")
    return 0


@contextmanager
def serving() -> Iterator[int]:
    """The port of a service on demo data, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pictures ", dir="/tmp") as folder, socket.create_server(("", 0)) as free:
        Path(folder).chmod(0o755)  # who runs PostgreSQL for root enters it too
        port = free.getsockname()[1]
        environment = os.environ | {"DATA_DIR": f"{folder}/data", "BACKEND_PORT": str(port), "TIME_IS_EPOCH": "true"}
        environment.pop("DATABASE_URL", None)
        program = [sys.executable, "-m", "scripts.at_moment", UNTIL]
        command = [*program, "flask", "--app", "app", "demo", "--until", UNTIL]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        free.close()
        with subprocess.Popen([*program, "app"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as one:
            try:
                wait_until_ready(f"http://127.0.0.1:{port}")
                yield port
            finally:
                one.send_signal(signal.SIGINT)


def wait_until_ready(url: str) -> None:
    """Wait until the service takes events. Raises TimeoutError."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            with urlopen(f"{url}/readyz"):
                return
        except URLError:
            time.sleep(0.2)
    raise TimeoutError(url)


@contextmanager
def looking(browser: Browser, size: tuple[int, int], scheme: str) -> Iterator[Page]:
    """A page of a browser in London, when the demo data ends."""
    width, height = size
    with browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        locale="en-GB",
        timezone_id="Europe/London",
        reduced_motion="reduce",
    ) as context:
        page = context.new_page()
        page.clock.set_fixed_time(UNTIL)
        yield page


if __name__ == "__main__":
    sys.exit(main())
