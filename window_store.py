"""Files of a data set of windows: allocated whole, filled in any order, published when complete.

While it grows, a data set is a few `*.npy.partial` files and a journal of the chunks that are done;
a run that was killed continues from it. The files get their names, and the manifest that training
asks for is written, when every window is there.
"""

from __future__ import annotations

import dataclasses
import fcntl
import io
import json
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_tools import replacing
from errors import UserError

MANIFEST = "manifest.json"
JOURNAL = "manifest.json.unfinished"
PARTIAL = ".partial"


@dataclasses.dataclass(frozen=True)
class ArrayFile:
    """One `.npy` file whose rows are written in any order by several processes.

    Args:
        path: its name when it is complete.
        dtype: of its elements, as `numpy.dtype` takes it.
        shape: windows first.
    """

    path: Path
    dtype: Any
    shape: tuple[int, ...]

    @property
    def partial(self) -> Path:
        """Its name until it is complete."""
        return self.path.with_name(self.path.name + PARTIAL)

    @property
    def header(self) -> bytes:
        """The bytes before the first row."""
        buffer = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(np.dtype(self.dtype))
        fields = {"descr": descr, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(buffer, fields)
        return buffer.getvalue()

    @property
    def row_size(self) -> int:
        """Bytes of one window."""
        return np.dtype(self.dtype).itemsize * math.prod(self.shape[1:])

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + self.shape[0] * self.row_size

    def allocate(self) -> None:
        """Reserve its space on the disk, or continue with what is there already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.partial.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, self.size)
        self._write(0, self.header)

    def write(self, first: int, rows: np.ndarray) -> None:
        """Write rows from the window `first` on."""
        rows = np.ascontiguousarray(rows, dtype=self.dtype)
        self._write(len(self.header) + first * self.row_size, rows.data.cast("B"))

    def _write(self, offset: int, data: Any) -> None:
        """Write bytes, however many calls that takes."""
        file = os.open(self.partial, os.O_WRONLY)
        try:
            view = memoryview(data)
            while len(view):
                written = os.pwrite(file, view, offset)
                view, offset = view[written:], offset + written
        finally:
            os.close(file)

    def publish(self) -> None:
        """Give it its name."""
        if self.partial.exists():
            self.partial.replace(self.path)

    def remove(self) -> None:
        """Delete it in whatever state it is."""
        self.partial.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class WindowStore:
    """The files of one data set and their journal; one process at a time may hold it open.

    Args:
        folder: of the manifest and the journal.
        arrays: the files.
        configuration: everything that the bytes depend on, as JSON keeps it.
    """

    def __init__(
        self, folder: Path, arrays: Sequence[ArrayFile], configuration: dict[str, Any]
    ) -> None:
        self.folder = Path(folder)
        self.arrays = list(arrays)
        self.configuration = configuration
        self.done: set[int] = set()

    @property
    def manifest(self) -> Path:
        """The file that says that the data set is complete."""
        return self.folder / MANIFEST

    def is_complete(self) -> bool:
        """Whether this very data set is there already."""
        return self._stored_configuration() == self.configuration and all(
            array.path.is_file() and array.path.stat().st_size == array.size
            for array in self.arrays
        )

    def open(self, overwrite: bool = False) -> None:
        """Begin the data set, or continue it where it stopped.

        Args:
            overwrite: delete another data set that lies there.

        Raises:
            UserError: another data set lies there, another process is writing it, the disk has
                no space for it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._read_journal(overwrite)
            self._check_space()
            self._allocate()
        except OSError as error:
            raise UserError(
                f"Cannot write {error.filename or self.folder}: {error.strerror}"
            ) from error

    def mark_done(self, chunk: int) -> None:
        """Note that all rows of a chunk are written."""
        self.done.add(chunk)
        self._journal.write(f"{chunk}\n")
        self._journal.flush()

    def finish(self, manifest: dict[str, Any]) -> None:
        """Publish the files and then the manifest."""
        for array in self.arrays:
            array.publish()
        with replacing(self.manifest) as temporary:
            temporary.write_text(json.dumps(manifest | {"configuration": self.configuration}))
        self._journal.close()
        (self.folder / JOURNAL).unlink()

    def _lock(self) -> None:
        """Open the journal for this process alone."""
        path = self.folder / JOURNAL
        self._journal = path.open("a+")
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"Another process is writing the data set in {self.folder}") from error

    def _read_journal(self, overwrite: bool) -> None:
        """Find out which chunks are done; begin the journal where there is none."""
        self._journal.seek(0)
        first, *chunks = self._journal.read().split("\n")
        stored = json.loads(first) if first else None
        if stored == self.configuration and all(a.partial.exists() for a in self.arrays):
            self.done = {int(chunk) for chunk in chunks[:-1]}
            return
        self._make_way(stored, overwrite)
        self._journal.truncate(0)
        self._journal.write(json.dumps(self.configuration) + "\n")
        self._journal.flush()

    def _make_way(self, stored: dict[str, Any] | None, overwrite: bool) -> None:
        """Delete what lies where the data set will be, if that is allowed."""
        paths = [self.manifest, *(array.path for array in self.arrays)]
        present = [path for path in paths if path.exists()]
        if not overwrite and (present or stored not in (None, self.configuration)):
            self._journal.close()
            raise UserError(
                f"{self.folder} holds another data set; give another folder, or --overwrite"
            )
        self.manifest.unlink(missing_ok=True)
        for array in self.arrays:
            array.remove()

    def _stored_configuration(self) -> dict[str, Any] | None:
        """The configuration of the complete data set in the folder, if there is one."""
        try:
            return json.loads(self.manifest.read_text())["configuration"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _check_space(self) -> None:
        """Refuse to begin what the disk cannot hold."""
        needed: dict[int, int] = {}
        folder_of: dict[int, Path] = {}
        for array in self.arrays:
            array.path.parent.mkdir(parents=True, exist_ok=True)
            device = array.path.parent.stat().st_dev
            present = array.partial.stat().st_blocks * 512 if array.partial.exists() else 0
            needed[device] = needed.get(device, 0) + array.size - present
            folder_of[device] = array.path.parent
        for device, size in needed.items():
            free = shutil.disk_usage(folder_of[device]).free
            if size > free:
                self._abandon()
                raise UserError(
                    f"The data set needs {size / 1e9:.2f} GB in {folder_of[device]}, and "
                    f"{free / 1e9:.2f} GB are free"
                )

    def _allocate(self) -> None:
        """Reserve the space of all files, or of none."""
        try:
            for array in self.arrays:
                array.allocate()
        except OSError:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """Leave nothing behind."""
        for array in self.arrays:
            array.partial.unlink(missing_ok=True)
        self._journal.close()
        (self.folder / JOURNAL).unlink(missing_ok=True)


def chunks(n_windows: int, size: int, done: Iterable[int]) -> list[tuple[int, int, int]]:
    """Chunks still to do as (number, first window, end)."""
    finished = set(done)
    return [
        (number, first, min(first + size, n_windows))
        for number, first in enumerate(range(0, n_windows, size))
        if number not in finished
    ]
