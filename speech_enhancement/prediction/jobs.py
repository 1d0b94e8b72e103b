"""Which recordings to denoise, where each result goes, and which of them are done already.

Beside its results a folder keeps `denoised.jsonl`: one line of JSON when a recording is begun and
one when it is finished, so that a run that was killed goes on where it stopped, and that changed
recordings, weights or options are noticed.
"""

from __future__ import annotations

import dataclasses
import glob
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.audio_files import RECORDING_SUFFIXES, RawFormat, output_suffix
from speech_enhancement.files.journal import Journal, Record
from speech_enhancement.files.paths import PathFields

LOG_NAME = "denoised.jsonl"
SUFFIX_BESIDE = "_denoised"
DONE, SKIPPED, FAILED, STARTED = "done", "skipped", "failed", "started"

# What a line of the log says at least, and what it also says of a result that is there.
LINE = json_files.record({"output": json_files.text(), "status": json_files.text()})
RESULT = json_files.record(
    {
        "output": json_files.text(),
        "options": json_files.record({"plot": json_files.truth}),
        "audio_s": json_files.number(0.0),
        "seconds": json_files.number(0.0),
        "sample_rate": json_files.whole(1),
        "channels": json_files.whole(1),
        "level_in_dbfs": json_files.number(),
        "level_out_dbfs": json_files.number(),
        "clipped": json_files.whole(0),
        "notes": json_files.items(json_files.text()),
    }
)


def _line(value: Any, place: str) -> None:
    """Check a line of the log."""
    LINE(value, place)
    if value["status"] == DONE:
        RESULT(value, place)


@dataclasses.dataclass(frozen=True)
class Job:
    """One recording to denoise.

    Args:
        source: the recording.
        target: its result.
        root: folder of the log that has it.
    """

    source: Path
    target: Path
    root: Path

    @property
    def name(self) -> str:
        """The result's name in the log."""
        return Path(os.path.relpath(self.target, self.root)).as_posix()


@dataclasses.dataclass(frozen=True)
class Destination(PathFields):
    """Where results are written, and what they are called.

    Args:
        folder: mirrors the folders of the inputs; by default each result lies beside its recording.
        suffix: end of a result's name; none in `folder`, and `_denoised` beside the recording.
        audio_format: suffix of results, without dot; that of the recording by default.
        raw: how recordings without a header are read; their results have none either.
        name: path of the one result, where there is one.
    """

    folder: Path | None = None
    suffix: str | None = None
    audio_format: str | None = None
    raw: RawFormat | None = None
    name: Path | None = None

    @property
    def name_end(self) -> str:
        """What is added to a recording's name."""
        if self.suffix is not None:
            return self.suffix
        return SUFFIX_BESIDE if self.folder is None else ""

    def job(self, source: Path, parent: Path) -> Job:
        """The job of a recording that was found under `parent`."""
        root = parent if self.folder is None else self.folder
        end = output_suffix(source, self.raw, self.audio_format)
        place = root / os.path.relpath(source.parent, parent)
        target = place / f"{source.stem}{self.name_end}{end}"
        if self.name is not None:
            target = self.name if self.folder is None else self.folder / self.name
            root = target.parent if self.folder is None else root
        return Job(source, target, root)


def find_jobs(inputs: Iterable[str], destination: Destination, recursive: bool) -> list[Job]:
    """The jobs of files, folders and patterns.

    Args:
        inputs: paths, and patterns such as `interviews/**/*.wav`.
        destination: where results go.
        recursive: look into the folders of folders too.

    Raises:
        UsageError: an input is empty, or there is a name for one result and more than one
            recording.
        UserError: a folder or pattern has no recordings, or the results' folder is none.
    """
    folder = destination.folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UserError(f"`dir_save_prediction` must be a folder. Received: {folder}")
    jobs: dict[Path, Job] = {}
    for text in inputs:
        if not text:
            raise UsageError("An input must be a path or a pattern. Received an empty one")
        for source, parent in _expand(text, destination, recursive):
            jobs.setdefault(source.absolute(), destination.job(source, parent))
    if destination.name is not None and len(jobs) > 1:
        raise UsageError(
            f"`audio_output_prediction` names one result, and there are {len(jobs)} recordings"
        )
    return list(jobs.values())


def _expand(text: str, destination: Destination, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """The recordings that one input stands for, each with the folder it was found under."""
    path = Path(text)
    if os.path.isdir(path):  # noqa: PTH112 (a name that cannot be is no folder, and no error)
        found = [p for p in _walk(path, recursive) if not _is_result(p, path, destination)]
        if not found:
            deeper = "" if recursive else " (--recursive looks into its folders too)"
            raise UserError(f"No recordings in {path}{deeper}")
        yield from ((p, path) for p in found)
    elif not os.path.lexists(path) and glob.has_magic(text):
        matches = [Path(p) for p in sorted(glob.iglob(text, recursive=True))]  # noqa: PTH207
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
        parent = Path(*fixed)
        found = [p for p in matches if not p.is_dir() and not _is_result(p, parent, destination)]
        if not found:
            raise UserError(f"No recordings match {text}")
        yield from ((p, parent) for p in found)
    else:
        yield path, path.parent


def _walk(folder: Path, recursive: bool) -> list[Path]:
    """Files named like recordings in a folder, sorted; links are followed, each folder once."""
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen or not recursive:
            folders.clear()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        found += [
            Path(place, name)
            for name in names
            if Path(name).suffix.lower() in RECORDING_SUFFIXES and not name.startswith(".")
        ]
    return sorted(found)


def _is_result(path: Path, parent: Path, destination: Destination) -> bool:
    """Whether a file that was found under `parent` is a result of this or an earlier run."""
    folder = None if destination.folder is None else destination.folder.absolute()
    if folder is not None and parent.absolute() in folder.parents:
        return folder in path.absolute().parents
    beside = folder is None or folder == parent.absolute()
    end = destination.name_end
    return beside and bool(end) and path.stem.endswith((end, f"{end}_noise"))


def refuse_collisions(results: Iterable[tuple[Path, Path]]) -> None:
    """Refuse two recordings with one result.

    Args:
        results: recordings, each with a file that is written for it.

    Raises:
        UsageError: there are two such.
    """
    sources: dict[Path, Path] = {}
    for source, result in results:
        other = sources.setdefault(result.absolute(), source)
        if other != source:
            raise UsageError(
                f"{other} and {source} would both be written to {result}; "
                "denoise them in two runs, or into their own folders"
            )


class JobLog:
    """The log of a folder of results: what was made of which recording, and how.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._journal = Journal(root / LOG_NAME, _line)
        self._records: dict[str, Record] = {}
        self._owned: set[str] = set()
        for line in self._journal.read():
            self._keep(line)

    def _keep(self, record: Record) -> None:
        """Remember a record."""
        self._records[record["output"]] = record
        if record["status"] != FAILED:
            self._owned.add(record["output"])

    def record(self, job: Job) -> Record:
        """The last line about a job's result; empty if there is none."""
        return self._records.get(job.name, {})

    def owns(self, job: Job) -> bool:
        """Whether a job's result was ever begun, so that a file of its name is not another's."""
        return job.name in self._owned

    def append(self, record: Record) -> None:
        """Append a record to the log.

        Raises:
            UserError: the folder cannot be written or the disk is full.
        """
        self._keep(record)
        self._journal.append(record)
