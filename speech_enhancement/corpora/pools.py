"""Source recordings of voices and noises: found, decoded once into a pool, split, and read.

A pool is one flat file of 16-bit samples at one rate, each recording scaled to its own peak, with
a JSON index beside it. Windows are read from it at their places, so that many processes share the
system's page cache and none of them holds the audio in memory.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from speech_enhancement.config import MAX_RATE
from speech_enhancement.errors import UsageError, UserError, printable
from speech_enhancement.files import (
    atomic,
    audio_files,
    audio_io,
    descriptors,
    json_files,
    locks,
)
from speech_enhancement.files import workers as worker_pool
from speech_enhancement.files.json_files import items, number, record, row, text, whole
from speech_enhancement.signal import dsp

POOL_VERSION = 2
FULL_SCALE = 32767
LOCK = ".pools.lock"
BYTES_PER_SAMPLE = 2
FRAMES_PER_BLOCK = 10_000
FILES_PER_TASK = 4
FILES_WORTH_A_PROCESS = 100
PARTS = f"{atomic.PARTIAL}decoding-"
VCTK_NAME = r"([ps]\d+)_\d+\b"

# Path, group, samples, active RMS, offset, number and scale of a recording.
_FACTS = text(), text(), whole(0), number(0.0), whole(0), whole(0), number(0.0)
INDEX = record(
    {
        "digest": text(),
        "sample_rate": whole(1, MAX_RATE),
        "recordings": items(row(*_FACTS)),
        "bad": items(row(text(), text())),
    }
)

GroupedFiles = Sequence[tuple[Path, str]]


@dataclasses.dataclass(frozen=True)
class PoolRecording:
    """One source recording in a pool.

    Args:
        path: file that it was decoded from.
        group: speaker of a voice, class of a noise.
        n_samples: length at the rate of the pool.
        active_rms: level over its active frames, see `dsp.active_rms`.
        offset: its first sample in the pool file, in samples.
        number: its place among the files that the pool was built of.
    """

    path: Path
    group: str
    n_samples: int
    active_rms: float
    offset: int
    number: int = 0


def find_voices(folder: Path) -> list[tuple[Path, str]]:
    """Audio files below `folder`, each with its speaker.

    The speaker is the folder that a file lies in, relative to `folder`. Where the name of the
    folder above begins the file's name, as in LibriSpeech's `19/198/19-198-0001.flac`, it is that
    one. A file directly in `folder` is a speaker of its own, unless it is named as in VCTK and
    VoiceBank, `p226_001.wav`.

    Raises:
        UserError: the folder is missing or holds no audio.
    """
    folder = Path(folder)
    files = audio_io.find_audio_files(folder)
    return [(path, _speaker(path.relative_to(folder))) for path in files]


def _speaker(path: Path) -> str:
    """The speaker of a voice file, from its path below the folder of voices."""
    parents = path.parent.parts
    if not parents:
        numbered = re.match(VCTK_NAME, path.name)
        return numbered[1] if numbered else path.name
    if len(parents) > 1 and re.match(re.escape(parents[-2]) + r"[-_]", path.name):
        parents = parents[:-1]
    return "/".join(parents)


def find_noises(folder: Path, classes: Sequence[str] | None = None) -> list[tuple[Path, str]]:
    """Audio files below `folder`, each with its class.

    The class is ESC-50's where a `meta/esc50.csv` in, below or beside `folder` lists the file,
    else the name of the folder that it lies in.

    Args:
        folder: where to look.
        classes: keep only classes that contain one of these as whole words (`alarm` keeps
            `clock_alarm`); all by default.

    Raises:
        UserError: the folder is missing or holds no audio.
        UsageError: no class contains one of `classes`.
    """
    folder = Path(folder)
    esc50 = _esc50_categories(folder)
    found = audio_io.find_audio_files(folder)
    files = [(path, esc50.get(path.name, path.parent.name)) for path in found]
    if not classes:
        return files
    present = sorted({group for _, group in files})
    for name in classes:
        if not any(_has_words(group, name) for group in present):
            raise UsageError(
                f"`noise_classes` must be among {', '.join(present)}. Received: {name}"
            )
    return [file for file in files if any(_has_words(file[1], name) for name in classes)]


def _esc50_categories(folder: Path) -> dict[str, str]:
    """ESC-50's category of each file name, from the table that comes with it."""
    tables = sorted(folder.rglob("meta/esc50.csv")) or [folder.parent / "meta/esc50.csv"]
    categories: dict[str, str] = {}
    for table in tables:
        if table.is_file():
            with table.open(newline="") as file:
                categories |= {row["filename"]: row["category"] for row in csv.DictReader(file)}
    return categories


