"""Sessions of the training notebook that end anywhere, and the next one, which has to go on.

The command is the one of the notebook's cell, with the options that `notebooks.going_on` adds.
"""

import gc
import shutil

import keras
import pytest
import small_dataset
import small_disk

from speech_enhancement.cli import main, notebooks
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.training import backups, callbacks

RESUME, FURTHER, ANEW = "--resume", "--no-training_from_scratch", "--overwrite"


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return small_dataset.save(tmp_path_factory.mktemp("windows"))


def command(windows, folder):
    """Arguments of the notebook's training, in a folder that outlives the session."""
    return [
        *("--mode", "training", "--model", "dncnn", "--name_model", "net", "--epochs", "2"),
        *("--path_save_spectrogram", windows, "--batch_size", "4"),
        *("--hyperparameter", "filters=16", "depth=3"),
        *("--weights_folder", folder / "weights", "--run_dir", folder / "runs"),
        *going_on(folder),
    ]


def going_on(folder):
    return notebooks.going_on(folder / "weights", folder / "runs", "net")


def check_goes_on(windows, folder, run_main, option):
    """Let the next session go on in a certain way, to a network that is whole."""
    assert going_on(folder) == [option]
    outcome = run_main(*command(windows, folder))
    assert outcome.code == 0, outcome.err
    assert ModelCard.load(folder / "weights/net.json").training["epochs"] == 2
    assert not list(folder.rglob(".partial*"))
    assert going_on(folder) == [FURTHER]


def full_at(monkeypatch, name, epoch=0):
    """Let there be no space for half of the network that is saved in an epoch under a name."""
    save, seen = keras.Model.save, []

    def save_on_a_full_disk(model, path, *arguments, **options):
        seen.append(path.name)
        if path.name != name or seen.count(name) <= epoch:
            return save(model, path, *arguments, **options)
        with small_disk.of(20_000):
            return save(model, path, *arguments, **options)

    monkeypatch.setattr(keras.Model, "save", save_on_a_full_disk)


# Keras closes its log only where a training ends by itself.
@pytest.mark.filterwarnings("ignore:unclosed file .*log.csv:ResourceWarning")
@pytest.mark.parametrize(
    ("name", "epoch", "place", "option"),
    [
        (backups.WEIGHTS, 0, "runs/net/backup", ANEW),
        (backups.WEIGHTS, 1, "runs/net/backup", RESUME),
        ("net.keras", 0, "weights/net", RESUME),
    ],
    ids=["at the first backup", "at the second backup", "while the network is saved"],
)
def test_a_session_on_a_full_disk_ends_with_a_sentence_and_the_next_one_goes_on(
    name, epoch, place, option, windows, tmp_path, run_main, monkeypatch
):
    with monkeypatch.context() as patch:
        full_at(patch, name, epoch)
        outcome = run_main(*command(windows, tmp_path))
    gc.collect()
    assert outcome.code == 1
    assert outcome.err == f"error: Cannot write {tmp_path / place}: {small_disk.FULL}\n"
    assert not list(tmp_path.rglob(".partial*"))
    assert (tmp_path / "runs/net" / callbacks.BEST).is_file()
    check_goes_on(windows, tmp_path, run_main, option)


@pytest.fixture(scope="module")
def left(windows, tmp_path_factory):
    """What a session leaves that was killed when all was saved, before it deleted its backups."""
    folder = tmp_path_factory.mktemp("left")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backups, "remove", interrupt)
        assert main.main([str(argument) for argument in command(windows, folder)]) == 130
    return folder


def interrupt(_):
    raise KeyboardInterrupt


def remove(folder, *patterns):
    for path in [path for pattern in patterns for path in folder.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def halve(folder, pattern):
    for path in folder.glob(pattern):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def half_moved(folder):
    """A network of which one file lies in its place, and the others are only ready."""
    ready = folder / "weights/.net.ready"
    ready.mkdir()
    for suffix in (".onnx", ".json"):
        (folder / f"weights/net{suffix}").rename(ready / f"net{suffix}")


@pytest.mark.parametrize(
    ("change", "option"),
    [
        (lambda f: remove(f, "weights/*", "runs/net/[!t]*", "runs/net/tensorboard"), ANEW),
        (lambda f: remove(f, "weights/*", "runs/net/backup"), ANEW),
        (lambda f: (remove(f, "weights/*"), halve(f, "runs/net/backup/*/*.keras")), ANEW),
        (lambda f: remove(f, "weights/*", "runs/net/best.keras", "runs/net/backup/*1"), RESUME),
        (half_moved, RESUME),
        (lambda f: None, RESUME),
        (lambda f: remove(f, "runs/net/backup"), FURTHER),
        (lambda f: remove(f, "runs/net/backup", "weights/net.json"), ANEW),
        (lambda f: remove(f, "runs/net/backup", "weights/net.keras"), ANEW),
        (lambda f: (remove(f, "runs/net/backup"), halve(f, "weights/net.keras")), ANEW),
    ],
    ids=[
        "before the first epoch",
        "before the first backup",
        "with damaged backups",
        "without the best network",
        "while the network was moved to its place",
        "before the backups were deleted",
        "at its end",
        "with a network that lacks its card",
        "with a card that lacks its network",
        "with half of a network",
    ],
)
def test_the_next_session_goes_on_with_what_a_session_leaves(
    change, option, windows, left, tmp_path, run_main
):
    folder = shutil.copytree(left, tmp_path / "left")
    change(folder)
    check_goes_on(windows, folder, run_main, option)


def test_a_network_that_cannot_be_trained_further_is_kept(left, tmp_path, capsys):
    folder = shutil.copytree(left, tmp_path / "left")
    remove(folder, "runs/net", "weights/net.keras")
    kept = {path.suffix: path.read_bytes() for path in (folder / "weights").glob("net.*")}
    assert len(kept) == 2
    (folder / "weights/net.1.onnx").write_text("another")
    assert going_on(folder) == [ANEW]
    assert capsys.readouterr().out == (
        f"note: {folder / 'weights/net'} lacks a whole file, and is called "
        f"{folder / 'weights/net.2'} from now on\n"
    )
    assert kept == {path.suffix: path.read_bytes() for path in folder.glob("weights/net.2.*")}
    assert (folder / "weights/net.1.onnx").read_text() == "another"
    assert len(list(folder.glob("weights/net*"))) == 3
