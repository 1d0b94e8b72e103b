"""Files that appear whole or not at all, whatever ends the process that writes them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import soundfile

from errors import UserError

PARTIAL = ".partial-"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` if the block succeeds, else vanishes.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    # Named before it is there, so that no interruption comes between the two.
    temporary = path.parent / f"{_partial()}{secrets.token_hex(4)}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        temporary.replace(path)
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise UserError(f"Cannot write {path}: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


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


def _partial() -> str:
    """Beginning of the names of this process's temporary files."""
    return f"{PARTIAL}{os.getpid()}-"


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files of `replacing` whose process was killed."""
    if os.name != "posix":
        return  # elsewhere there is no harmless way to ask whether a process lives
    for path in Path(folder).glob(f"{PARTIAL}*-*"):
        process = path.name.removeprefix(PARTIAL).partition("-")[0]
        if process.isdecimal() and not _is_alive(int(process)):
            with contextlib.suppress(OSError):  # of another user, who alone may remove it
                path.unlink()


def _is_alive(process: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked about does not."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # of another user, or of a system without /proc
    return state != "Z"