def _has_words(group: str, name: str) -> bool:
    """Whether the words of `name` follow one another in `group`."""
    wanted, words = (re.split(r"[^a-z0-9]+", text.lower().strip()) for text in (name, group))
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words)))


def split(
    recordings: Sequence[PoolRecording],
    validation_split: float,
    seed: int,
    key: Callable[[PoolRecording], Any] = lambda recording: recording.group,
) -> tuple[list[int], list[int]]:
    """Part recordings into training and validation, so that no key is on both sides.

    Keys are taken for validation in an order drawn from `seed`, as long as they fit in its share
    of the audio; scikit-learn's splits have a share of the keys, however long they are. Where all
    recordings have one key, each recording is its own.

    Args:
        recordings: what to part.
        validation_split: share of the audio for validation, between 0 and 1.
        seed: of the order.
        key: what must not be on both sides; the speaker or class by default.

    Returns:
        Indices for training and for validation, neither empty.

    Raises:
        UserError: there is only one recording.
    """
    members: dict[Any, list[int]] = defaultdict(list)
    for index, recording in enumerate(recordings):
        members[key(recording)].append(index)
    groups = list(members.values())
    if len(groups) == 1:
        groups = [[index] for index in groups[0]]
    if len(groups) < 2:
        raise UserError(
            "Training and validation need different recordings, at least 2 of voices and 2 of "
            f"noises. Received: {len(groups)}"
        )
    sizes = [sum(recordings[index].n_samples for index in group) for group in groups]
    taken = _fitting(sizes, validation_split * sum(sizes), seed)
    validation = sorted(index for chosen in taken for index in groups[chosen])
    return sorted(set(range(len(recordings))) - set(validation)), validation


def _fitting(sizes: Sequence[int], limit: float, seed: int) -> list[int]:
    """Indices of sizes, in random order, whose sum stays below `limit`; at least the smallest."""
    taken: list[int] = []
    total = 0
    for index in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if total + sizes[index] <= limit:
            taken.append(index)
            total += sizes[index]
    return taken or [int(np.argmin(sizes))]


