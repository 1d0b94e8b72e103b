"""Backups of a training: its state after an epoch, or within one, from which it goes on.

A backup is a folder of the weights, with the optimizer's, and of what belongs to them: the epoch
and a digest, so that what is not whole is not taken. The last two are kept. Keras's own lie in
two files that a kill can part.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic, json_files

FOLDER = "backup"
# Keras makes the content of such a file in the memory. A bare HDF5 file is written piece by piece;
# on a full disk, HDF5 tries again until the process ends, prints its own errors and may crash.
WEIGHTS = "state.keras"
EARLIER_WEIGHTS = "state.weights.h5"  # of earlier versions
STATE = "state.json"
KEPT = 2
CONTENT = json_files.record(
    {"epoch": json_files.whole(0), "seconds": json_files.number(0), "sha256": json_files.text(64)}
)


@dataclasses.dataclass(frozen=True)
class Backup:
    """A backup that is whole.

    Args:
        weights: file of the weights.
        epoch: the epoch that the training was in, or is to begin, from zero.
        seconds: time that it had taken.
        damaged: later backups, which are not whole.
    """

    weights: Path
    epoch: int
    seconds: float
    damaged: tuple[Path, ...] = ()


def save(run_folder: Path, write: Callable[[Path], None], epoch: int, seconds: float) -> None:
    """Keep a state of a training.

    Args:
        run_folder: of the training.
        write: writes the weights into a file.
        epoch: see `Backup`.
        seconds: see `Backup`.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    folder = run_folder / FOLDER
    try:
        earlier = _generations(run_folder)
        with atomic.partial_folder(folder) as partial:
            write(partial / WEIGHTS)
            state = {"epoch": epoch, "seconds": seconds, "sha256": _digest(partial / WEIGHTS)}
            (partial / STATE).write_text(json.dumps(state) + "\n")
            for path in (partial / WEIGHTS, partial / STATE, partial):
                atomic.flush(path)
            number = int(earlier[0].name) + 1 if earlier else 0
            partial.rename(folder / f"{number:06d}")
            atomic.flush(folder)
        for old in earlier[KEPT - 1 :]:
            shutil.rmtree(old)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror or error}") from error


def newest(run_folder: Path) -> Backup | None:
    """The last backup that is whole; none without one."""
    damaged: list[Path] = []
    for folder in _generations(run_folder):
        with contextlib.suppress(OSError, UserError):
            state = json_files.load(folder / STATE, "the state of a training", CONTENT)
            earlier = folder / EARLIER_WEIGHTS
            weights = earlier if earlier.is_file() else folder / WEIGHTS
            if _digest(weights) == state["sha256"]:
                return Backup(weights, state["epoch"], state["seconds"], tuple(damaged))
        damaged.append(folder)
    return None


def remove(run_folder: Path) -> None:
    """Delete all backups, since the training has ended.

    Raises:
        UserError: they cannot be deleted.
    """
    try:
        atomic.remove_folder(run_folder / FOLDER)
    except OSError as error:
        raise UserError(f"Cannot delete {run_folder / FOLDER}: {error.strerror}") from error


def _generations(run_folder: Path) -> list[Path]:
    """Folders of backups, the last one first."""

    def numbered() -> Iterator[Path]:
        for path in (run_folder / FOLDER).glob("*"):
            if path.name.isdecimal():
                yield path

    return sorted(numbered(), key=lambda path: int(path.name), reverse=True)


def _digest(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
