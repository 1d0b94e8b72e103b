"""Open files by their descriptors: locks, and reading and writing at a place.

POSIX systems do this with single calls. Where a system lacks one of them, as Windows does, these
functions use the calls that it has. Without locks for open files and folders, nothing is locked
here; what has to be locked on every system is locked by `locks`.
"""

from __future__ import annotations

import errno
import os
import threading

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None
CAN_OPEN_FOLDERS = hasattr(os, "O_DIRECTORY")
BINARY = getattr(os, "O_BINARY", 0)  # a flag of `os.open` that Windows needs for what is no text
# What a file system without locks, or without `fsync` of folders, answers.
UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)

_moving = threading.Lock()  # the place in a file, where it must be moved before a call


def lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed.

    Args:
        descriptor: of the file or folder.
        wait: until no other process has locked it.

    Returns:
        Whether the system and the file system have locks.

    Raises:
        BlockingIOError: another process has locked it, and `wait` is false.
        OSError: the file system has failed.
    """
    if not CAN_LOCK:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return False
        raise
    return True


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Bytes at a place of an open file, fewer than `size` at its end.

    Raises:
        OSError: the disk has failed.
    """
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    with _moving:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)


def write_at(descriptor: int, offset: int, data: bytes | memoryview) -> None:
    """Write bytes at a place of an open file, however many calls that takes.

    Raises:
        OSError: the disk is full or has failed.
    """
    view = memoryview(data)
    while len(view):
        written = _write_once(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _write_once(descriptor: int, view: memoryview, offset: int) -> int:
    """Bytes that one call has written at a place of an open file."""
    if hasattr(os, "pwrite"):
        return os.pwrite(descriptor, view, offset)
    with _moving:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, view)


def reserve(descriptor: int, size: int) -> None:
    """Make an open file `size` bytes long, with space on the disk where the system can promise it.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