class AudioPool:
    """Recordings decoded to one rate in one file; opened anew in each process it is sent to.

    Args:
        index_path: the JSON index that `build` wrote.

    Attributes:
        recordings: what it holds.
        bad: files that could not be used, each with a sentence that says why.
        sample_rate: samples per second, Hz.
        digest: identifies the sources and the rate.
    """

    def __init__(self, index_path: Path) -> None:
        self.index_path = Path(index_path)
        index = json_files.load(
            self.index_path, "an index of recordings", INDEX, json_files.LARGEST_INDEX
        )
        self.sample_rate: int = index["sample_rate"]
        self.digest: str = index["digest"]
        self.bad: list[tuple[str, str]] = [(path, reason) for path, reason in index["bad"]]
        self.recordings = [
            PoolRecording(Path(path), group, n_samples, rms, offset, number)
            for path, group, n_samples, rms, offset, number, _ in index["recordings"]
        ]
        self._scales = [row[-1] for row in index["recordings"]]
        self._file: int | None = None

    @classmethod
    def build(
        cls,
        files_with_groups: GroupedFiles,
        sample_rate: int,
        cache_dir: Path,
        progress: bool = True,
        workers: int = 1,
    ) -> AudioPool:
        """Decode recordings, or reuse the pool of the same ones.

        Args:
            files_with_groups: files, each with its speaker or class.
            sample_rate: rate of the pool, Hz.
            cache_dir: folder of the pool file and its index. A pool is reused when the names,
                sizes and times of its files, their groups and the rate are as they were.
            progress: show a bar on stderr.
            workers: processes that decode.

        Raises:
            UserError: none of the files can be used, or the folder cannot be written.
        """
        digest = _digest(files_with_groups, sample_rate)
        index_path = Path(cache_dir) / f"pool_{digest}.json"
        if not _is_whole(index_path):
            with locks.holding(index_path.parent / LOCK, "The folder of pools", wait=True):
                if not _is_whole(index_path):  # another process may have built it meanwhile
                    _build(files_with_groups, sample_rate, digest, index_path, progress, workers)
        return cls(index_path)

    def read(self, index: int, start: int, length: int, gain: float = 1.0) -> np.ndarray:
        """Cut a window out of a recording.

        Args:
            index: into `recordings`.
            start: first sample, may lie before the recording.
            length: samples.
            gain: factor of the samples.

        Returns:
            float32 (length,), zeros where the recording does not reach.
        """
        recording = self.recordings[index]
        begin, end = max(0, start), min(recording.n_samples, start + length)
        window = np.empty(length, np.float32)
        window[: begin - start] = 0.0
        window[max(0, end - start) :] = 0.0
        if begin < end:
            samples = self._pread(recording.offset + begin, end - begin)
            part = window[begin - start : end - start]
            np.multiply(samples, np.float32(self._scales[index] * gain), out=part)
        return window

    def read_looped(self, index: int, start: int, length: int, gain: float = 1.0) -> np.ndarray:
        """Like `read`, from `start` within the recording and from its beginning after its end."""
        n_samples = self.recordings[index].n_samples
        if start + length <= n_samples:
            return self.read(index, start, length, gain)
        return np.resize(np.roll(self.read(index, 0, n_samples, gain), -start), length)

    def _pread(self, offset: int, length: int) -> np.ndarray:
        """Samples of the pool file, int16."""
        if self._file is None:
            self._file = os.open(_samples_path(self.index_path), os.O_RDONLY | descriptors.BINARY)
        raw = descriptors.read_at(self._file, length * BYTES_PER_SAMPLE, offset * BYTES_PER_SAMPLE)
        if len(raw) != length * BYTES_PER_SAMPLE:
            raise UserError(f"{_samples_path(self.index_path)} is incomplete; delete it")
        return np.frombuffer(raw, "<i2")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None}

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]


def _is_whole(index_path: Path) -> bool:
    """Whether a pool is there, and its index is not damaged."""
    if not index_path.is_file() or not _samples_path(index_path).is_file():
        return False
    try:
        AudioPool(index_path)
    except UserError:
        return False
    return True


def _samples_path(index_path: Path) -> Path:
    """The file of samples that belongs to an index."""
    return index_path.with_suffix(".int16")


def _digest(files: GroupedFiles, sample_rate: int) -> str:
    """A short name for a list of files as they are now, at a rate."""
    digest = hashlib.sha256(f"{POOL_VERSION} {sample_rate}".encode())
    for path, group in files:
        status = path.stat()
        facts = f"\0{path.resolve()}\0{group}\0{status.st_size} {status.st_mtime_ns}"
        digest.update(os.fsencode(facts))
    return digest.hexdigest()[:16]


def _build(
    files: GroupedFiles,
    sample_rate: int,
    digest: str,
    index_path: Path,
    progress: bool,
    workers: int,
) -> None:
    """Decode `files` into a pool; the index is written last."""
    _clear_remains(index_path.parent)
    rows: list[tuple[str, str, int, float, int, int, float]] = []
    bad: list[tuple[str, str]] = []
    offset = 0
    with (
        atomic.replacing(_samples_path(index_path)) as temporary,
        temporary.open("wb") as pool_file,
        tempfile.TemporaryDirectory(dir=index_path.parent, prefix=PARTS) as folder,
    ):
        decoded = _decode_all([path for path, _ in files], sample_rate, Path(folder), workers)
        bar = tqdm(decoded, "decoding", len(files), disable=not progress, unit="file")
        for number, ((path, group), sound) in enumerate(zip(files, bar, strict=True)):
            if isinstance(sound, str):
                bad.append((str(path), sound))
                continue
            with sound.part.open("rb") as part:
                shutil.copyfileobj(part, pool_file)
            sound.part.unlink()
            facts = (group, sound.n_samples, sound.active_rms, offset, number, sound.scale)
            rows.append((str(path.resolve()), *facts))
            offset += sound.n_samples
        if not rows:
            raise UserError(f"None of the {len(files)} recordings can be used: {bad[0][1]}")
    index = {"digest": digest, "sample_rate": sample_rate, "recordings": rows, "bad": bad}
    atomic.write_text(index_path, json.dumps(index))


