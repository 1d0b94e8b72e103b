"""What can be heard, seen and read elsewhere of a training."""

import contextlib
import importlib.machinery
import sys
import types
from typing import ClassVar

import keras
import pytest
import small_dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from speech_enhancement.training import callbacks


@pytest.fixture
def command(tmp_path):
    return [
        *("--mode", "training", "--model", "dncnn", "--name_model", "net", "--epochs", "1"),
        *("--hyperparameter", "filters=16", "depth=3", "--batch_size", "4"),
        *("--path_save_spectrogram", small_dataset.save(tmp_path / "windows")),
        *("--weights_folder", tmp_path / "weights", "--run_dir", tmp_path / "runs"),
    ]


class Metrics(keras.callbacks.Callback):
    """Stands for a callback of another program."""

    seen: ClassVar[list[dict[str, float]]] = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(dict(logs))


@pytest.fixture
def programs(monkeypatch):
    """Modules like those of W&B and MLflow, and the names of what was called."""
    called = []

    @contextlib.contextmanager
    def started(**options):
        called.append(options)
        yield
        called.append("ended")

    modules = {name: types.ModuleType(name) for name in ("wandb", "mlflow", "mlflow.keras")}
    modules["wandb.integration"] = types.ModuleType("wandb.integration")
    modules["wandb.integration.keras"] = types.ModuleType("wandb.integration.keras")
    for name, module in modules.items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    modules["wandb"].init = modules["mlflow"].start_run = started
    modules["wandb.integration.keras"].WandbMetricsLogger = Metrics
    modules["mlflow"].keras = modules["mlflow.keras"]
    modules["mlflow"].set_experiment = called.append
    modules["mlflow"].log_dict = lambda content, name: called.append(content["model"])
    modules["mlflow.keras"].MlflowCallback = Metrics
    monkeypatch.setattr(Metrics, "seen", [])
    return called


def test_examples_are_heard_and_seen_and_the_course_is_reported(
    command, programs, tmp_path, run_main
):
    outcome = run_main(*command, "--examples_every", "1", "--track", "wandb", "mlflow")
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "runs/net" / callbacks.TENSORBOARD / "examples"
    log = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    names = [f"example_{i}{n}" for i in range(3) for n in ("", "/noisy", "/estimate", "/clean")]
    assert sorted(log.Tags()["tensors"]) == sorted(names)
    assert programs[0]["name"] == "net" and programs[0]["config"]["model"] == "dncnn"
    assert programs[1:] == ["speech_enhancement", {"run_name": "net"}, "dncnn", "ended", "ended"]
    assert [set(logs) >= {"loss", "val_loss"} for logs in Metrics.seen] == [True, True]


def test_a_program_that_is_not_installed_is_missed_before_the_training(
    command, tmp_path, run_main, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    outcome = run_main(*command, "--track", "mlflow")
    assert outcome.code == 1
    assert outcome.err == "error: --track mlflow needs the package mlflow: pip install mlflow\n"
    assert not (tmp_path / "runs" / "net").exists()
