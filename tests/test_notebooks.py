"""The notebooks, executed whole on small made data, and what they call."""

import base64
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
import soundfile

from colab import write_address
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
    """The notebook of training, executed on the demonstration recordings, and its folder.

    It trains with two parts, one after the other, as a later session goes on with another part.
    """
    folder = tmp_path_factory.mktemp("notebook")
    parameters = {
        "CORPORA": "",
        "VOICE_DIR": str(REPOSITORY / "demo_data/voices"),
        "NOISE_DIR": str(REPOSITORY / "demo_data/noises"),
        "WINDOWS": 24,
        "PARTS": 2,
        "EPOCHS": 1,
        "BATCH_SIZE": 10,
        "TRAINING_OPTIONS": ["--hyperparameter", "base_filters=8", "depth=2"],
        "KEEP": str(folder / "keep"),
        "DATA_DIR": str(folder / "data"),
    }
    return executed(TRAIN, parameters, REPOSITORY / "colab"), folder


def test_the_training_notebook_trains_listens_and_scores(trained):
    notebook, folder = trained
    kept = {path.name for path in (folder / "keep" / "weights").glob("[!.]*")}
    assert kept == {"my_unet.keras", "my_unet.onnx", "my_unet.json"}
    assert len(outputs(notebook, "image/png")) == 2
    assert len(outputs(notebook, "text/html")) == 2 * 3 + 2 * 6
    (report,) = outputs(notebook, "text/markdown")
    for system in ("Noisy", "my_unet", "wiener"):
        assert system in report
    assert "my_unet.onnx" in printed(notebook)


def test_the_second_part_trains_the_network_of_the_first_one_further(trained):
    keep = trained[1] / "keep"
    first, second = (
        json.loads((keep / "runs" / name / "training.json").read_text())
        for name in ("my_unet.1", "my_unet")
    )
    assert not first["continued"] and second["continued"]
    card = json.loads((keep / "weights" / "my_unet.json").read_text())
    assert card["training"]["hours_heard"] > second["hours_before"] > 0
    manifests = [path.read_text() for path in trained[1].rglob("manifest.json")]
    assert len(manifests) == 1  # only one part is on the disk
    assert list(notebooks.parts(keep / "runs", "my_unet", 3)) == [2]


def test_parts_go_on_where_a_session_ended(tmp_path):
    parts = notebooks.parts(tmp_path, "net", 3)
    assert [next(parts), next(parts)] == [0, 1]
    parts.close()  # within the second part, which is then not done
    assert list(notebooks.parts(tmp_path, "net", 3)) == [1, 2]
    assert list(notebooks.parts(tmp_path, "net", 3)) == [3, 4, 5]


def test_a_later_session_goes_on_with_what_was_kept(trained, tmp_path):
    keep = trained[1] / "keep"
    assert notebooks.going_on(keep / "weights", keep / "runs", "my_unet") == [
        "--no-training_from_scratch"
    ]
    assert notebooks.going_on(keep / "weights", keep / "runs", "other") == ["--overwrite"]


def test_an_interrupted_training_is_resumed(tmp_path):
    backups.save(tmp_path / "runs" / "my_unet", lambda path: path.touch(), 3, 0.0)
    going_on = notebooks.going_on(tmp_path / "weights", tmp_path / "runs", "my_unet")
    assert going_on == ["--resume"]


def test_a_session_on_kaggle_goes_on_with_the_output_that_was_copied(tmp_path):
    output, working = tmp_path / "input" / "NAME", tmp_path / "working"
    backups.save(output / "runs" / "my_unet", lambda path: path.touch(), 3, 0.0)
    (output / "weights").mkdir()
    working.mkdir()
    (command,) = re.findall(
        r"^ *!(cp .*)", nbformat.read(TRAIN, as_version=4).cells[-2].source, re.M
    )
    command = command.replace("/kaggle/", f"{tmp_path}/")
    subprocess.run(shlex.split(command), check=True, timeout=60)
    assert notebooks.going_on(working / "weights", working / "runs", "my_unet") == ["--resume"]


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
    from IPython.core.interactiveshell import InteractiveShell

    with pytest.raises(UserError, match=r"error: `--mode` must be one of") as failed:
        notebooks.run("--mode", "nothing")
    assert "must be one of" in capsys.readouterr().out
    InteractiveShell().showtraceback((failed.type, failed.value, failed.tb))
    assert capsys.readouterr().out.splitlines() == [str(failed.value)]