def _clear_remains(folder: Path) -> None:
    """Delete what processes that were killed while decoding left behind."""
    for parts in folder.glob(f"{PARTS}*"):
        shutil.rmtree(parts, ignore_errors=True)
    for unfinished in folder.glob(f"{atomic.PARTIAL}*.int16"):
        unfinished.unlink()


@dataclasses.dataclass(frozen=True)
class _Sound:
    """A decoded recording: a file of int16 samples, what one step of them is worth, its level."""

    part: Path
    n_samples: int
    scale: float
    active_rms: float


def _decode_all(
    paths: Sequence[Path], sample_rate: int, folder: Path, workers: int
) -> Iterator[_Sound | str]:
    """Decode files into parts in `folder`, in order, in up to `workers` processes."""
    parts = [folder / str(number) for number in range(len(paths))]
    tasks = [(path, sample_rate, part) for path, part in zip(paths, parts, strict=True)]
    risky = {n: task for n, task in enumerate(tasks) if audio_files.has_risky_decoder(task[0])}
    apart = dict(_decode_apart(risky, workers))
    safe = _decode_safe([task for n, task in enumerate(tasks) if n not in risky], workers)
    for n in range(len(tasks)):
        yield apart[n] if n in risky else next(safe)


Task = tuple[Path, int, Path]


def _decode_apart(tasks: dict[int, Task], workers: int) -> Iterator[tuple[int, _Sound | str]]:
    """Decode what may crash its process, so that it costs that file only."""
    for n, sound in worker_pool.each_apart(_decode, tasks, workers) if tasks else ():
        died = sound == worker_pool.DIED
        yield n, f"Cannot read {tasks[n][0]}: {sound}" if died else sound


def _decode_safe(tasks: list[Task], workers: int) -> Iterator[_Sound | str]:
    """Decode other files in order, in this process if they are few."""
    workers = min(workers, len(tasks) // FILES_WORTH_A_PROCESS)
    if workers <= 1:
        yield from (_decode(*task) for task in tasks)
        return
    with worker_pool.worker_pool(workers) as pool:
        yield from pool.map(_decode, *zip(*tasks, strict=True), chunksize=FILES_PER_TASK)


def _decode(path: Path, sample_rate: int, part: Path) -> _Sound | str:
    """One recording at a rate, or the sentence that says why it cannot be used."""
    try:
        with tempfile.TemporaryFile(dir=part.parent) as unscaled:
            peak = 0.0
            for block in audio_io.stream_audio(path, sample_rate):
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
                unscaled.write(block.data)
            if peak < dsp.TINY:
                return f"Only silence in {path}"
            if peak > dsp.LOUDEST:
                return f"Samples beyond {dsp.LOUDEST:g} times full scale in {path}"
            unscaled.seek(0)
            return _quantise(unscaled, sample_rate, peak / FULL_SCALE, part)
    except UserError as error:
        return str(error)


def _quantise(unscaled: BinaryIO, sample_rate: int, scale: float, part: Path) -> _Sound:
    """Turn a file of float32 samples into one of int16 samples."""
    n_samples = 0
    powers = []
    block_bytes = FRAMES_PER_BLOCK * dsp.activity_frame(sample_rate) * 4
    with part.open("wb") as file:
        while raw := unscaled.read(block_bytes):
            block = np.frombuffer(raw, np.float32)
            powers.append(dsp.activity(block, sample_rate))
            file.write(np.round(block / np.float32(scale)).astype("<i2").data)
            n_samples += len(block)
    return _Sound(part, n_samples, scale, dsp.rms_of_active(np.concatenate(powers)))


def report_bad(pools: Iterable[AudioPool]) -> int:
    """Name every file that could not be used on stderr, and return how many there were."""
    bad = dict(entry for pool in pools for entry in pool.bad)
    for reason in bad.values():
        print(f"left out: {printable(reason)}", file=sys.stderr)
    return len(bad)
