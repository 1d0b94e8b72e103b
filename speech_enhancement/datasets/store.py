"""Files of a data set of windows: allocated whole, filled in any order, published when complete.

While it grows, a data set is a few `*.npy.partial` files and a journal of the chunks that are done;
a run that was killed continues from it. The files get their names, and the manifest that training
asks for is written, when every window is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from speech_enhancement.errors import UserError
from speech_enhancement.files import descriptors, json_files, locks
from speech_enhancement.files.atomic import write_text

MANIFEST = "manifest.json"
LOCK = ".windows.lock"
JOURNAL = f"{MANIFEST}.unfinished"
PARTIAL = ".partial"
CONFIGURED = json_files.record({"configuration": json_files.anything})
BLOCK = 512  # bytes, the unit of st_blocks whatever the disk


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
        """The name of the file until it is complete."""
        return self.path.with_name(self.path.name + PARTIAL)

    @cached_property
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

    def exists(self) -> bool:
        """Whether it is there, complete or not."""
        return self.partial.is_file() or self.path.is_file()

    def is_complete(self) -> bool:
        """Whether it is there under its own name, and whole."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def missing_bytes(self) -> int:
        """The bytes that it will still occupy on the disk."""
        present = next((p for p in (self.partial, self.path) if p.is_file()), None)
        return self.size - (_bytes_on_disk(present) if present else 0)

    def allocate(self) -> None:
        """Reserve its space on the disk; what is there already stays."""
        if self.is_complete():
            return
        descriptor = os.open(self.partial, os.O_WRONLY | os.O_CREAT | descriptors.BINARY, 0o666)
        try:
            descriptors.reserve(descriptor, self.size)
            descriptors.write_at(descriptor, 0, self.header)
        finally:
            os.close(descriptor)

    def open(self) -> int:
        """A descriptor to write its rows with."""
        return os.open(self.partial, os.O_WRONLY | descriptors.BINARY)

    def write(self, file: int, first: int, rows: np.ndarray) -> None:
        """Write rows from the window `first` on, to the descriptor `file`."""
        rows = np.ascontiguousarray(rows, dtype=self.dtype)
        descriptors.write_at(file, len(self.header) + first * self.row_size, rows.data.cast("B"))

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
        configuration: everything that the bytes depend on, of values that JSON keeps.

    Attributes:
        done: numbers of the chunks that are written.
    """

    def __init__(
        self, folder: Path, arrays: Sequence[ArrayFile], configuration: dict[str, Any]
    ) -> None:
        self.folder = Path(folder)
        self.manifest = self.folder / MANIFEST
        self.arrays = list(arrays)
        self.configuration = json.loads(json.dumps(configuration))
        self.done: set[int] = set()

    def is_complete(self) -> bool:
        """Whether this very data set is there already."""
        try:
            content = json_files.load(
                self.manifest, "a manifest", CONFIGURED, json_files.LARGEST_INDEX
            )
        except (OSError, UserError):
            return False
        return content["configuration"] == self.configuration and all(
            array.is_complete() for array in self.arrays
        )

    @contextlib.contextmanager
    def opened(self, overwrite: bool = False) -> Iterator[None]:
        """Begin the data set, or continue it where it stopped.

        Args:
            overwrite: delete another data set that lies there.

        Raises:
            UserError: another data set lies there, another process is writing it, the disk has
                no space for it, or the folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            # Those of arrays may be another data set's, too, which has its journal elsewhere.
            for folder in sorted({self.folder, *(array.path.parent for array in self.arrays)}):
                stack.enter_context(locks.holding(folder / LOCK, f"The data set in {folder}"))
            try:
                journal = self._journal_path.open("a+", encoding="utf-8", errors="replace")
                self._journal = stack.enter_context(journal)
                self._begin(overwrite)
            except OSError as error:
                raise _unwritable(self.folder, error) from error
            yield

    def mark_done(self, chunk: int) -> None:
        """Note that all rows of a chunk are written."""
        self.done.add(chunk)
        self._note(str(chunk))

    def publish(self) -> None:
        """Give the files their names."""
        for array in self.arrays:
            array.publish()

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, with the configuration, and forget the journal."""
        content = manifest | {"configuration": self.configuration}
        write_text(self.manifest, json.dumps(content, indent=1) + "\n")
        self._journal_path.unlink()

    @property
    def _journal_path(self) -> Path:
        """The journal: the configuration on its first line, then the chunks that are done."""
        return self.folder / JOURNAL

    def _begin(self, overwrite: bool) -> None:
        """Continue the data set of the journal, or delete what is there and allocate a new one."""
        stored, done = self._read_journal()
        if stored == self.configuration and all(array.exists() for array in self.arrays):
            self.done = done
        else:
            self._check_vacant(stored, overwrite)
        try:
            if not self.done:
                self._make_way()
            self._check_space()
            for array in self.arrays:
                array.allocate()
        except (OSError, UserError):
            if not self.done:
                self._abandon()
            raise

    def _read_journal(self) -> tuple[dict[str, Any] | None, set[int]]:
        """The configuration that was begun, and the chunks that were done.

        A damaged journal is that of another data set, with the configuration `{}`.
        """
        self._journal.seek(0)
        first, *lines = self._journal.read().split("\n")
        if not lines:
            return None, set()  # killed before its first line was whole
        try:
            stored = json_files.parse(first, json_files.table(json_files.anything))
            return stored, {int(line) for line in lines[:-1]}
        except ValueError:
            return {}, set()

    def _note(self, line: str) -> None:
        """Add a line to the journal."""
        self._journal.write(line + "\n")
        self._journal.flush()

    def _check_vacant(self, stored: dict[str, Any] | None, overwrite: bool) -> None:
        """Refuse to delete what lies where the data set will be, unless that is wanted."""
        files = [self.manifest, *(array.path for array in self.arrays)]
        if stored is None:
            files += [array.partial for array in self.arrays]
        elif stored != self.configuration:
            files.append(self._journal_path)
        occupied = [path for path in files if path.exists()]
        if overwrite or not occupied:
            return
        if stored is None:
            self._journal_path.unlink()
        raise UserError(
            f"{occupied[0].parent} holds another data set; give another folder, or --overwrite"
        )

    def _make_way(self) -> None:
        """Delete what lies where the data set will be, and begin its journal."""
        self.manifest.unlink(missing_ok=True)
        for array in self.arrays:
            array.remove()
        self._journal.truncate(0)
        self._note(json.dumps(self.configuration))

    def _check_space(self) -> None:
        """Refuse to begin what the disks cannot hold."""
        needed: Counter[Path] = Counter()
        for array in self.arrays:
            array.path.parent.mkdir(parents=True, exist_ok=True)
            needed[array.path.parent] += array.missing_bytes()
        for device in {folder.stat().st_dev for folder in needed}:
            folders = [folder for folder in needed if folder.stat().st_dev == device]
            size = sum(needed[folder] for folder in folders)
            free = shutil.disk_usage(folders[0]).free
            if size > free:
                raise UserError(
                    f"The data set needs {size / 1e9:.3g} GB more in {folders[0]}, where "
                    f"{free / 1e9:.3g} GB are free"
                )

    def _abandon(self) -> None:
        """Delete the files of a data set that could not be begun."""
        for path in (self._journal_path, *(array.partial for array in self.arrays)):
            with contextlib.suppress(OSError):
                path.unlink()


def _bytes_on_disk(path: Path) -> int:
    """The bytes that a file occupies on the disk, or its length where the system does not tell."""
    facts = path.stat()
    return facts.st_blocks * BLOCK if hasattr(facts, "st_blocks") else facts.st_size


def _unwritable(folder: Path, error: OSError) -> UserError:
    """The sentence for a folder or disk that does not take the files."""
    return UserError(f"Cannot write {error.filename or folder}: {error.strerror}")


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Windows that are computed and noted as done together: `first` up to before `end`."""

    number: int
    first: int
    end: int
