"""The tuning mode on a few short windows: its table, its files, resuming, failing, sharing."""

import csv
import json
import os
import socket
import subprocess
import sys
import time

import keras
import keras_tuner
import numpy as np
import pytest
from conftest import REPOSITORY
from small_dataset import AUDIO, save

from speech_enhancement.config import AudioConfig
from speech_enhancement.datasets.stored import StoredWindows
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import locks
from speech_enhancement.models.dncnn import DnCNN
from speech_enhancement.models.dpcrn import DPCRN
from speech_enhancement.models.unet import UNet
from speech_enhancement.signal.features import Features
from speech_enhancement.training import hyperparameters, search, trial_figures

# Keras Tuner's own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")

SMALL = ("filters=16", "depth=3", "loss=mse")


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return save(tmp_path_factory.mktemp("windows"))


def command(windows, folder, *options):
    """Arguments of a short random search of a small DnCNN."""
    return [
        *("--mode", "tuning", "--model", "dncnn", "--tuner", "random", "--epochs", "1"),
        *("--path_save_spectrogram", windows, "--dir_tuning", folder, "--max_trials", "3"),
        *("--hyperparameter", *SMALL, *options),
    ]


def trials_in(folder):
    with (folder / "dncnn/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class TestSearch:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        """Training that is not compiled: these networks see two batches."""
        compile_as_usual = keras.Model.compile
        monkeypatch.setattr(
            keras.Model,
            "compile",
            lambda *args, **kwargs: compile_as_usual(*args, **kwargs, run_eagerly=True),
        )

    @pytest.mark.parametrize("tuner", ["hyperband", "bayesian", "random"])
    def test_leaves_a_table_a_picture_and_the_best_trial(self, tuner, windows, tmp_path, run_main):
        outcome = run_main(*command(windows, tmp_path, "--tuner", tuner))
        assert outcome.code == 0, outcome.err
        rows = trials_in(tmp_path)
        printed = [line.split()[0] for line in outcome.out.splitlines()]
        assert {row["trial"] for row in rows} <= set(printed)
        assert {row["filters"] for row in rows} == {"16"}
        best = json.loads((tmp_path / "dncnn/best_hyperparameters.json").read_text())
        assert best["val_snr"] == max(float(row["val_snr"]) for row in rows)
        assert (tmp_path / "dncnn/trials.png").read_bytes().startswith(b"\x89PNG")

    def test_what_it_found_is_what_training_builds(self, windows, tmp_path, run_main):
        run_main(*command(windows, tmp_path))
        path = tmp_path / "dncnn/best_hyperparameters.json"
        chosen = hyperparameters.choose(DnCNN(AUDIO), path)
        assert chosen.values == json.loads(path.read_text())["values"]
        assert chosen.values["filters"] == 16

    def test_an_interrupted_search_goes_on_where_it_was(
        self, windows, tmp_path, run_main, monkeypatch
    ):
        fit, calls = DnCNN.fit, []

        def interrupted_fit(self, hp, *args, **kwargs):
            calls.append(hp.values["learning_rate"])
            if len(calls) == 2:
                raise KeyboardInterrupt
            return fit(self, hp, *args, **kwargs)

        monkeypatch.setattr(DnCNN, "fit", interrupted_fit)
        assert run_main(*command(windows, tmp_path)).code == 130
        assert (tmp_path / "dncnn/best_hyperparameters.json").exists()
        outcome = run_main(*command(windows, tmp_path, "--resume"))
        assert outcome.code == 0, outcome.err
        assert [row["status"] for row in trials_in(tmp_path)] == ["completed"] * 3
        assert len(calls) == 4
        assert calls[1] == calls[2]

    def test_a_search_is_neither_overwritten_nor_mixed_with_another(
        self, windows, tmp_path, run_main
    ):
        run_main(*command(windows, tmp_path))
        again = run_main(*command(windows, tmp_path))
        assert again.code == 1
        assert "--resume" in again.err
        other = run_main(*command(windows, tmp_path, "--resume", "--target", "clean"))
        assert other.code == 2
        assert "has `target` noise_db. Received: clean" in other.err

    def test_a_failed_trial_does_not_end_the_search(self, windows, tmp_path, run_main, monkeypatch):
        fit, calls = DnCNN.fit, []

        def failing_fit(self, hp, *args, **kwargs):
            calls.append(hp)
            if len(calls) == 1:
                raise ValueError("out of luck")
            return fit(self, hp, *args, **kwargs)

        monkeypatch.setattr(DnCNN, "fit", failing_fit)
        outcome = run_main(*command(windows, tmp_path))
        assert outcome.code == 0
        assert "ValueError: out of luck" in outcome.out
        assert sorted(row["status"] for row in trials_in(tmp_path)) == [
            *("completed", "completed", "failed")
        ]

    def test_a_search_without_a_good_trial_is_an_error(
        self, windows, tmp_path, run_main, monkeypatch
    ):
        def failing_fit(*args, **kwargs):
            raise ValueError("out of luck")

        monkeypatch.setattr(DnCNN, "fit", failing_fit)
        outcome = run_main(*command(windows, tmp_path))
        assert outcome.code == 1
        assert outcome.err == "error: All 3 trials failed: ValueError: out of luck\n"
        assert not (tmp_path / "dncnn/best_hyperparameters.json").exists()

    @pytest.mark.filterwarnings("ignore:All-NaN axis:RuntimeWarning:keras_tuner")
    def test_a_search_that_only_diverged_is_an_error(
        self, windows, tmp_path, run_main, monkeypatch
    ):
        monkeypatch.setattr(
            "speech_enhancement.training.data.StoredData.open",
            lambda *_: (Diverging(windows), Diverging(windows)),
        )
        outcome = run_main(*command(windows, tmp_path))
        assert outcome.code == 1
        assert outcome.err == "error: All 3 trials failed: no val_snr was a number\n"
        assert {row["val_snr"] for row in trials_in(tmp_path)} == {""}
        assert not (tmp_path / "dncnn/best_hyperparameters.json").exists()

    def test_every_trial_begins_with_the_same_windows(
        self, windows, tmp_path, run_main, monkeypatch
    ):
        start_epoch, epochs = StoredWindows.start_epoch, []

        def noted(self, epoch):
            if self.shuffle_seed is not None:
                epochs.append(epoch)
            start_epoch(self, epoch)

        monkeypatch.setattr(StoredWindows, "start_epoch", noted)
        assert run_main(*command(windows, tmp_path, "--epochs", "2")).code == 0
        of_a_trial = epochs[1 : 1 + (len(epochs) - 1) // 3]
        assert of_a_trial[0] == 0 and len(of_a_trial) > 2
        assert epochs == [0, *3 * of_a_trial]

    def test_the_learning_rate_can_be_given(self, windows, tmp_path, run_main):
        outcome = run_main(*command(windows, tmp_path), "--learning_rate", "2e-3")
        assert outcome.code == 0, outcome.err
        assert {row["learning_rate"] for row in trials_in(tmp_path)} == {"0.002"}


class Diverging(StoredWindows):
    """Windows that no network learns from."""

    def __init__(self, folder):
        super().__init__(folder, "train", Features(), 4)

    def __getitem__(self, batch):
        noisy, target = super().__getitem__(batch)
        return noisy, target * np.nan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max_trials", "0"], "max_trials"),
        (["--epochs", "0"], "epochs"),
        (["--resume"], "No search to resume"),
        (["--loss", "si_sdr"], "huber, log_cosh, mse, mae"),
        (["--n_mels", "33"], "32 bins"),
        (["--backbone", "resnet50"], "not an option of `dncnn`"),
        (["--exponent", "0.5"], "`exponent` must be 1 unless the representation is magnitude"),
        (["--seed", "-1"], "`--seed` must be a whole number of at least 0. Received: -1"),
        (["--max_windows", "0"], "`--max_windows` must be a whole number of at least 1"),
        (["--learning_rate", "0"], "`--learning_rate` must be a number above 0"),
        (["--schedule", "cosine"], "`--schedule` is an option of --mode training."),
        (["--clean_dir", "x"], "`--clean_dir` is an option of --mode data_creation"),
        (["--sample_rate", "16000"], "is 8000. Received: 16000"),
    ],
)
def test_wrong_options_end_in_one_sentence(options, words, windows, tmp_path, run_main):
    outcome = run_main(*command(windows, tmp_path, *options))
    assert outcome.code in (1, 2)
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "dncnn").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("width=3", "are filters, depth, dropout, l2, loss, learning_rate"),
        ("filters=17", "one of 16, 24, 32, 48, 64"),
        ("depth=3.5", "a whole number from 3 to 20"),
        ("dropout=true", "a number from 0.0 to 0.5"),
        ("filters", "NAME=VALUE"),
    ],
)
def test_a_hyper_parameter_that_the_network_has_not_is_refused(setting, words):
    with pytest.raises(UsageError, match=words):
        hyperparameters.choose(DnCNN(AUDIO), given=dict([hyperparameters.parse(setting)]))


def test_single_values_override_the_file(tmp_path):
    hyper_model = DnCNN(AUDIO)
    hyperparameters.save(tmp_path / "best.json", hyper_model, {"filters": 16, "depth": 3})
    hp = hyperparameters.choose(hyper_model, tmp_path / "best.json", {"depth": 4})
    assert hp.values == {"filters": 16, "depth": 4}
    assert len([x for x in hyper_model.build(hp).layers if "conv2d" in x.name]) == 4


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", UserError),
        ('{"values": {}}', UserError),
        ('{"model": "dncnn", "values": {}, "features": null}', UserError),
        ('{"model": "unet", "values": {}}', UsageError),
        ('{"model": "dncnn", "values": {}, "features": {"target": "clean"}}', UsageError),
    ],
)
def test_a_file_that_is_not_of_this_network_is_refused(content, error, tmp_path):
    path = tmp_path / "best.json"
    path.write_text(content)
    with pytest.raises(error, match=r"best\.json"):
        hyperparameters.choose(DnCNN(AUDIO), path)


def test_values_are_checked_on_the_network_that_they_make():
    shallow = UNet(AudioConfig(8000, 15, 4, 64))
    assert hyperparameters.choose(shallow, given={"depth": 2}).values == {"depth": 2}
    with pytest.raises(UsageError, match="at least 16 x 16"):
        hyperparameters.choose(shallow, given={"depth": 4})
    with pytest.raises(UsageError, match=r"from 16 to 96 in steps of 16\. Received: 56"):
        hyperparameters.choose(DPCRN(), given={"core_channels": 56})


@pytest.mark.parametrize(
    "audio",
    [AudioConfig(), AudioConfig(16000, 512, 128, 32000, "sqrt_hann"), AudioConfig(16000, 512, 256)],
)
def test_dpcrn_refuses_what_it_cannot_resynthesise(audio):
    with pytest.raises(UsageError, match="`dpcrn` needs --data dynamic"):
        DPCRN(audio=audio)


def test_a_missing_file_of_hyper_parameters_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.json"):
        hyperparameters.choose(DnCNN(AUDIO, Features(target="clean")), tmp_path / "none.json")


def test_the_picture_has_a_line_for_each_scored_trial():
    low = np.float64(1.0)  # as Keras Tuner stores a score
    rows = [
        {"trial": "0", "status": "completed", "val_snr": low, "loss": "mse", "rate": 1e-5},
        {"trial": "1", "status": "completed", "val_snr": 3.0, "loss": "mae", "rate": 1e-2},
        {"trial": "2", "status": "failed", "val_snr": None, "loss": "mae", "rate": 1e-3},
    ]
    axis = trial_figures.parallel_coordinates(rows, "val_snr").axes[0]
    lines = [line.get_ydata() for line in axis.lines if len(line.get_xdata()) == 3]
    assert [list(line) for line in lines] == [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]


class TestDistributed:
    def test_some_of_the_variables_are_refused(self, monkeypatch):
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        with pytest.raises(UsageError, match="KERASTUNER_ORACLE_PORT"):
            search.role()

    def test_a_chief_and_two_workers_run_every_trial_though_a_third_dies(self, windows, tmp_path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = {"chief": self.start("chief", port, command(windows, tmp_path))}
        with self.start("dying", port, command(windows, tmp_path)) as dying:
            end = time.monotonic() + 120
            while not (tmp_path / "dncnn/trial_0/trial.json").exists():
                assert time.monotonic() < end
                time.sleep(0.01)
            dying.kill()
        for name in ("worker0", "worker1"):
            processes[name] = self.start(name, port, command(windows, tmp_path))
        outputs = {name: process.communicate(timeout=300)[0] for name, process in processes.items()}
        assert [p.returncode for p in processes.values()] == [0, 0, 0], outputs
        ran = [
            line.split()[0]
            for name in ("worker0", "worker1")
            for line in outputs[name].splitlines()
            if line[:1].isdigit()
        ]
        rows = trials_in(tmp_path)
        assert sorted(ran) == [row["trial"] for row in rows]
        assert [row["status"] for row in rows] == ["completed"] * 3
        assert "Best: trial" in outputs["chief"]
        assert "note: dying has died: trial 0 is given to another worker" in outputs["chief"]

    def start(self, name, port, arguments):
        """One process of the search."""
        address = {
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
            "KERASTUNER_TUNER_ID": name,
        }
        return subprocess.Popen(
            [sys.executable, "main.py", *map(str, arguments)],
            cwd=REPOSITORY,
            env=os.environ | address,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def test_a_fixed_value_is_no_part_of_the_search(tmp_path):
    tuner = search.make_tuner("random", DnCNN(AUDIO), {"depth": 3}, tmp_path / "dncnn", 1, 1, 0)
    fixed = [p for p in tuner.oracle.get_space().space if p.name == "depth"]
    assert isinstance(fixed[0], keras_tuner.engine.hyperparameters.Fixed)


class TestSafety:
    @pytest.fixture(autouse=True)
    def scored(self, monkeypatch):
        """Trials that are scored by what they draw, and not trained."""

        def fit(self, hp, model, *args, **kwargs):
            return float(keras.ops.sum(model.get_weights()[0])) + np.random.rand()

        monkeypatch.setattr(DnCNN, "fit", fit)
        monkeypatch.setattr("speech_enhancement.inference.pictures.save_figure", lambda *_: None)

    def scores(self, folder):
        return {row["trial"]: row["val_snr"] for row in trials_in(folder)}

    @pytest.mark.parametrize(
        ("tuner", "damage"),
        [
            ("random", "oracle.json"),
            ("random", "trial_1/trial.json"),
            ("random", "tuner0.json"),
            ("hyperband", "oracle.json"),
        ],
    )
    def test_damage_costs_a_trial_at_most(self, tuner, damage, windows, tmp_path, run_main):
        options = ["--tuner", tuner, "--epochs", "3", "--max_trials"]
        outcome = run_main(*command(windows, tmp_path / "whole", *options, "4"))
        assert outcome.code == 0, outcome.err
        expected = self.scores(tmp_path / "whole")
        assert run_main(*command(windows, tmp_path, *options, "2")).code == 0
        (tmp_path / "dncnn" / damage).write_text("{")
        outcome = run_main(*command(windows, tmp_path, *options, "4", "--resume"))
        assert outcome.code == 0, outcome.err
        scores = self.scores(tmp_path)
        assert list(scores) == ["0", "1", "2", "3"]
        if damage.startswith("trial_1"):
            assert outcome.err.count(f"{damage} is damaged: continuing with the other trials") == 1
            assert scores.pop("1") == ""
        elif damage == "oracle.json":
            assert f"{damage} is damaged: continuing from the trials" in outcome.err
        assert scores.items() <= expected.items()

    def test_a_trial_that_is_run_again_scores_the_same(
        self, windows, tmp_path, run_main, monkeypatch
    ):
        run_main(*command(windows, tmp_path / "whole"))
        fit, calls = DnCNN.fit, []

        def interrupted_fit(self, *args, **kwargs):
            calls.append(self)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return fit(self, *args, **kwargs)

        monkeypatch.setattr(DnCNN, "fit", interrupted_fit)
        assert run_main(*command(windows, tmp_path)).code == 130
        outcome = run_main(*command(windows, tmp_path, "--resume"))
        assert outcome.code == 0, outcome.err
        assert self.scores(tmp_path) == self.scores(tmp_path / "whole")

    def test_a_second_search_in_a_folder_is_refused(self, windows, tmp_path, run_main):
        assert run_main(*command(windows, tmp_path)).code == 0
        with locks.holding(tmp_path / ".dncnn.lock", "it"):
            outcome = run_main(*command(windows, tmp_path, "--resume"))
        assert outcome.code == 1
        assert outcome.err.startswith(
            f"error: The search in {tmp_path / 'dncnn'} is in use by process {os.getpid()} on "
        )

    def test_hyperband_says_how_many_trials_it_has(self, windows, tmp_path, run_main):
        outcome = run_main(*command(windows, tmp_path, "--tuner", "hyperband", "--max_trials", "6"))
        assert outcome.code == 0
        assert outcome.err.startswith(
            "note: Hyperband with --epochs 1 ends after 1 of the 6 trials: "
        )
        assert "hyperband search of dncnn: 1 trial of" in outcome.out
        assert len(trials_in(tmp_path)) == 1
