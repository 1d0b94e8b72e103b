"""Files from the network: interrupted downloads go on where they stopped, and all are verified.

A file that is not complete is called `NAME.part`; it becomes `NAME` when its checksum is right.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import http.client
import os
import re
import shutil
import ssl
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from speech_enhancement.errors import UserError
from speech_enhancement.files import descriptors

BLOCK_BYTES = 2**18
SERVER_IS_BUSY = (408, 425, 429, 500, 502, 503, 504)
# More than any archive that is downloaded here has.
LARGEST_FILE = 2**34
# The answer to a file that is complete already.
NOTHING_LEFT = 416
PARTIAL_CONTENT = 206
# Flags of `os.open` that refuse links and do not wait for pipes, on systems that have them.
ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class TransferError(Exception):
    """A transfer that failed; one that can be tried again where the network or server is busy."""

    def __init__(self, sentence: str, again: bool = False) -> None:
        super().__init__(sentence)
        self.again = again


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long a transfer is tried.

    Args:
        attempts: transfers in a row that may fail without a byte received.
        wait_s: pause before the second attempt, seconds; it doubles with each further one.
        timeout_s: silence of a server that counts as a failure, seconds.
    """

    attempts: int = 5
    wait_s: float = 1.0
    timeout_s: float = 30.0


def fetch(
    urls: Sequence[str], path: Path, checksums: Sequence[str], patience: Patience | None = None
) -> None:
    """Download a file, unless it is there.

    Args:
        urls: addresses of the file, tried in this order.
        path: where it goes.
        checksums: `md5:` or `sha256:` and hexadecimal digits; the file must have one of them.
        patience: how long each address is tried.

    Raises:
        UserError: no address works, the checksum is wrong, or the file cannot be written.
    """
    if path.is_file() and not wrong_checksum(path, checksums):
        return
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            if not descriptors.CAN_LOCK:
                stack.enter_context(_lock_beside(path))
            with open(part, "ab", opener=_open_itself) as file:
                _lock(file, path)
                _transfer_from_any(urls, file, path.name, checksums, patience or Patience())
                if descriptors.CAN_LOCK:
                    part.replace(path)
            if not descriptors.CAN_LOCK:  # there, an open file cannot be renamed
                part.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {part}: {error.strerror or error}") from error


def _open_itself(path: str, flags: int) -> int:
    """Open a file for `open`, but nothing that a link leads to, and no pipe or device.

    Raises:
        OSError: it is one of these.
    """
    descriptor = os.open(path, flags | ITSELF, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EEXIST, "It is not a file", path)
    return descriptor


def wrong_checksum(path: Path, checksums: Sequence[str]) -> str | None:
    """The checksum of a file, if it has none of the right ones."""
    methods = {checksum.partition(":")[0] for checksum in checksums}
    actual = {f"{method}:{_digest(path, method)}" for method in sorted(methods)}
    return None if actual & set(checksums) else " ".join(sorted(actual))