FIRST_CELL = """
import json, os, subprocess, sys
commands = []
subprocess.run = lambda command, **options: commands.append([*map(str, command)])
REPOSITORY_URL, BACKEND = sys.argv[1:]
{source}
print(json.dumps([str(repository), os.environ["KERAS_BACKEND"], commands]))
"""


def first_cell(folder, url="", backend="tensorflow"):
    """What the cell that finds the project does in a folder; programs are noted and not run."""
    notebook = nbformat.read(TRAIN, as_version=4)
    source = next(cell.source for cell in notebook.cells if "repository =" in cell.source)
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CELL.format(source=source), url, backend],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def project_in(folder):
    """What of a copy of the project the cell looks for."""
    (folder / "speech_enhancement").mkdir(parents=True)
    (folder / "speech_enhancement" / "registry.py").touch()
    return folder


def test_the_notebook_uses_the_clone_that_it_is_in():
    repository, backend, commands = first_cell(REPOSITORY / "colab")
    assert Path(repository) == REPOSITORY
    assert backend == "tensorflow"
    assert not commands


def test_the_notebook_uses_a_folder_that_was_uploaded(tmp_path):
    project = project_in(tmp_path / "speech-enhancement-main")
    repository, _, commands = first_cell(tmp_path)
    assert Path(repository) == project
    assert ["install" in command for command in commands] == [True]


def test_the_notebook_installs_jax_where_it_trains_with_it(tmp_path):
    project_in(tmp_path / "project")
    _, backend, (install,) = first_cell(tmp_path, backend="jax")
    assert backend == "jax"
    assert install[-4:] == ["-r", "requirements.txt", "-r", "requirements-jax.txt"]


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_the_notebook_uses_a_release_archive(tmp_path, kind):
    project_in(tmp_path / "made" / "project-1.2")
    content = tmp_path / "content"
    content.mkdir()
    shutil.make_archive(str(content / "other"), kind, tmp_path / "made", "project-1.2")
    repository, _, commands = first_cell(content)
    assert Path(repository) == content / "project-1.2"
    assert (content / "project-1.2" / "speech_enhancement" / "registry.py").is_file()
    assert ["install" in command for command in commands] == [True]


def test_the_notebook_clones_where_there_is_an_address_only(tmp_path):
    sentence = first_cell(tmp_path)
    assert sentence.startswith("Upload an archive")
    assert "Traceback" not in sentence
    (tmp_path / "speech-enhancement").mkdir()  # as the clone would
    repository, _, (clone, install) = first_cell(tmp_path, "https://example.org/project")
    assert clone[:2] == ["git", "clone"] and clone[-2:] == [
        "https://example.org/project",
        repository,
    ]
    assert "install" in install


def test_the_address_of_the_repository_is_the_one_in_pyproject():
    address = write_address.address_of(write_address.PROJECT.read_text())
    notebook, page = write_address.NOTEBOOK.read_text(), write_address.PAGE.read_text()
    assert write_address.with_address_in_notebook(notebook, address) == notebook, "run `make badge`"
    assert write_address.with_badge(page, address) == page, "run `make badge`"


def test_an_address_is_written_wherever_it_is_shown():
    address = "https://github.com/someone/denoise"
    project = f'[project]\nname = "x"\n[project.urls]\nRepository = "{address}/"\n'
    assert write_address.address_of(project) == address
    opened = "colab.research.google.com/github/someone/denoise/blob/main/colab/Train_denoise.ipynb"
    page = write_address.with_badge(write_address.PAGE.read_text(), address)
    text = write_address.with_address_in_notebook(write_address.NOTEBOOK.read_text(), address)
    introduction, parameters, *_ = nbformat.reads(text, as_version=4).cells
    assert opened in page and opened in introduction.source
    assert f'REPOSITORY_URL = "{address}"' in parameters.source
    assert not write_address.badge("https://example.org/someone/denoise")


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


def test_networks_are_kept_in_the_output_on_kaggle(monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert notebooks.keep_folder(use_drive=True) == Path("/kaggle/working")


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
