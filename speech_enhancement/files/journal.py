"""A journal: JSON lines, each written as soon as it is known, the last of which a kill may cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speech_enhancement.errors import UserError
from speech_enhancement.files import descriptors, json_files

Record = dict[str, Any]


class Journal:
    """Records in the order in which they were made.

    Args:
        path: the file; it and its folder are made when the first record is written.
        check: refuses what is no record.
    """

    def __init__(self, path: Path, check: json_files.Check) -> None:
        self.path = path
        self._check = check
        self._is_cut = path.is_file() and json_files.is_cut(path)

    def read(self) -> Iterator[Record]:
        """The records of earlier runs; lines that are damaged, as by a kill, are passed over.

        Raises:
            OSError: the file cannot be read.
        """
        if self.path.is_file():
            yield from json_files.lines(self.path, self._check)

    def append(self, record: Record) -> None:
        """Append a record to the journal.

        Raises:
            UserError: the folder cannot be written or the disk is full.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                # To append is one step on a disk of this machine, and not on one that many share.
                descriptors.lock(file.fileno(), wait=True)
                file.write("\n" * self._is_cut + json.dumps(record) + "\n")
            self._is_cut = False
        except OSError as error:
            raise UserError(f"Cannot write {self.path}: {error.strerror}") from error
