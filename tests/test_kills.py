"""Trainings that end in the middle of something, and go on as if they had not.

`benchmarks/kills.py` kills processes at random; here, the moments are known.
"""

import itertools

import keras
import numpy as np
import pytest
import small_dataset

from speech_enhancement.inference import network_files, runtime
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.training import backups, callbacks, saving


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return small_dataset.save(tmp_path_factory.mktemp("windows"))


def command(windows, folder):
    """Arguments of the quickest training."""
    return [
        *("--mode", "training", "--model", "dncnn", "--name_model", "net", "--epochs", "2"),
        *("--hyperparameter", "filters=16", "depth=3", "dropout=0.25"),
        *("--path_save_spectrogram", windows, "--batch_size", "4"),
        *("--weights_folder", folder / "weights", "--run_dir", folder / "runs"),
    ]


def weights(folder):
    return keras.models.load_model(folder / "weights" / "net.keras").get_weights()


@pytest.fixture(scope="module")
def undisturbed(windows, tmp_path_factory):
    """Weights of a training that nothing disturbed."""
    from speech_enhancement.cli import main

    folder = tmp_path_factory.mktemp("undisturbed")
    assert main.main([str(argument) for argument in command(windows, folder)]) == 0
    assert not backups.newest(folder / "runs" / "net")
    return weights(folder)


@pytest.mark.parametrize(
    ("module", "function", "files"),
    [
        (saving, "export_onnx", 0),
        (network_files, "complete", 0),
        (backups, "remove", 3),
    ],
    ids=["while it saves", "before the files are moved", "before its backup is deleted"],
)
def test_a_training_that_ends_while_it_saves_is_resumed(
    module, function, files, windows, undisturbed, tmp_path, run_main, monkeypatch
):
    def stop(*arguments):
        if network_files.__name__ == module.__name__ and not list(tmp_path.rglob("*.ready")):
            return
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, function, stop)
        assert run_main(*command(windows, tmp_path)).code == 130
    kept = [path for path in (tmp_path / "weights").iterdir() if path.suffix != ".lock"]
    assert len([path for path in kept if path.is_file()]) == files
    if module is network_files:  # whoever reads the network finds it
        assert runtime.network_path(tmp_path / "weights" / "net").is_file()
    outcome = run_main(*command(windows, tmp_path), "--resume")
    assert outcome.code == 0, outcome.err
    for expected, weight in zip(undisturbed, weights(tmp_path), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6)
    assert ModelCard.load(tmp_path / "weights" / "net.json").training["epochs"] == 2
    assert not [*tmp_path.rglob(".partial*"), *tmp_path.rglob("*.ready")]
    assert not backups.newest(tmp_path / "runs" / "net")


def test_a_training_ends_when_its_time_is_over(windows, tmp_path, run_main, monkeypatch):
    clock = itertools.count(100.0)  # a second each time that somebody asks
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: next(clock))
    rates = []

    class Noted(callbacks.TimeLimit):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            rates.append(float(self.model.optimizer.learning_rate))

    monkeypatch.setattr(callbacks, "TimeLimit", Noted)
    arguments = [*command(windows, tmp_path), "--max_seconds"]
    del arguments[arguments.index("--epochs") : arguments.index("--epochs") + 2]
    arguments += ["40", "--schedule", "cosine"]
    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_network", lambda *arguments, **fields: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_main(*arguments)
    before = len(rates)
    assert 4 <= before < 40
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(1e-3, rel=0.1) and rates[-1] < 2e-5
    used = backups.newest(tmp_path / "runs" / "net").seconds
    assert used >= 40
    arguments[arguments.index("40")] = str(used + 12)
    outcome = run_main(*arguments, "--resume")
    assert outcome.code == 0, outcome.err
    assert 1 <= len(rates) - before <= 12
    assert ModelCard.load(tmp_path / "weights" / "net.json").training["epochs"] > 2
    refused = run_main(*command(windows, tmp_path), "--max_seconds", "40")
    assert refused.code == 2 and "`--epochs` only has an effect without --max" in refused.err


def test_a_training_goes_on_with_its_own_data_and_options_only(tmp_path, run_main, monkeypatch):
    windows = small_dataset.save(tmp_path / "windows")
    arguments = command(windows, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(saving, "export_onnx", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_main(*arguments)
    place = f"error: The training in {tmp_path / 'runs' / 'net'} has "
    for option, values in {
        "--schedule": ("cosine", "`schedule` constant. Received: cosine"),
        "--loss": ("mse", "`loss` log_cosh. Received: mse"),
        "--mixed_precision": (None, "`mixed_precision` False. Received: True"),
    }.items():
        value, sentence = values
        given = [option] if value is None else [option, value]
        outcome = run_main(*arguments, *given, "--resume")
        assert (outcome.code, outcome.err) == (2, f"{place}{sentence}\n")
    del arguments[2:4]  # --model
    small_dataset.save(windows, n_train=9, n_validation=3)
    outcome = run_main(*arguments, "--resume")
    assert outcome.code == 2
    assert outcome.err.startswith(f"{place}`windows` [")
    small_dataset.save(windows)
    outcome = run_main(*arguments, "--resume")
    assert outcome.code == 0, outcome.err
    assert ModelCard.load(tmp_path / "weights" / "net.json").model == "dncnn"


def test_a_damaged_backup_costs_an_epoch(windows, undisturbed, tmp_path, run_main, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(saving, "export_onnx", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_main(*command(windows, tmp_path))
    newest = backups.newest(tmp_path / "runs" / "net").weights
    newest.write_bytes(newest.read_bytes()[:-1])
    outcome = run_main(*command(windows, tmp_path), "--resume")
    assert outcome.code == 0, outcome.err
    assert "is damaged: continuing from the one before it, at epoch 2" in outcome.err
    for expected, weight in zip(undisturbed, weights(tmp_path), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6)
