"""Locks that say who holds them, and that end with their holder, however it ends."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

from speech_enhancement.errors import UserError
from speech_enhancement.files import descriptors, json_files
from speech_enhancement.files.atomic import write_text

HOLDER = json_files.record(
    {"pid": json_files.whole(0), "host": json_files.text(255), "since": json_files.text(64)}
)


class BusyError(UserError):
    """Another process holds a lock."""


@contextlib.contextmanager
def holding(path: Path, subject: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock while the block runs; where the file system has no locks, nothing is locked.

    Args:
        path: of the lock file, which may stay; beside it lies a note of who holds it.
        subject: what is locked, for the message.
        wait: until no other process holds it.

    Raises:
        BusyError: another process holds it, and `wait` is false.
        UserError: the folder cannot be written.
    """
    note = path.with_suffix(".json")
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=wait)
    except filelock.Timeout:
        raise BusyError(f"{subject} is in use by {_holder(note)}") from None
    except OSError as error:
        if error.errno not in descriptors.UNSUPPORTED:
            raise UserError(f"Cannot write {error.filename or path}: {error.strerror}") from error
    except NotImplementedError:
        pass  # what filelock 3 makes of a file system without locks
    try:
        _write(note)
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def is_free(path: Path) -> bool:
    """Whether a lock that was held has lost its holder; not so if there never was one."""
    if not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except (filelock.Timeout, OSError):
        return False
    lock.release()
    return True


def _write(note: Path) -> None:
    """Say that this process holds a lock."""
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    write_text(note, json.dumps(holder) + "\n")


def _holder(note: Path) -> str:
    """Who holds a lock, in words."""
    try:
        holder = json_files.load(note, "a note of who holds a lock", HOLDER)
    except (OSError, UserError):
        return "another process"
    return "process {pid} on {host} since {since}".format(**holder)
