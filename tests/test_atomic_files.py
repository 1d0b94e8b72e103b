"""Files and folders that appear whole or not at all, and what killed processes leave of them."""

import os
import subprocess
import sys
import threading
import time

import pytest
from conftest import REPOSITORY

from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic
from speech_enhancement.inference import network_files

WRITE = """
import pathlib, sys
sys.path.insert(0, ".")
from speech_enhancement.files import atomic as atomic_files
folder = pathlib.Path(sys.argv[1])
with atomic_files.replacing(folder / "a.wav"), atomic_files.partial_folder(folder):
    print("writing", flush=True)
    sys.stdin.read()
"""


def make_old(paths):
    for path in paths:
        os.utime(path, (0, 0))


@pytest.mark.skipif(os.name != "posix", reason="there is no lock to tell elsewhere")
def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, tmp_path],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        partial = sorted(tmp_path.iterdir())
        assert len(partial) == 2
        make_old(partial)
        atomic.remove_partial_files(tmp_path)
        assert sorted(tmp_path.iterdir()) == partial
        process.kill()
    atomic.remove_partial_files(tmp_path, untouched_s=1e12)
    assert sorted(tmp_path.iterdir()) == partial
    with atomic.replacing(tmp_path / "b.wav") as temporary:
        temporary.write_bytes(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b.wav"]


def test_what_others_call_partial_is_left(tmp_path):
    names = [".partial-decoding-x", ".partial-corpus", "a.npy.partial"]
    for name in names:
        (tmp_path / name).touch()
    make_old(tmp_path.iterdir())
    atomic.remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_file_is_not_swept_before_it_is_locked(tmp_path):
    end = time.monotonic() + 0.5

    def sweep():
        while time.monotonic() < end:
            atomic.remove_partial_files(tmp_path, untouched_s=-1.0)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    while time.monotonic() < end:
        with atomic.replacing(tmp_path / "a") as temporary:
            assert temporary.exists()
        with atomic.partial_folder(tmp_path) as folder:
            assert folder.is_dir()
    sweeper.join()


def test_the_files_of_a_network_appear_together(tmp_path, monkeypatch):
    for path in (tmp_path / "net.onnx", tmp_path / "net.json"):
        path.write_text("old")

    def fail_after_one():
        with network_files.replacing_network(tmp_path / "net") as folder:
            (folder / "net.onnx").write_text("new")
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        fail_after_one()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "net.onnx": "old",
        "net.json": "old",
    }
    # Killed before the files are moved: the next who comes moves them.
    complete = network_files.complete
    monkeypatch.setattr(network_files, "complete", lambda stem: None)
    with network_files.replacing_network(tmp_path / "net") as folder:
        for name in ("net.onnx", "net.json", "net.keras"):
            (folder / name).write_text("new")
    assert (tmp_path / "net.onnx").read_text() == "old"
    (tmp_path / ".net.ready" / "net.json").replace(tmp_path / "net.json")
    complete(tmp_path / "net")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("net.onnx", "net.json", "net.keras"), "new"
    )
