"""Files that appear whole or not at all, whatever ends the process that writes them.

What is being written has a temporary name and is locked. A process that writes into a folder for
the first time clears what killed ones left there: what has such a name, is not locked and has not
been touched for a while. A process number would not tell, as containers share their folders.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import soundfile

from speech_enhancement.errors import UserError
from speech_enhancement.files import descriptors

PARTIAL = ".partial-"
TEMPORARY = re.compile(re.escape(PARTIAL) + r"[0-9a-f]{16}(\..*)?")
# Some writers put another file in the place of the one that is locked.
UNTOUCHED_S = 2.0
# Where there are no locks, time alone has to tell.
UNTOUCHED_WITHOUT_LOCKS_S = 86400.0

_swept: set[Path] = set()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` if the block succeeds, else vanishes.

    Its content is on the disk before it has the name.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    # Named before it is there, so that no interruption comes between the two.
    temporary = _temporary(path.parent, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(path.parent)
        with _locked(temporary, lambda: temporary.touch(exist_ok=False)):
            yield temporary
            flush(temporary)
            temporary.replace(path)
        flush(path.parent)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UserError(f"Cannot write {path}: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, wholly or not at all.

    Names of files may hold bytes that are no UTF-8; they are written as escapes.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """A folder of a temporary name, which is removed unless the block has given it another.

    Raises:
        OSError: it cannot be made.
    """
    folder = _temporary(parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(parent)
        with _locked(folder, folder.mkdir):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def marked(folder: Path) -> Iterator[Path]:
    """An empty file of a temporary name, by which others know the folder while the block runs.

    Raises:
        UserError: the folder cannot be written.
    """
    mark = _temporary(folder)
    try:
        with _locked(mark, lambda: mark.touch(exist_ok=False)):
            yield mark
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            mark.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder that is there as a whole until it is gone as a whole.

    Raises:
        OSError: it cannot be deleted.
    """
    if folder.exists():
        gone = folder.rename(_temporary(folder.parent))
        flush(gone.parent)
        shutil.rmtree(gone)


def flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, written to the disk.

    Raises:
        OSError: the disk is full or broken.
    """
    if path.is_dir() and not descriptors.CAN_OPEN_FOLDERS:
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in descriptors.UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_folder(folder: Path) -> Iterator[int]:
    """A folder, made if it is not there, as a descriptor that can be locked until the block ends.

    Raises:
        UserError: the folder cannot be made or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"Cannot write {error.filename or folder}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def remove_partial_files(folder: Path, untouched_s: float = UNTOUCHED_S) -> None:
    """Remove the temporary files and folders that killed processes left in a folder.

    Args:
        folder: where to look.
        untouched_s: leave what has been touched since.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if TEMPORARY.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # of another user, who alone may remove it
                    _remove_if_left(Path(entry.path), untouched_s)


def _temporary(folder: Path, suffix: str = "") -> Path:
    """A name that no other process has."""
    return folder / f"{PARTIAL}{secrets.token_hex(8)}{suffix}"


def _sweep_once(folder: Path) -> None:
    """Clear a folder when this process first writes there."""
    if folder not in _swept:
        _swept.add(folder)
        remove_partial_files(folder)


def _remove_if_left(path: Path, untouched_s: float) -> None:
    """Remove a file or a folder that nobody is writing.

    Raises:
        OSError: it is gone, or cannot be removed.
    """
    untouched = time.time() - path.stat().st_mtime
    descriptor = os.open(path, os.O_RDONLY) if descriptors.CAN_LOCK else None
    try:
        is_locked = descriptor is not None and descriptors.lock(descriptor)
        if untouched > (untouched_s if is_locked else UNTOUCHED_WITHOUT_LOCKS_S):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except BlockingIOError:
        return  # its writer is alive
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path, make: Callable[[], None]) -> Iterator[None]:
    """Make a file or a folder, and say that it is being written."""
    if not descriptors.CAN_LOCK:  # an open file could not be renamed there
        make()
        yield
        return
    descriptor = _made_and_locked(path, make)
    try:
        yield
    finally:
        os.close(descriptor)


def _made_and_locked(path: Path, make: Callable[[], None]) -> int:
    """Descriptor of a new file or folder, which no other process takes for what was left."""
    while True:
        # One that clears the folder may have met it before it was locked.
        with contextlib.suppress(FileExistsError):
            make()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            with contextlib.suppress(BlockingIOError):
                descriptors.lock(descriptor)
                if path.exists():
                    return descriptor
            os.close(descriptor)
