"""The notebooks, executed whole on small made data, and what they call."""

import base64
import contextlib
import io
import os
import re
import sys
import types
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
import soundfile

from speech_enhancement.cli import notebooks
from speech_enhancement.errors import UserError
from speech_enhancement.inference import pictures as data_display
from speech_enhancement.training import backups

REPOSITORY = Path(__file__).resolve().parent.parent
TRAIN = REPOSITORY / "colab" / "Train_denoise.ipynb"
DEMO = REPOSITORY / "demo_data" / "demo_predictions.ipynb"
TIMEOUT_S = 600


def executed(path, parameters, folder):
    """A notebook after all its cells have run, with other values after its parameters."""
    notebook = nbformat.read(path, as_version=4)
    place = next(
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    )
    values = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(values))
    nbclient.NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        startup_timeout=TIMEOUT_S,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return notebook


def outputs(notebook, kind):
    """All outputs of one MIME type."""
    return [
        output["data"][kind]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if kind in output.get("data", ())
    ]


def printed(notebook):
    """All that the cells printed."""
    return "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream"
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The notebook of training, executed on the demonstration recordings, and its folder."""
    folder = tmp_path_factory.mktemp("notebook")
    parameters = {
        "CORPORA": "",
        "VOICE_DIR": str(REPOSITORY / "demo_data/voices"),
        "NOISE_DIR": str(REPOSITORY / "demo_data/noises"),
        "WINDOWS": 24,
        "EPOCHS": 2,
        "TRAINING_OPTIONS": ["--hyperparameter", "base_filters=8", "depth=2"],
        "KEEP": str(folder / "keep"),
        "DATA_DIR": str(folder / "data"),
    }
    return executed(TRAIN, parameters, REPOSITORY / "colab"), folder


def test_the_training_notebook_trains_listens_and_scores(trained):
    notebook, folder = trained
    kept = {path.name for path in (folder / "keep" / "weights").glob("[!.]*")}
    assert kept == {"my_unet.keras", "my_unet.onnx", "my_unet.json"}
    assert len(outputs(notebook, "image/png")) == 1
    assert len(outputs(notebook, "text/html")) == 3 + 2 * 6
    (report,) = outputs(notebook, "text/markdown")
    for system in ("Noisy", "my_unet", "wiener"):
        assert system in report
    assert "my_unet.onnx" in printed(notebook)


def test_a_later_session_goes_on_with_what_was_kept(trained, tmp_path):
    keep = trained[1] / "keep"
    assert notebooks.going_on(keep / "weights", keep / "runs", "my_unet") == [
        "--no-training_from_scratch"
    ]
    assert notebooks.going_on(keep / "weights", keep / "runs", "other") == []


def test_an_interrupted_training_is_resumed(tmp_path):
    backups.save(tmp_path / "runs" / "my_unet", lambda path: path.touch(), 3, 0.0)
    going_on = notebooks.going_on(tmp_path / "weights", tmp_path / "runs", "my_unet")
    assert going_on == ["--resume"]


@pytest.fixture(scope="module")
def demonstrated():
    """The notebook of the demonstration as it is committed, and executed anew."""
    return nbformat.read(DEMO, as_version=4), executed(DEMO, {}, DEMO.parent)


def test_the_demonstration_is_committed_with_what_it_shows_of_every_recording(demonstrated):
    assert DEMO.stat().st_size < 2e6
    n_recordings = len(list((REPOSITORY / "demo_data" / "noisy").glob("*.wav")))
    for notebook in demonstrated:
        nbformat.validate(notebook)
        assert len(outputs(notebook, "image/png")) == n_recordings
        assert "".join(outputs(notebook, "text/html")).count("<audio") == 3 * n_recordings


def test_the_demonstration_is_committed_with_the_scores_that_it_has_today(demonstrated):
    committed, today = (
        np.array(
            [re.findall(r"(-?[\d.]+) dB", text) for text in outputs(notebook, "text/markdown")]
        )
        for notebook in demonstrated
    )
    # Processors round differently.
    np.testing.assert_allclose(committed.astype(float), today.astype(float), atol=0.3)


def test_the_training_notebook_is_committed_without_outputs():
    assert TRAIN.stat().st_size < 20_000
    notebook = nbformat.read(TRAIN, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_no_code_of_the_project_is_copied_to_a_notebook():
    for path in (TRAIN, DEMO):
        source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        assert "keras" not in source.replace("`.keras`", "")
        assert "def " not in source


def test_a_command_that_fails_ends_the_cell_with_its_sentence(capsys):
    with pytest.raises(UserError, match=r"error: `--mode` must be one of"):
        notebooks.run("--mode", "nothing")
    assert "must be one of" in capsys.readouterr().out


@pytest.mark.parametrize("is_made", [True, False])
def test_recordings_that_are_left_out_do_not_end_a_cell(is_made, tmp_path, monkeypatch, capsys):
    made = tmp_path / "manifest.json"
    made.write_text("old")
    os.utime(made, (0, 0))

    def lines(_):
        yield "left out: a.wav\n"
        if is_made:
            made.write_text("new")
        raise UserError("left out: a.wav")

    monkeypatch.setattr(notebooks, "_lines_of", lines)
    with contextlib.nullcontext() if is_made else pytest.raises(UserError):
        notebooks.run("--mode", "data_creation", makes=made)
    assert capsys.readouterr().out == "left out: a.wav\n"


def test_networks_are_kept_in_the_drive_on_colab_only(monkeypatch):
    assert notebooks.keep_folder(use_drive=True) == REPOSITORY
    mounted = []
    drive = types.ModuleType("google.colab.drive")
    drive.mount = mounted.append
    colab = types.ModuleType("google.colab")
    colab.drive = drive
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    assert notebooks.keep_folder(use_drive=False) == REPOSITORY
    assert notebooks.keep_folder(use_drive=True) == Path(
        "/content/drive/MyDrive/speech_enhancement"
    )
    assert mounted == ["/content/drive"]


def test_a_comparison_has_a_spectrogram_and_a_waveform_of_each(rng):
    waveforms = {name: rng.normal(0.0, 0.1, 8000) for name in ("noisy", "predicted", "clean")}
    figure = data_display.comparison_figure(waveforms, 8000)
    pictures, curves = figure.axes[0:6:2], figure.axes[1:6:2]
    assert [axis.get_ylabel().split("\n")[0] for axis in pictures] == list(waveforms)
    assert len({image.get_clim() for axis in pictures for image in axis.images}) == 1
    for axis, waveform in zip(curves, waveforms.values(), strict=True):
        np.testing.assert_array_equal(axis.lines[0].get_ydata(), waveform)


def test_the_players_have_the_sound_that_they_are_named_after(monkeypatch, rng):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    notebooks.players({"a < b": tone, "silence": np.zeros(8000)}, 8000)
    players = re.findall(r"<div>(.*?)</div><audio.*?base64,(.*?)\"", shown[0].data)
    assert [name for name, _ in players] == ["a &lt; b", "silence"]
    levels = []
    for _, data in players:
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
        assert rate == 8000
        assert len(samples) >= 8000
        levels.append(np.abs(samples[1000:7000]).max())
    assert levels == pytest.approx([0.5, 0.0], abs=0.06)


def test_a_part_of_a_recording_can_be_listened_to(tmp_path, monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    soundfile.write(tmp_path / "sound.wav", np.full((8000, 2), 0.25), 8000)
    notebooks.listen(tmp_path / "sound.wav", seconds=0.5)
    with soundfile.SoundFile(io.BytesIO(shown[0].data)) as file:
        assert (file.frames, file.channels, file.samplerate) == (4000, 2, 8000)
        assert np.abs(file.read()).max() == pytest.approx(0.25, abs=1e-3)
