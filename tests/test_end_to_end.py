"""Every mode through the command line, one after another, on the demonstration recordings."""

import dataclasses
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import small_dataset
import small_networks
import soundfile

from speech_enhancement import registry
from speech_enhancement.cli import main
from speech_enhancement.datasets.stored import StoredWindows
from speech_enhancement.files import audio_io
from speech_enhancement.inference import keras_archive, runtime
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.signal import dsp
from speech_enhancement.training import callbacks

REPOSITORY = Path(__file__).resolve().parent.parent
EPOCHS = 3
NOISY = sorted((REPOSITORY / "demo_data" / "noisy").iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all modes of this module leave what the next one needs."""
    return tmp_path_factory.mktemp("end_to_end")


@pytest.fixture(scope="module")
def windows(folder):
    """Folder of training windows that data_creation made."""
    code = main.main(
        [
            *("--mode", "data_creation", "--nb_samples", "50", "--workers", "1"),
            *("--test_split", "0.1"),
            *("--voice_dir", str(REPOSITORY / "demo_data/voices")),
            *("--noise_dir", str(REPOSITORY / "demo_data/noises")),
            *("--path_save_spectrogram", str(folder / "spectrogram")),
            *("--path_save_time_serie", str(folder / "time_serie")),
            *("--path_save_sound", str(folder / "sound")),
            *("--cache_dir", str(folder / "cache")),
        ]
    )
    assert code == 0
    return folder / "spectrogram"


@pytest.fixture(scope="module")
def training_command(folder, windows):
    """Arguments of a small training, but for the name of the network."""
    (folder / "small.json").write_text(
        json.dumps({"model": "unet", "values": {"base_filters": 8, "depth": 2}})
    )
    return [
        *("--mode", "training", "--epochs", str(EPOCHS), "--batch_size", "5"),
        *("--path_save_spectrogram", str(windows), "--hyperparameters", str(folder / "small.json")),
        *("--weights_folder", str(folder / "weights"), "--run_dir", str(folder / "runs")),
    ]


@pytest.fixture(scope="module")
def trained(folder, training_command):
    """Path, without a suffix, of a network that was trained without interruption."""
    assert main.main([*training_command, "--name_model", "whole"]) == 0
    return folder / "weights" / "whole"


def read_log(folder, name):
    return callbacks.read_log(folder / "runs" / name / callbacks.LOG)


def test_the_windows_are_mixtures_of_the_recordings(windows):
    noisy = np.load(windows / "noisy_voice_amp_db.npy", mmap_mode="r")
    voice = np.load(windows / "voice_amp_db.npy", mmap_mode="r")
    assert noisy.shape == voice.shape == (50, 128, 128)
    assert np.mean(noisy >= voice - 6.1) > 0.8


def test_training_leaves_network_twin_card_logs_and_curve(folder, trained):
    for suffix in (".keras", ".onnx", ".json"):
        assert trained.with_suffix(suffix).stat().st_size > 500
    run = folder / "runs" / "whole"
    assert (run / "loss.png").is_file()
    assert list((run / "tensorboard").rglob("events*"))
    log = read_log(folder, "whole")
    assert [row["epoch"] for row in log] == list(range(EPOCHS))
    assert log[-1]["loss"] < log[0]["loss"]


def test_prediction_keeps_length_rate_and_channels(folder, trained, run_main):
    outcome = run_main(
        *("--mode", "prediction", *NOISY, "--dir_save_prediction", folder / "denoised"),
        *("--weights_folder", trained.parent, "--name_model", trained.name),
    )
    assert outcome.code == 0
    for path in NOISY:
        (denoised,) = (folder / "denoised").rglob(f"{path.stem}*.wav")
        noisy, result = soundfile.info(path), soundfile.info(denoised)
        for fact in ("samplerate", "frames", "channels", "subtype"):
            assert getattr(noisy, fact) == getattr(result, fact)
        assert dsp.active_rms(*audio_io.load_audio(denoised)) > 0


@pytest.fixture
def evaluate(folder, trained, run_main):
    """A function (folder of stored windows, options...) that scores `trained` on its test split."""

    def run(windows, *options):
        return run_main(
            *("--mode", "evaluation", "--clean_dir", folder / "sound" / "test" / "clean"),
            *("--noisy_dir", folder / "sound" / "test" / "noisy", "--test_windows", windows),
            *("--weights_folder", trained.parent, "--report_dir", folder / "evaluation"),
            *("--metrics", "si_sdr", "pesq", "--no-measure_cost", *options),
        )

    return run


def test_the_test_split_gives_loss_scores_and_a_page(folder, windows, trained, evaluate):
    outcome = evaluate(windows, "--models", trained.name)
    assert outcome.code == 0, outcome.err
    report = json.loads((folder / "evaluation" / "report.json").read_text())
    known = report["losses"][trained.name]
    assert known["windows"] == 5
    card = ModelCard.beside(trained)
    assert known["validation"] == card.training["losses"]["val_loss"]
    noisy, target = StoredWindows(windows, "test", card.features, 5)[0]
    estimate = runtime.load_network(trained, card, "onnx")(noisy)
    loss = registry.resolve(registry.LOSSES, "loss", known["loss_function"])()
    assert known["test"] == pytest.approx(float(loss(target, estimate)), rel=1e-3)
    assert {"si_sdr", "pesq"} <= set(report["scores"][trained.name])
    assert f"{trained.name}: loss on the test split: {known['test']:.4g}" in outcome.out
    assert "## Loss on the test split" in (folder / "evaluation" / "report.md").read_text()
    page = (folder / "evaluation" / "listen" / "index.html").read_text()
    assert page.count("<audio") == 3 * page.count("<section")  # clean, noisy and denoised


def test_a_network_of_another_geometry_has_scores_and_no_loss(folder, windows, evaluate):
    stem = small_networks.save_stream(folder / "weights")
    outcome = evaluate(windows, "--models", stem.name, "--limit", 1, "--listen", 0)
    assert outcome.code == 0, outcome.err
    assert "it was made for windows of another geometry" in outcome.out


def test_windows_without_a_test_split_are_refused(tmp_path, trained, evaluate):
    outcome = evaluate(small_dataset.save(tmp_path), "--models", trained.name)
    assert outcome.code == 1
    assert "has no test split: create the windows with --test_split" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_killed_training_goes_on_as_if_it_had_not_been(folder, training_command, trained):
    run = folder / "runs" / "killed"
    command = [*training_command, "--name_model", "killed", "--epochs"]
    kill_after_first_epoch([*command, "1000"], run)
    assert not (folder / "weights" / "killed.keras").exists()

    begun = callbacks.interrupted_epoch(run)
    assert main.main([*command, str(begun + 1), "--resume"]) == 0

    resumed = read_log(folder, "killed")
    assert [row["epoch"] for row in resumed] == list(range(begun + 1))
    for expected, row in zip(read_log(folder, "whole"), resumed, strict=False):
        assert row == pytest.approx(expected, rel=1e-3)


def test_a_new_training_goes_on_from_weights_and_optimizer(folder, training_command):
    path = folder / "weights" / "twice.keras"
    command = [*training_command, "--name_model", "twice", "--epochs", "1", "--save_optimizer"]
    assert main.main(command) == 0
    assert float(keras_archive.load(path, compile=True).optimizer.iterations) > 0
    assert main.main([*command, "--no-training_from_scratch"]) == 0
    first = read_log(folder, "whole")[0]
    assert read_log(folder, "twice")[0]["loss"] < first["loss"]


def kill_after_first_epoch(command, run_folder):
    """Start a training in a process of its own and kill it once it has kept an epoch."""
    process = subprocess.Popen(
        [sys.executable, "main.py", *command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while not callbacks.interrupted_epoch(run_folder):
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_there_is_nothing_to_resume(training_command, run_main, folder):
    outcome = run_main(*training_command, "--name_model", "never_started", "--resume")
    assert outcome.code == 1
    assert "No interrupted training to resume" in outcome.err
    assert not (folder / "runs" / "never_started").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp"])
def test_no_name_leads_out_of_the_folders(name, training_command, trained, run_main, folder):
    outcome = run_main(*training_command, "--name_model", name)
    assert outcome.code == 2
    assert outcome.err == f"error: `name_model` must be the name of a file. Received: {name}\n"
    assert (folder / "runs" / "whole").is_dir()


def test_a_training_that_diverges_leaves_no_network(training_command, run_main, folder):
    outcome = run_main(
        *(*training_command, "--name_model", "nan", "--epochs", "1"),
        *("--learning_rate", "1e30", "--max_windows", "10"),
    )
    assert outcome.code == 1
    assert "The loss became NaN" in outcome.err
    assert not [*(folder / "weights").glob("nan.*")]


def test_scores_without_their_package_are_missed_at_once(
    training_command, run_main, folder, monkeypatch
):
    monkeypatch.setitem(sys.modules, "pesq", None)
    outcome = run_main(*training_command, "--name_model", "unscored", "--evaluate_every", "1")
    assert outcome.code == 1
    assert outcome.err.startswith("error: Scores need pesq")
    assert not (folder / "runs" / "unscored" / callbacks.LOG).exists()


def test_a_training_that_cannot_begin_leaves_the_last_one(training_command, trained, run_main):
    outcome = run_main(
        *training_command,
        "--name_model",
        "whole",
        "--no-training_from_scratch",
        "--hyperparameter",
        "depth=3",
    )
    assert outcome.code == 2, outcome.err
    assert (trained.parent.parent / "runs" / "whole" / callbacks.LOG).is_file()


def test_evaluation_scores_what_was_trained(folder, trained, run_main):
    outcome = run_main(
        *("--mode", "evaluation", "--clean_dir", NOISY[0].parent.parent / "clean"),
        *("--noisy_dir", NOISY[0].parent, "--metrics", "si_sdr", "stoi", "--systems", "wiener"),
        *("--weights_folder", trained.parent, "--name_model", trained.name),
        *("--report_dir", folder / "report", "--no-measure_cost", "--worst", "1"),
    )
    assert outcome.code == 0
    report = (folder / "report" / "report.md").read_text()
    for system in ("noisy", "wiener", trained.name):
        assert system in report.lower()
        assert system in outcome.out.lower()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")
def test_a_model_of_one_entry_in_the_registry_works_in_every_mode(
    windows, tmp_path, run_main, monkeypatch
):
    monkeypatch.setitem(registry.MODELS, "toy", "test_models:Toy")
    data = ("--path_save_spectrogram", windows, "--batch_size", "5", "--epochs", "1")
    weights = ("--weights_folder", tmp_path, "--name_model", "mine")
    sound = NOISY[0].read_bytes()
    commands = {
        "tuning": (*data, "--model", "toy", "--tuner", "random", "--max_trials", "1"),
        "training": (*data, *weights, "--model", "toy"),
        "prediction": (*weights, NOISY[0], "--audio_output_prediction", tmp_path / "clean.wav"),
        "evaluation": (*weights, "--metrics", "si_sdr", "--no-measure_cost", "--worst", "0"),
        "export": (*weights, "--formats", "onnx"),
        "streaming": (*weights, "-", "--raw_format", "s16,16000"),
    }
    folders = {
        "tuning": ("--dir_tuning", tmp_path),
        "training": ("--run_dir", tmp_path / "runs"),
        "evaluation": (
            *("--clean_dir", NOISY[0].parent.parent / "clean", "--noisy_dir", NOISY[0].parent),
            *("--report_dir", tmp_path / "report", "--limit", "1"),
        ),
        "export": ("--export_dir", tmp_path / "export"),
    }
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sound)))
    for mode, options in commands.items():
        if mode == "streaming":
            monkeypatch.setattr(sys, "stdout", out)
        outcome = run_main("--mode", mode, *options, *folders.get(mode, ()))
        assert outcome.code == 0, (mode, outcome.err)
    assert (tmp_path / "toy" / "best_hyperparameters.json").is_file()
    assert soundfile.info(tmp_path / "clean.wav").frames == soundfile.info(NOISY[0]).frames
    assert "| mine |" in (tmp_path / "report" / "report.md").read_text()
    assert (tmp_path / "export" / "mine.onnx").is_file()
    assert len(out.buffer.getvalue()) == len(sound) // 2 * 2


def test_training_in_parts(tmp_path, run_main):
    """On two data sets together, and on a third one in a later session."""
    parts = [small_dataset.save(tmp_path / name) for name in ("first", "second", "third")]
    command = [
        *("--mode", "training", "--epochs", "1", "--batch_size", "4", "--name_model", "parts"),
        *("--weights_folder", tmp_path / "weights", "--run_dir", tmp_path / "runs"),
        *("--hyperparameter", "base_filters=8", "depth=2"),
    ]
    outcome = run_main(*command, "--path_save_spectrogram", *parts[:2])
    assert outcome.code == 0, outcome.err
    assert "16 training and 8 validation windows" in outcome.out
    first = keras.models.load_model(tmp_path / "weights/parts.keras").get_weights()
    later = ("--no-training_from_scratch", "--learning_rate", "1e-7")
    outcome = run_main(*command, *later, "--path_save_spectrogram", parts[2])
    assert outcome.code == 0, outcome.err
    second = keras.models.load_model(tmp_path / "weights/parts.keras").get_weights()
    assert any((a != b).any() for a, b in zip(first, second, strict=True))
    for a, b in zip(first[:2], second[:2], strict=True):  # the kernel and bias of a convolution
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_data_sets_of_two_geometries_are_not_mixed(tmp_path, run_main):
    other = dataclasses.replace(small_dataset.AUDIO, frame_length=768)
    folders = small_dataset.save(tmp_path / "a"), small_dataset.save(tmp_path / "b", other)
    outcome = run_main("--mode=training", "--path_save_spectrogram", *folders)
    assert outcome.code == 1 and "must have the same geometry" in outcome.err