def _digest(path: Path, method: str) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, method).hexdigest()


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other processes from writing to the same file."""
    try:
        descriptors.lock(file.fileno())
    except BlockingIOError as error:
        raise UserError(f"Another process is downloading {path}") from error


@contextlib.contextmanager
def _lock_beside(path: Path) -> Iterator[None]:
    """Do the same with a lock file beside it, on systems without locks for open files."""
    from speech_enhancement.files import locks  # not every installation has its package

    with contextlib.ExitStack() as stack:
        try:
            lock = locks.holding(path.with_name(f".{path.name}.lock"), f"The download of {path}")
            stack.enter_context(lock)
        except locks.BusyError as error:
            raise UserError(f"Another process is downloading {path}") from error
        yield


def _verify(file: BinaryIO, checksums: Sequence[str]) -> None:
    """Empty a download that is not what it should be.

    Raises:
        TransferError: it is not.
    """
    file.flush()
    actual = wrong_checksum(Path(file.name), checksums)
    if actual:
        file.truncate(0)
        file.seek(0)
        raise TransferError(
            f"the file is not the expected one, which was deleted: its checksum is {actual}, "
            f"not {' or '.join(checksums)}"
        )


def _transfer_from_any(
    urls: Sequence[str],
    file: BinaryIO,
    name: str,
    checksums: Sequence[str],
    patience: Patience,
) -> None:
    """Complete a file from the first address that works and gives what it should.

    Raises:
        UserError: none does.
    """
    failures = []
    for url in urls:
        try:
            _transfer_patiently(url, file, name, patience)
            _verify(file, checksums)
            return
        except TransferError as error:
            failures.append(f"{url} ({error})")
    if not file.tell():
        Path(file.name).unlink()
    raise UserError(f"Cannot download {name} from {', nor from '.join(failures)}")


def _transfer_patiently(url: str, file: BinaryIO, name: str, patience: Patience) -> None:
    """Complete a file from one address, with as many attempts as bring it forward.

    Raises:
        TransferError: the last of them failed.
    """
    failed = 0
    while True:
        before = file.tell()
        try:
            _transfer(url, file, name, patience.timeout_s)
            return
        except TransferError as error:
            failed = 1 if file.tell() > before else failed + 1
            if not error.again or failed >= patience.attempts:
                raise
        time.sleep(patience.wait_s * 2.0 ** (failed - 1))


def _transfer(url: str, file: BinaryIO, name: str, timeout_s: float) -> None:
    """Ask once for what a file lacks, and append it.

    Raises:
        TransferError: the connection or the server failed.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "speech-enhancement"}
    if file.tell():
        headers["Range"] = f"bytes={file.tell()}-"
    request = urllib.request.Request(url, headers=headers)
    total = None
    with _network_errors(), urllib.request.urlopen(request, timeout=timeout_s) as response:
        total = _begin(response, file)
        _check_space(file, total)
        _append(response, file, name, total)
    if total is not None and file.tell() < total:
        raise TransferError("the connection was lost", again=True)


@contextlib.contextmanager
def _network_errors() -> Iterator[None]:
    """Turn the many errors of transfers into one; those of files stay what they are."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != NOTHING_LEFT:
            sentence = f"the server says {error.code} {error.reason}"
            raise TransferError(sentence, error.code in SERVER_IS_BUSY) from error
    except urllib.error.URLError as error:
        raise TransferError(f"no connection: {_reason(error.reason)}", again=True) from error
    except (http.client.InvalidURL, ValueError) as error:
        raise TransferError(f"the server refers to an invalid address: {error}") from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise TransferError(f"the connection was lost: {_reason(error)}", again=True) from error


def _reason(error: object) -> str:
    """What an error of the network says, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _begin(response: http.client.HTTPResponse, file: BinaryIO) -> int | None:
    """Go to where the answer belongs in the file; gives the length of the whole, if known.

    A server that ignores the range sends all of it once more.
    """
    length = response.headers.get("Content-Length")
    answer = response.headers.get("Content-Range", "")
    begin = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", answer)
    if response.status != PARTIAL_CONTENT or not begin or int(begin[1]) != file.tell():
        file.truncate(0)
        file.seek(0)
    if response.status == PARTIAL_CONTENT and not file.tell():
        raise TransferError(
            "the server sent another part of the file than was requested", again=True
        )
    return file.tell() + int(length) if length and length.isdecimal() else None


def _check_space(file: BinaryIO, total: int | None) -> None:
    """Refuse what does not fit before it fills the disk.

    Raises:
        TransferError: nothing that is downloaded here is so large.
        UserError: it does not fit.
    """
    if (total or 0) > LARGEST_FILE:
        raise TransferError(f"the server has {total} bytes, more than any archive has")
    path = Path(file.name)
    lacking = (total or 0) - file.tell() - shutil.disk_usage(path.parent).free
    if lacking > 0:
        raise UserError(f"Cannot write {path}: the disk lacks {lacking / 1e6:.1f} MB")


def _append(
    response: http.client.HTTPResponse, file: BinaryIO, name: str, total: int | None
) -> None:
    """Write what comes, with a progress bar on a terminal."""
    with tqdm(
        total=total, initial=file.tell(), desc=name, unit="B", unit_scale=True, disable=None
    ) as bar:
        while block := response.read(BLOCK_BYTES):
            file.write(block)
            bar.update(len(block))
            if file.tell() > LARGEST_FILE:
                file.truncate(0)
                file.seek(0)
                raise TransferError(f"the server sends more than {LARGEST_FILE} bytes")
        file.flush()
