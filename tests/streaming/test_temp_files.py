"""Temporary files: the user's own folder, and what is left of processes that are gone."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streaming.temp_files import create, own_folder, sweep, sweep_once, unlink_same

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there the system keeps files that are open")

HOLDER = """
import sys, time
from pathlib import Path
from streaming.temp_files import create, own_folder
print(create(own_folder(Path(sys.argv[1])))[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return own_folder(tmp_path)


@pytest.fixture
def holder(tmp_path):
    """A living process that has one file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def file_of(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def test_the_folder_is_the_users_own(tmp_path):
    folder = own_folder(tmp_path / "not" / "yet")
    assert folder.is_relative_to(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert own_folder(tmp_path / "not" / "yet") == folder


def test_it_is_in_the_systems_folder_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert own_folder() == own_folder(tmp_path)


def test_a_folder_that_others_could_look_into_is_closed_to_them(folder, tmp_path):
    folder.chmod(0o755)
    assert own_folder(tmp_path).stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(folder, tmp_path):
    os.chown(folder, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        own_folder(tmp_path)


def test_a_link_in_the_folders_place_is_refused(folder, tmp_path):
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="is not a folder"):
        own_folder(tmp_path)


def test_a_file_is_for_its_user_alone(folder):
    descriptor, path = create(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_files_of_living_processes_stay(folder, holder):
    path = file_of(holder)
    mine, my_path = create(folder)
    assert sweep(folder) == 0
    assert path.exists()
    assert my_path.exists()
    os.close(mine)


def test_the_file_of_a_killed_process_goes(folder, holder):
    path = file_of(holder)
    holder.kill()
    holder.wait()
    assert path.exists()
    assert sweep(folder) == 1
    assert not path.exists()


def test_files_that_are_to_be_kept_and_files_of_others_stay(folder):
    descriptor, kept = create(folder, keep=True)
    os.close(descriptor)
    foreign = folder / "notes.txt"
    foreign.touch()
    assert sweep(folder) == 0
    assert kept.exists()
    assert foreign.exists()


def test_what_is_no_file_is_left(folder, tmp_path):
    (folder / "stream-folder.part").mkdir()
    target = tmp_path / "target"
    target.touch()
    (folder / "stream-link.part").symlink_to(target)
    assert sweep(folder) == 0
    assert target.exists()


def test_a_folder_that_is_gone_is_swept(folder):
    folder.rmdir()
    assert sweep(folder) == 0


def test_a_process_sweeps_a_folder_once(folder):
    sweep_once(folder)
    descriptor, path = create(folder)
    os.close(descriptor)
    sweep_once(folder)
    assert path.exists()


def test_many_sweeps_at_once_beside_files_that_are_made(folder):
    stale = [create(folder) for _ in range(50)]
    for descriptor, _ in stale:
        os.close(descriptor)
    done = threading.Event()

    def sweep_on() -> int:
        count = 0
        while not done.is_set():
            count += sweep(folder)
        return count + sweep(folder)

    with ThreadPoolExecutor(3) as pool:
        sweeps = [pool.submit(sweep_on) for _ in range(3)]
        try:
            for _ in range(200):
                descriptor, path = create(folder)
                assert unlink_same(descriptor, path)  # it was still there, and the very one
                os.close(descriptor)
        finally:
            done.set()
        removed = sum(sweep.result(10) for sweep in sweeps)
    assert removed >= 50
    assert not list(folder.iterdir())


def test_another_file_of_the_same_name_is_not_removed(folder):
    descriptor, path = create(folder)
    path.unlink()
    assert not unlink_same(descriptor, path)
    path.touch()
    assert not unlink_same(descriptor, path)
    assert path.exists()
    os.close(descriptor)
