"""The name of a training: what bears it already, and who is at work under it.

A new training neither replaces a network nor deletes what an earlier training left; one that goes
on with what is there, or replaces it, has to be told so.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, locks
from speech_enhancement.inference import network_files
from speech_enhancement.training import callbacks

NETWORK_SUFFIXES = (".keras", ".onnx", ".json")


@contextlib.contextmanager
def claimed(options: argparse.Namespace) -> Iterator[str]:
    """The name of the network that a training makes, which no other process has meanwhile.

    Args:
        options: of the training; without a name, it is a new one, or that of the last interrupted
            training of the model with `resume`.

    Raises:
        UsageError: the name is none of a file, is needed, or is that of what is there.
        UserError: another process is at work under it, or there is none to resume.
    """
    for run_folder in options.run_dir.glob("*"):
        atomic.remove_partial_files(run_folder)
    with contextlib.ExitStack() as stack:
        if options.name_model is not None:
            name = _checked(options.name_model)
            _lock(name, options, stack)
            _refuse_what_is_there(name, options)
        elif options.resume:
            name = last_interrupted(options.model, options.run_dir)
            _lock(name, options, stack)
        elif options.training_from_scratch:
            name = _lock_new(options, stack)
        else:
            raise UsageError("`name_model` is needed for --no-training_from_scratch")
        yield name


def last_interrupted(model: str, run_dir: Path) -> str:
    """The last of the default names under which a training was interrupted.

    Raises:
        UserError: there is none.
    """
    numbers = [
        int(number)
        for folder in run_dir.glob(f"{model}_*")
        if (number := folder.name.removeprefix(f"{model}_")).isdecimal() and is_interrupted(folder)
    ]
    if not numbers:
        raise UserError(f"No interrupted training to resume in {run_dir / model}_N")
    return f"{model}_{max(numbers)}"


def what_is_there(name: str, options: argparse.Namespace) -> Path | None:
    """A file of a network of this name, or a folder of its training; none if there is neither."""
    network_files.complete(options.weights_folder / name)
    files = (options.weights_folder / f"{name}{suffix}" for suffix in NETWORK_SUFFIXES)
    run_folder = options.run_dir / name
    if (run_folder / callbacks.BEST).exists() or is_interrupted(run_folder):
        return run_folder
    return next(filter(Path.exists, files), None)


def is_interrupted(run_folder: Path) -> bool:
    """Whether a training can be resumed there."""
    return callbacks.interrupted_epoch(run_folder) is not None


def _refuse_what_is_there(name: str, options: argparse.Namespace) -> None:
    """Replace nothing unless asked to.

    Raises:
        UsageError: something has the name.
    """
    if options.resume or options.overwrite:
        return
    run_folder = options.run_dir / name
    if is_interrupted(run_folder):
        raise UsageError(
            f"`name_model` must not be that of an interrupted training, which {run_folder} holds, "
            f"unless --resume goes on with it or --overwrite deletes it. Received: {name}"
        )
    found = what_is_there(name, options)
    if found and options.training_from_scratch:
        raise UsageError(
            f"`name_model` must be new, and there is {found}, unless --no-training_from_scratch "
            f"goes on with that network or --overwrite replaces it. Received: {name}"
        )


def _checked(name: str) -> str:
    """Refuse names that would lead out of the folders."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise UsageError(f"`name_model` must be the name of a file. Received: {name}")
    return name


def _lock(name: str, options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    """Keep other processes from training under a name in the same folders."""
    with contextlib.ExitStack() as both:
        for folder in (options.run_dir, options.weights_folder):
            lock = locks.holding(folder / f".{name}.lock", f"The name {name} in {folder}")
            both.enter_context(lock)
        stack.push(both.pop_all())


def _lock_new(options: argparse.Namespace, stack: contextlib.ExitStack) -> str:
    """The first name with a number that nothing and nobody has."""
    for number in itertools.count(1):
        name = f"{options.model}_{number}"
        if what_is_there(name, options) is None:
            with contextlib.suppress(locks.BusyError):
                _lock(name, options, stack)
                return name
    raise AssertionError("numbers do not end")
