"""What the notebooks do beside calling `main.py`: show, listen, and keep networks in a Drive."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic, json_files
from speech_enhancement.inference import keras_archive, network_files
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.training import backups

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

REPOSITORY = places.WORK.resolve()
DRIVE = Path("/content/drive")
KEPT = Path("MyDrive/speech_enhancement")
KAGGLE_OUTPUT = Path("/kaggle/working")
KAGGLE_VARIABLE = "KAGGLE_KERNEL_RUN_TYPE"
PARTS_DONE = json_files.record({"done": json_files.whole(0)})
LAST_LINES = 20
PICTURE_DPI, PICTURE_COLOURS = 80, 128
COMPRESSION = 0.7  # of MP3, from 0 (least) to 1 (most)


def keep_folder(use_drive: bool) -> Path:
    """Folder that outlives the session: in the user's Google Drive on Colab, else the repository.

    On Kaggle it is the folder of the notebook's output.

    Args:
        use_drive: ask Colab for the Drive.
    """
    if KAGGLE_VARIABLE in os.environ:  # which has Colab's packages, but no Drive
        return KAGGLE_OUTPUT
    try:
        from google.colab import drive
    except ImportError:
        return REPOSITORY
    if not use_drive:
        return REPOSITORY
    drive.mount(str(DRIVE))
    return DRIVE / KEPT


def run(*arguments: Any, makes: Path | None = None) -> None:
    """Run `main.py` in a process of its own, and show what it says as it says it.

    Args:
        arguments: those of the command line.
        makes: a file that is written last; where it was, that some recordings had to be left out
            is no failure.

    Raises:
        UserError: it failed.
    """
    before = _changed_at(makes) if makes else None
    try:
        for line in _lines_of(arguments):
            print(line, end="")
    except UserError:
        if not makes or _changed_at(makes) in (None, before):
            raise


def train(run_folder: Path, *arguments: Any) -> None:
    """Run `main.py --mode training`, and draw the losses anew after each epoch.

    Args:
        run_folder: where the training keeps its log and `loss.png`.
        arguments: options of the training.

    Raises:
        UserError: it failed.
    """
    from IPython.display import Image, display

    picture = run_folder / "loss.png"
    text = display({"text/plain": ""}, raw=True, display_id=True)
    curve = display({"text/plain": ""}, raw=True, display_id=True)
    lines: deque[str] = deque(maxlen=LAST_LINES)
    shown = _changed_at(picture)
    for line in _lines_of(("--mode", "training", *arguments)):
        lines.append(line)
        text.update({"text/plain": "".join(lines)}, raw=True)
        if _changed_at(picture) not in (None, shown):
            shown = _changed_at(picture)
            curve.update(Image(picture.read_bytes()))


def parts(run_dir: Path, name: str, count: int) -> Iterator[int]:
    """Numbers of the parts of the data that a network is still to be trained with.

    A part is done when the next one is asked for. After `count` parts, as many further ones follow
    in the next session: the training of the network goes on with windows that it has not heard.

    Args:
        run_dir: folder that outlives the session.
        name: of the network.
        count: parts in a session.

    Raises:
        UserError: the folder cannot be written.
    """
    path = run_dir / f"{name}.parts.json"
    done = json_files.load(path, "parts", PARTS_DONE)["done"] if path.is_file() else 0
    for part in range(done, done + count - done % count):
        print(f"Part {part + 1}")
        yield part
        atomic.write_text(path, json.dumps({"done": part + 1}) + "\n")


def _changed_at(path: Path) -> int | None:
    """When a file was written, ns; none if there is none."""
    return path.stat().st_mtime_ns if path.is_file() else None


def _lines_of(arguments: tuple[Any, ...]) -> Iterator[str]:
    """What `main.py` says with these arguments; it ends with the notebook's cell.

    Raises:
        UserError: it failed.
    """
    with subprocess.Popen(
        [sys.executable, "main.py", *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        said: IO[str] = process.stdout  # type: ignore[assignment]
        last = ""
        try:
            for line in said:
                last = line.strip() or last
                yield line
        finally:
            process.terminate()
    if process.returncode:
        raise UserError(last)


def going_on(weights_folder: Path, run_dir: Path, name: str) -> list[str]:
    """Options of a training that goes on where an earlier session stopped, if there was one.

    A session that ended before its first backup leaves nothing to go on with: the training begins
    anew, in the place of what it left. A network that cannot be trained further gets another name.

    Args:
        weights_folder, run_dir: folders that outlived it.
        name: name of the network.

    Raises:
        UserError: a network cannot be given another name.
    """
    run_folder, stem = run_dir / name, weights_folder / name
    if backups.newest(run_folder):
        return ["--resume"]
    if _can_go_on(stem):
        return ["--no-training_from_scratch"]
    if _files_of(stem):
        print(f"note: {stem} lacks a whole file, and is called {_set_aside(stem)} from now on")
    if run_folder.exists():
        print(f"note: {run_folder} has no whole backup: the training begins anew")
    return ["--overwrite"]


def _can_go_on(stem: Path) -> bool:
    """Whether a network has all that its training goes on with."""
    try:
        ModelCard.beside(stem)
        keras_archive.check(network_files.file_of(stem, network_files.KERAS))
    except UserError:
        return False
    return True


def _files_of(stem: Path) -> list[str]:
    """Suffixes of the files that there are of a network."""
    return [end for end in network_files.SUFFIXES if network_files.file_of(stem, end).exists()]


def _set_aside(stem: Path) -> Path:
    """Give a network another name, NAME.1 and so on."""
    names = (stem.with_name(f"{stem.name}.{number}") for number in itertools.count(1))
    aside = next(name for name in names if not _files_of(name))
    try:
        for suffix in _files_of(stem):
            network_files.file_of(stem, suffix).rename(network_files.file_of(aside, suffix))
    except OSError as error:
        raise UserError(f"Cannot rename {stem}: {error.strerror}") from error
    return aside


def show(figure: Figure) -> None:
    """Show a figure, which need not be one of pyplot, in few colours, since notebooks keep it."""
    from IPython.display import Image, display
    from PIL import Image as Picture

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=PICTURE_DPI)
    Picture.open(drawn).convert("RGB").quantize(PICTURE_COLOURS).save(small, "png", optimize=True)
    display(Image(small.getvalue()))


def players(waveforms: dict[str, np.ndarray], sample_rate: int) -> None:
    """Show a player for each version of a recording, as MP3, since notebooks keep what they show.

    Args:
        waveforms: by name, (samples,) each.
        sample_rate: Hz, one of those that MP3 has.
    """
    from html import escape

    import soundfile
    from IPython.display import HTML, display

    parts = []
    for name, waveform in waveforms.items():
        data = io.BytesIO()
        soundfile.write(data, waveform, sample_rate, format="MP3", compression_level=COMPRESSION)
        source = "data:audio/mpeg;base64," + base64.b64encode(data.getvalue()).decode()
        parts.append(f'<div>{escape(name)}</div><audio controls src="{source}"></audio>')
    display(HTML("\n".join(parts)))


def listen(path: Path, title: str = "", seconds: float | None = None) -> None:
    """Show a player for a recording.

    Args:
        path: the recording.
        title: what to call it.
        seconds: how much of it; all by default.
    """
    import soundfile
    from IPython.display import Audio, display

    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        samples = file.read(-1 if seconds is None else round(seconds * rate), always_2d=True)
    print(title or path.name)
    display(Audio(samples.T, rate=rate, normalize=False))
