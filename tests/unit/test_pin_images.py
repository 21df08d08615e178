"""`make images`: the images that ours are built on, by digest."""

import re
import shutil
from pathlib import Path

import pytest

from scripts.pin_images import PLACES, main
from tests.service import ROOT

# Knows one digest for each image, as long as the folder has it.
DOCKER = """#!/bin/sh
echo "$*" >> "$ASKED"
test "$1 $2 $3 $5 $6" = "buildx imagetools inspect --format {{.Manifest.Digest}}" && cat "$DIGESTS/$4"
"""


@pytest.fixture
def digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the digest of each image, in a file of its name: what a stand-in for Docker knows."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER)
    (tmp_path / "bin/docker").chmod(0o755)
    (tmp_path / "digests").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("DIGESTS", str(tmp_path / "digests"))
    for name in PLACES:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path / "digests"


def test_every_image_of_others_is_named_with_its_digest(digests: Path) -> None:
    """And with the newer one when it is run again; the rest of the files stays as it is."""
    for letter in "ab":
        for name in images():
            (digests / name).write_text(f"sha256:{letter * 64}\n")
        assert main(digests.parent) == 0
        for name in PLACES:
            text = (digests.parent / name).read_text()
            assert f"@sha256:{letter * 64}\n" in text
            assert plain(text) == plain((ROOT / name).read_text())


def test_without_an_answer_nothing_is_written(digests: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One image that is not found, or an answer that is no digest, is enough."""
    for answer in (None, "sha256:abc"):
        for name in images():
            (digests / name).write_text(f"sha256:{'a' * 64}\n")
        if answer is None:
            (digests / images()[-1]).unlink()
        else:
            (digests / images()[-1]).write_text(answer)
        assert main(digests.parent) == 1
        assert images()[-1] in capsys.readouterr().err
        assert {name: (digests.parent / name).read_text() for name in PLACES} == {
            name: (ROOT / name).read_text() for name in PLACES
        }


def test_without_docker(digests: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so."""
    monkeypatch.setenv("PATH", str(digests))
    assert (main(digests.parent), capsys.readouterr().err[:20]) == (1, "Docker cannot be run")


def plain(text: str) -> str:
    """The text without digests."""
    return re.sub(r"@sha256:[0-9a-f]{64}", "", text)


def images() -> list[str]:
    """The images of others that ours are built on, or that run beside them."""
    found = re.findall(r"^ARG \w+_IMAGE=(.+)$", plain((ROOT / "Dockerfile").read_text()), re.MULTILINE)
    found += re.findall(r"image: (postgres:.+)$", plain((ROOT / "docker-compose.yml").read_text()), re.MULTILINE)
    return found


def test_the_images_have_one_name_each() -> None:
    """Both stages are built on one image; tags name a release of it and of its system, never the latest."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    assert [name for name in images() if not re.fullmatch(r"(python|postgres):\d[\d.]*-[a-z-]+", name)] == []
    assert len(images()) == 2
