"""The name of a training: what bears it already, and who is at work under it.

A new training neither replaces a network nor deletes what an earlier training left; one that goes
on with what is there, or replaces it, has to be told so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

from speech_enhancement import places
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import atomic, locks
from speech_enhancement.files.paths import PathFields
from speech_enhancement.inference import network_files
from speech_enhancement.training import callbacks


@dataclasses.dataclass(frozen=True)
class Run(PathFields):
    """A training by its name: where its files lie, and what becomes of what is there.

    Args:
        name: of the network's files, and of the folder of the training; by default a new one, or
            with `resume` that of the last interrupted training of the model.
        weights_folder: folder of networks.
        run_dir: folder of the logs and checkpoints of all trainings.
        from_scratch: begin with random weights; otherwise with the network of that name.
        resume: go on with the interrupted training of that name.
        overwrite: replace the network of that name and what its training left.
    """

    name: str | None = None
    weights_folder: Path = places.WEIGHTS
    run_dir: Path = places.WORK / "runs"
    from_scratch: bool = True
    resume: bool = False
    overwrite: bool = False

    @property
    def stem(self) -> Path:
        """Path of the network's files without a suffix."""
        return self.weights_folder / str(self.name)

    @property
    def folder(self) -> Path:
        """The folder of the training."""
        return self.run_dir / str(self.name)

    def named(self, name: str) -> Run:
        """The same training under another name."""
        return dataclasses.replace(self, name=name)


@contextlib.contextmanager
def claimed(run: Run, model: str) -> Iterator[Run]:
    """A training with its name, which no other process has meanwhile.

    Args:
        run: the training; see there what it is called if it has no name.
        model: name in `registry.MODELS`.

    Raises:
        UsageError: the name is none of a file, is needed, or is that of what is there.
        UserError: another process is at work under it, or there is none to resume.
    """
    for run_folder in run.run_dir.glob("*"):
        atomic.remove_partial_files(run_folder)
    with contextlib.ExitStack() as stack:
        if run.name is not None:
            _check_name(run.name)
            _lock(run, stack)
            _refuse_what_is_there(run)
        elif run.resume:
            run = run.named(last_interrupted(model, run.run_dir))
            _lock(run, stack)
        elif run.from_scratch:
            run = _lock_new(run, model, stack)
        else:
            raise UsageError("`name_model` is needed for --no-training_from_scratch")
        yield run


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


def what_is_there(run: Run) -> Path | None:
    """A file of a network of this name, or a folder of its training; none if there is neither."""
    network_files.complete(run.stem)
    files = [network_files.file_of(run.stem, suffix) for suffix in network_files.SUFFIXES]
    if network := next(filter(Path.exists, files), None):
        return network
    is_used = (run.folder / callbacks.BEST).exists() or is_interrupted(run.folder)
    return run.folder if is_used else None


def is_interrupted(run_folder: Path) -> bool:
    """Whether a training can be resumed there."""
    return callbacks.interrupted_epoch(run_folder) is not None


def _refuse_what_is_there(run: Run) -> None:
    """Refuse a name that something has already, unless it may be replaced or resumed.

    Raises:
        UsageError: something has the name.
    """
    if run.resume or run.overwrite:
        return
    if is_interrupted(run.folder):
        raise UsageError(
            f"`name_model` must not be that of an interrupted training, which {run.folder} holds, "
            f"unless --resume goes on with it or --overwrite deletes it. Received: {run.name}"
        )
    found = what_is_there(run)
    if found and run.from_scratch:
        goes_on = "--no-training_from_scratch goes on with that network or "
        raise UsageError(
            f"`name_model` must be new, and there is {found}, unless "
            f"{goes_on if found != run.folder else ''}--overwrite replaces it. Received: {run.name}"
        )


def _check_name(name: str) -> None:
    """Refuse names that would lead out of the folders."""
    if name in ("", ".", "..") or Path(name).name != name:
        raise UsageError(f"`name_model` must be the name of a file. Received: {name}")


def _lock(run: Run, stack: contextlib.ExitStack) -> None:
    """Keep other processes from training under a name in the same folders, which may be one."""
    folders = {folder.resolve(): folder for folder in (run.run_dir, run.weights_folder)}
    with contextlib.ExitStack() as both:
        for folder in folders.values():
            lock = locks.holding(folder / f".{run.name}.lock", f"The name {run.name} in {folder}")
            both.enter_context(lock)
        stack.push(both.pop_all())


def _lock_new(run: Run, model: str, stack: contextlib.ExitStack) -> Run:
    """The training under the first name with a number that nothing and nobody has."""
    for number in itertools.count(1):
        new = run.named(f"{model}_{number}")
        if what_is_there(new) is None:
            with contextlib.suppress(locks.BusyError):
                _lock(new, stack)
                return new
    raise AssertionError("numbers do not end")
