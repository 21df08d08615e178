"""What the embedded PostgreSQL left below /var/lib for data folders and programs that are gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from database import embedded_leftovers as leftovers


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where such folders are, in place of /var/lib."""
    folder = tmp_path / "lib"
    folder.mkdir()
    monkeypatch.setattr(leftovers, "HOMES", folder)
    monkeypatch.setattr(leftovers, "_MOUNTS", tmp_path / "fstab")
    return folder


def a_home(made_for: Path) -> Path:
    """A folder made for `made_for`, with something in it."""
    home = leftovers.home_path(made_for)
    (home / "postgres").mkdir(parents=True)
    (home / leftovers.MADE_FOR).write_text(f"{made_for}\n")
    return home


def test_what_is_gone_is_removed(homes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Only what was made for a folder that is no more is removed, and that is said."""
    kept, gone = a_home(tmp_path), a_home(tmp_path / "clone" / ".local")
    leftovers.remove()
    assert (kept.exists(), gone.exists()) == (True, False)
    assert capfd.readouterr().err == f"Removed {gone}: {tmp_path}/clone/.local, which it was made for, is gone.\n"


def test_a_removal_that_was_cut_short(homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place is free at once, and what is left of it is removed at the next start."""
    gone = a_home(tmp_path / "clone")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        leftovers.remove()
    assert not gone.exists()
    assert list(homes.iterdir()) != []
    leftovers.remove()
    assert list(homes.iterdir()) == []


def test_what_is_not_ours_stays(homes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A folder that says nothing, or names another place than it was made for, is left alone."""
    silent, renamed = homes / "transaction-alerts-1", a_home(tmp_path / "gone")
    silent.mkdir()
    renamed = renamed.rename(homes / "transaction-alerts-2")
    leftovers.remove()
    assert (silent.exists(), renamed.exists(), capfd.readouterr().err) == (True, True, "")


def test_a_disk_that_is_not_mounted(homes: Path, tmp_path: Path) -> None:
    """A data folder on a disk that is only not mounted now may come back."""
    (tmp_path / "fstab").write_text(f"# disks\n/dev/sdb1 {tmp_path}/disk ext4 defaults 0 2\n")
    away, gone = a_home(tmp_path / "disk" / "data"), a_home(tmp_path / "data")
    leftovers.remove()
    assert (away.exists(), gone.exists()) == (True, False)


def test_a_disk_that_nothing_lists(homes: Path) -> None:
    """The same goes for what is below the folders where disks are mounted by hand."""
    home = a_home(Path("/mnt/no-such-disk/data"))
    leftovers.remove()
    assert home.exists()


def test_a_folder_that_is_hidden(homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an empty folder is mounted over the one above, nobody can say what is below; where files are, one can."""
    above = tmp_path / "root"
    above.mkdir()
    home = a_home(above / "clone" / ".local")
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == above)
    leftovers.remove()
    assert home.exists()
    (above / ".profile").touch()
    leftovers.remove()
    assert not home.exists()


def test_a_disk_that_cannot_be_read(homes: Path, tmp_path: Path) -> None:
    """An error while looking for the folder is no proof that it is gone."""
    (tmp_path / "loop").symlink_to("loop")
    home = a_home(tmp_path / "loop" / "data")
    leftovers.remove()
    assert home.exists()


def test_what_is_in_use_stays(homes: Path, tmp_path: Path) -> None:
    """Programs and data of a PostgreSQL that still runs are left to it."""
    home = a_home(tmp_path / "gone")
    wait = [sys.executable, "-c", "print(flush=True); import sys; sys.stdin.read()", str(home / "postgres")]
    with subprocess.Popen(wait, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        process.stdout.readline()
        leftovers.remove()
        assert home.exists()
        process.stdin.close()
    leftovers.remove()
    assert not home.exists()
