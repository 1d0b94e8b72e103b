"""What a training must not replace or delete, and who is at work under its name."""

import errno
import json
import os
import subprocess
import sys

import pytest
import small_dataset
from conftest import REPOSITORY

from speech_enhancement.errors import UserError
from speech_enhancement.files import locks
from speech_enhancement.training import callbacks, run_names
from speech_enhancement.training.run_names import Run


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments of the quickest training, but for its folders."""
    windows = small_dataset.save(tmp_path_factory.mktemp("windows"))
    return [
        *("--mode", "training", "--epochs", "1", "--batch_size", "4"),
        *("--model", "dncnn", "--hyperparameter", "filters=16", "depth=3"),
        *("--path_save_spectrogram", windows),
    ]


def folders(tmp_path):
    return ["--weights_folder", tmp_path / "weights", "--run_dir", tmp_path / "runs"]


def content(folder):
    """What each file of a folder holds."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"}


def test_a_bare_training_makes_a_new_network(command, tmp_path, run_main):
    shipped = tmp_path / "weights" / "dncnn_1.json"
    shipped.parent.mkdir()
    shipped.write_text("{}")
    command = [*command, *folders(tmp_path)]
    outcome = run_main(*command)
    assert outcome.code == 0, outcome.err
    assert "dncnn_2.keras" in outcome.out
    assert shipped.read_text() == "{}"
    before = content(tmp_path)
    left = tmp_path / "runs/dncnn_2/.partial-0123456789abcdef"
    left.mkdir()
    os.utime(left, (0, 0))
    outcome = run_main(*command, "--name_model", "dncnn_2")
    assert not left.exists()
    assert outcome.code == 2
    assert outcome.err.startswith("error: `name_model` must be new, and there is ")
    assert "--overwrite" in outcome.err and outcome.err.count("\n") == 1
    assert content(tmp_path) == before
    outcome = run_main(*command, "--name_model", "dncnn_2", "--no-training_from_scratch")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "runs/dncnn_2.1" / callbacks.LOG).is_file()
    (tmp_path / "runs/dncnn_2/mine.txt").touch()
    outcome = run_main(*command, "--name_model", "dncnn_2", "--overwrite")
    assert outcome.code == 0, outcome.err
    assert not (tmp_path / "runs/dncnn_2/mine.txt").exists()


def test_an_interrupted_training_is_not_deleted(command, tmp_path, run_main, monkeypatch):
    monkeypatch.setattr(callbacks, "interrupted_epoch", lambda folder: 3)
    command = [*command, *folders(tmp_path), "--name_model", "mine"]
    for options in ([], ["--no-training_from_scratch"]):
        outcome = run_main(*command, *options)
        assert outcome.code == 2
        assert "--resume" in outcome.err


def test_what_a_training_left_before_it_had_a_network_can_only_be_replaced(
    command, tmp_path, run_main
):
    folder = tmp_path / "runs/mine"
    folder.mkdir(parents=True)
    (folder / callbacks.BEST).touch()
    outcome = run_main(*command, *folders(tmp_path), "--name_model", "mine")
    assert outcome.code == 2
    assert outcome.err == (
        f"error: `name_model` must be new, and there is {folder}, unless --overwrite replaces it. "
        "Received: mine\n"
    )


def test_going_on_needs_a_name_and_overwriting_does_not_go_with_resuming(
    command, tmp_path, run_main
):
    command = [*command, *folders(tmp_path)]
    outcome = run_main(*command, "--no-training_from_scratch")
    assert outcome.code == 2
    assert outcome.err == "error: `name_model` is needed for --no-training_from_scratch\n"
    outcome = run_main(*command, "--resume", "--overwrite")
    assert outcome.code == 2 and "without --resume" in outcome.err
    outcome = run_main(*command, "--resume")
    assert outcome.code == 1
    assert outcome.err.startswith("error: No interrupted training to resume in ")


def test_the_last_interrupted_training_is_resumed_without_its_name(tmp_path, monkeypatch):
    for name in ("unet_2", "unet_10", "unet_11", "unet_best", "lstm_12"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(
        callbacks, "interrupted_epoch", lambda folder: None if folder.name == "unet_11" else 1
    )
    assert run_names.last_interrupted("unet", tmp_path) == "unet_10"


@pytest.mark.parametrize("name", [(), ("--name_model", "mine")], ids=["default", "given"])
def test_networks_and_trainings_may_lie_in_one_folder(command, tmp_path, run_main, name):
    folder = tmp_path / "all"
    outcome = run_main(*command, "--weights_folder", folder, "--run_dir", folder, *name)
    assert outcome.code == 0, outcome.err
    assert (folder / f"{name[1] if name else 'dncnn_1'}.keras").is_file()


HOLD = """
import pathlib, sys
sys.path.insert(0, ".")
from speech_enhancement.files import locks
with locks.holding(pathlib.Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_training_of_a_name_is_refused_until_the_first_has_died(
    command, tmp_path, run_main
):
    run_dir = tmp_path / "runs"
    command = [*command, *folders(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, run_dir / ".dncnn_1.lock"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as first:
        assert first.stdout.readline() == b"held\n"
        before = content(tmp_path)
        outcome = run_main(*command, "--name_model", "dncnn_1", "--overwrite")
        assert outcome.code == 1
        name = f"The name dncnn_1 in {run_dir}"
        who = f"process {first.pid} on {os.uname().nodename} since 2"
        assert outcome.err.startswith(f"error: {name} is in use by {who}")
        assert content(tmp_path) == before
        new = Run(weights_folder=tmp_path / "weights", run_dir=run_dir)
        with run_names.claimed(new, "dncnn") as run:
            assert run.name == "dncnn_2"
        first.kill()
    note = json.loads((run_dir / ".dncnn_1.json").read_text())
    assert note["pid"] == first.pid
    with run_names.claimed(new.named("dncnn_1"), "dncnn") as run:
        assert run.name == "dncnn_1"
    assert not (run_dir / ".dncnn_1.json").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"Cannot write .*file"),
        locks.holding(tmp_path / "file" / ".x.lock", "x"),
    ):
        pass


@pytest.mark.parametrize("error", [OSError(errno.ENOTSUP, "no"), NotImplementedError("no")])
def test_a_file_system_without_locks_is_used_without_them(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(locks.filelock.FileLock, "acquire", fail)
    with locks.holding(tmp_path / ".x.lock", "x"), locks.holding(tmp_path / ".x.lock", "x"):
        assert (tmp_path / ".x.json").is_file()
