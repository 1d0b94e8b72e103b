"""A command ends in silence or in a sentence whenever it is stopped, and needs no open streams.

The kind: what happens to a process before and around its work, where no code of a mode is there yet
to answer it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile
from conftest import REPOSITORY

STOPS = (signal.SIGINT, signal.SIGTERM)
# Loaded by every Python that finds it. It stops the process when a module is imported: that of the
# command, or one that it starts.
STOPPER = """
import os, sys

class Stopper:
    def find_spec(name, path=None, target=None):
        is_child = "spawn_main" in " ".join(sys.orig_argv)
        if name == os.environ["STOP_AT"] and is_child == ("STOP_CHILD" in os.environ):
            sys.meta_path.remove(Stopper)
            os.kill(os.getpid(), int(os.environ["STOP"]))

sys.meta_path.insert(0, Stopper)
"""


def denoise_hum(
    folder: Path, *options: str, prefix: Sequence[str] = (), **settings: object
) -> subprocess.CompletedProcess:
    """Denoise a demonstration recording to `folder`/out, as a user does."""
    source = REPOSITORY / "demo_data" / "noisy" / "hum.wav"
    command = [sys.executable, "main.py", source, "--dir_save_prediction", folder / "out", *options]
    return subprocess.run([*prefix, *command], cwd=REPOSITORY, timeout=120, **settings)  # type: ignore[call-overload]


def without_streams(numbers: str) -> list[str]:
    """The words before a command that close its streams `numbers`, such as "0 1".

    A shell closes them, since this process may not fork once JAX has started its threads.
    """
    closed = " ".join(f"{number}>&-" for number in numbers.split())
    return ["sh", "-c", f'exec "$@" {closed}', "sh"]


def stopper(folder: Path, stop: signal.Signals, module: str) -> dict[str, str]:
    """The environment of a process that is stopped when it imports a module."""
    (folder / "sitecustomize.py").write_text(STOPPER)
    return {**os.environ, "PYTHONPATH": str(folder), "STOP_AT": module, "STOP": str(int(stop))}


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize(
    "module", ["speech_enhancement", "argparse", "numpy", "datetime", "soundfile", "onnxruntime"]
)
def test_a_stop_while_a_module_loads_is_no_error_of_that_module(module, stop, tmp_path):
    done = denoise_hum(tmp_path, env=stopper(tmp_path, stop, module), capture_output=True)
    silent, told = (-stop, b""), (130, b"error: stopped by the user\n")
    assert (done.returncode, done.stderr) in (silent, told)
    assert not any(tmp_path.glob("out/*.wav"))


def test_ctrl_c_in_a_terminal_is_answered_once_however_young_the_processes_are(tmp_path):
    environment = {**stopper(tmp_path, signal.SIGINT, "numpy"), "STOP_CHILD": "1"}
    done = denoise_hum(tmp_path, "--format=mp3", env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")  # it is for the parent to answer


# A stop while libsndfile reads a file through Python, which it does where the header is unfinished.
STOPPED_READING = """
import os, signal
from speech_enhancement.__main__ import run
from speech_enhancement.files import unfinished

def stop(file, buffer):
    unfinished.PatchedFile.readinto = read
    os.kill(os.getpid(), signal.SIGINT)
    return read(file, buffer)

read, unfinished.PatchedFile.readinto = unfinished.PatchedFile.readinto, stop
run()
"""


def test_a_stop_while_native_code_reads_is_not_lost(tmp_path):
    data = (REPOSITORY / "demo_data" / "noisy" / "hum.wav").read_bytes()
    place = data.index(b"data") + 4
    (tmp_path / "died.wav").write_bytes(data[:place] + bytes(4) + data[place + 4 :])
    command = [sys.executable, "-c", STOPPED_READING, tmp_path / "died.wav"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (130, b"error: stopped by the user\n")


@pytest.mark.parametrize("closed", ["0", "1", "2", "0 1 2"])
def test_streams_that_are_closed_cost_no_result(closed, tmp_path):
    done = denoise_hum(tmp_path, prefix=without_streams(closed))
    assert done.returncode == 0
    assert soundfile.info(tmp_path / "out" / "hum.wav").frames == 54685


@pytest.mark.parametrize("mode", ["--mode=prediction", "--mode=streaming"])
@pytest.mark.parametrize(("number", "name"), [("0", "input to read"), ("1", "output to write")])
def test_a_pipe_that_leads_nowhere_is_refused_in_a_sentence(number, name, mode):
    command = [sys.executable, "main.py", mode, "--raw_format=s16,16000", "-"]
    command = [*without_streams(number), *command]
    done = subprocess.run(command, cwd=REPOSITORY, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 1
    assert done.stderr.decode() == f"error: There is no standard {name}\n"
