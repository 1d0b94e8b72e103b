"""The folder of a training: what it began with, cleared for a new one, or gone on with."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic
from speech_enhancement.training import backups, callbacks, continuing, run_description
from speech_enhancement.training.run_names import Run

DESCRIPTION = "training.json"


@dataclasses.dataclass(frozen=True)
class Origin:
    """The network that a training began with.

    Args:
        continued: whether it goes on with a network, or from random weights.
        hours_before: hours of audio that the network was trained with before.
        curve_before: the losses of its epochs until then.
    """

    continued: bool = False
    hours_before: float = 0.0
    curve_before: Sequence[dict[str, float]] = ()


def origin_of(run: Run, model: str) -> Origin:
    """What a training begins with, or began with if it is resumed.

    Raises:
        UserError: there is no such network, or nothing to resume.
        UsageError: the network is not of this model.
    """
    if run.resume:
        if callbacks.interrupted_epoch(run.folder) is None:
            raise UserError(f"No interrupted training to resume in {run.folder}")
        before = run_description.load(run.folder / DESCRIPTION, "training")
        hours = before.get("hours_before")
        hours = float(hours) if isinstance(hours, int | float) else 0.0
        return Origin(bool(before.get("continued")), hours, before.get("curve_before") or ())
    if run.from_scratch:
        return Origin()
    card = continuing.card_of(run.stem, model)
    return Origin(True, continuing.hours_heard(card), continuing.curve(card))


def model_in(folder: Path) -> str:
    """The kind of network that is trained there.

    Raises:
        UserError: there is no training to resume.
    """
    if callbacks.interrupted_epoch(folder) is None:
        raise UserError(f"No interrupted training to resume in {folder}")
    return str(run_description.load(folder / DESCRIPTION, "training").get("model"))


def set_aside(folder: Path) -> None:
    """Give the folder of an earlier training another name, NAME.1 and so on.

    Raises:
        UserError: the folder cannot be written.
    """
    names = (folder.with_name(f"{folder.name}.{number}") for number in itertools.count(1))
    try:
        if folder.exists():
            folder.rename(next(name for name in names if not name.exists()))
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}") from error


def prepare(
    folder: Path, description: dict[str, Any], resume: bool, origin: Origin | None = None
) -> int:
    """Clear the folder of a new training, or find the epoch at which an old one goes on.

    Args:
        folder: of the training.
        description: what makes it the same training when it is resumed.
        resume: go on with what is there.
        origin: what it began with; random weights by default.

    Returns:
        The first epoch, from zero.

    Raises:
        UserError: there is none to resume, or the folder cannot be written.
        UsageError: the one that is there is another.
    """
    backup = backups.newest(folder) if resume else None
    if resume and backup is None:
        raise UserError(f"No interrupted training to resume in {folder}")
    if backup:
        run_description.check(folder / DESCRIPTION, description, "training")
        report_damage(backup)
    epoch = backup.epoch if backup else 0
    try:
        if not resume:
            atomic.remove_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}") from error
    beginning = dataclasses.asdict(origin or Origin())
    run_description.save(folder / DESCRIPTION, description | beginning)
    callbacks.forget_epochs(folder / callbacks.LOG, epoch)
    return epoch


def report_damage(backup: backups.Backup) -> None:
    """Say which backups were passed over."""
    for folder in backup.damaged:
        print(
            f"note: the backup {folder} is damaged: continuing from the one before it, at epoch "
            f"{backup.epoch + 1}",
            file=sys.stderr,
        )
