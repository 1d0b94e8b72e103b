"""Training that goes on with a network: what it takes over, refuses and counts."""

import hashlib
import json
import shutil

import pytest
import small_dataset
from conftest import REPOSITORY


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return small_dataset.save(tmp_path_factory.mktemp("windows"))


@pytest.fixture
def shipped(tmp_path):
    """A folder with the networks that the repository ships, dpcrn and lstm, and a digest of it."""
    for path in (REPOSITORY / "weights").glob("*"):
        if path.stem in ("dpcrn", "lstm") and path.suffix in (".keras", ".onnx", ".json"):
            (tmp_path / "weights").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "weights")
    return tmp_path / "weights"


def digest(folder):
    files = sorted(p for p in folder.glob("[!.]*"))
    return [(p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--sample_rate", "8000"], "`sample_rate` of the network {} is 16000. Received: 8000"),
        (["--model", "unet"], "`model` of the network {} is dpcrn. Received: unet"),
        (
            ["--hyperparameter", "head_size=8"],
            "`head_size` of the network {} is 16. Received: 8",
        ),
    ],
)
def test_another_network_than_that_of_the_card_is_refused(
    options, sentence, shipped, tmp_path, run_main
):
    before = digest(shipped)
    outcome = run_main(
        *("--mode", "training", "--data", "dynamic", "--model", "dpcrn", "--name_model", "dpcrn"),
        *("--voice_dir", REPOSITORY / "demo_data/voices"),
        *("--noise_dir", REPOSITORY / "demo_data/noises", "--cache_dir", tmp_path / "cache"),
        *("--weights_folder", shipped, "--run_dir", tmp_path / "runs"),
        *("--no-training_from_scratch", "--epochs", "1", "--steps_per_epoch", "1", *options),
    )
    assert outcome.code == 2
    assert outcome.err == f"error: {sentence.format(shipped / 'dpcrn')}\n"
    assert digest(shipped) == before
    assert not (tmp_path / "runs" / "dpcrn").exists()


def test_windows_of_another_geometry_are_refused(shipped, windows, tmp_path, run_main):
    outcome = run_main(
        *("--mode", "training", "--model", "lstm", "--name_model", "lstm"),
        *("--weights_folder", shipped, "--run_dir", tmp_path / "runs"),
        *("--no-training_from_scratch", "--path_save_spectrogram", windows),
    )
    assert outcome.code == 2
    assert outcome.err == f"error: `n_fft` of the network {shipped / 'lstm'} is 255. Received: 63\n"


def test_what_a_card_says_needs_no_repetition_and_its_figures_add_up(windows, tmp_path, run_main):
    card = tmp_path / "weights" / "mine.json"
    command = [
        *("--mode", "training", "--name_model", "mine", "--epochs", "2"),
        *("--path_save_spectrogram", windows, "--batch_size", "4"),
        *("--weights_folder", card.parent, "--run_dir", tmp_path / "runs"),
    ]
    outcome = run_main(
        *(*command, "--model", "dncnn", "--target", "clean"),
        *("--hyperparameter", "filters=16", "depth=3", "loss=mse"),
    )
    assert outcome.code == 0, outcome.err
    first = json.loads(card.read_text())
    first["training"]["hours_heard"] = 1.5
    card.write_text(json.dumps(first))
    outcome = run_main(*command, "--no-training_from_scratch", "--hyperparameter", "dropout=0.25")
    assert outcome.code == 0, outcome.err
    second = json.loads(card.read_text())
    assert second["training"]["hours_heard"] == 1.5
    assert (second["model"], second["features"]) == ("dncnn", first["features"])
    assert [row["epoch"] for row in second["training"]["curve"]] == [0, 1, 2, 3]
    assert second["training"]["curve"][:2] == first["training"]["curve"]
    for name, value in {"filters": 16, "depth": 3, "dropout": 0.25}.items():
        assert second["hyperparameters"][name] == value


def test_a_network_without_a_card_is_named(windows, tmp_path, run_main):
    outcome = run_main(
        *("--mode", "training", "--name_model", "none", "--no-training_from_scratch"),
        *("--weights_folder", tmp_path, "--run_dir", tmp_path / "runs"),
        *("--path_save_spectrogram", windows),
    )
    assert outcome.code == 1
    assert outcome.err.startswith("error: No model card at ")
