"""Computes the windows of a data set and writes them, in chunks, by several processes.

The STFT is linear, so that only voice and noise are transformed and their sum is the mixture's.
Every chunk is computed by one thread with the same operations in the same order: the bytes do not
depend on the number of processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.datasets.store import ArrayFile, Chunk
from speech_enhancement.datasets.windows import WINDOW, WindowSource
from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic
from speech_enhancement.files.cluster import each_on_cluster
from speech_enhancement.files.workers import DIED, as_completed, worker_pool
from speech_enhancement.signal import dsp
from speech_enhancement.signal.short_stft import ShortSTFT

SOUNDS = ("noisy_voice", "voice", "noise")
CHUNK_WINDOWS = 64
CHUNK_SAMPLES = 64 * 8064
BLOCKS_IN_CHUNK = 8


@dataclasses.dataclass(frozen=True)
class DataSet:
    """What a data set is, and where it lies.

    Args:
        audio: geometry.
        splits: windows of each split and where they come from, in the order of the files.
        spectrogram_folder, time_serie_folder: where the files go.
        save_phase: whether to store the phases.
    """

    audio: AudioConfig
    splits: dict[str, tuple[int, WindowSource]]
    spectrogram_folder: Path
    time_serie_folder: Path
    save_phase: bool = False

    @property
    def n_windows(self) -> int:
        """Windows of all splits."""
        return sum(count for count, _ in self.splits.values())

    @cached_property
    def ranges(self) -> dict[str, range]:
        """Where the windows of each split are in the files."""
        ranges, begin = {}, 0
        for name, (count, _) in self.splits.items():
            ranges[name] = range(begin, begin + count)
            begin += count
        return ranges

    @property
    def chunk_size(self) -> int:
        """Windows in the piece of work of a process; fewer where they are long."""
        return max(1, min(CHUNK_WINDOWS, CHUNK_SAMPLES // self.audio.frame_length))

    @cached_property
    def arrays(self) -> dict[str, ArrayFile]:
        """The files by name."""
        spectrogram = (self.audio.n_bins, self.audio.n_frames)
        files = {"windows": self._file(self.spectrogram_folder, "windows", WINDOW, ())}
        for sound in SOUNDS:
            kinds: list[tuple[Path, str, str, tuple[int, ...]]] = [
                (self.spectrogram_folder, "amp_db", "<f4", spectrogram),
                (self.time_serie_folder, "timeserie", "<f4", (self.audio.frame_length,)),
            ]
            if self.save_phase:
                kinds.append((self.spectrogram_folder, "pha_db", "<c8", spectrogram))
            for folder, kind, dtype, shape in kinds:
                name = f"{sound}_{kind}"
                files[name] = self._file(folder, name, dtype, shape)
        return files

    def _file(self, folder: Path, name: str, dtype: Any, shape: tuple[int, ...]) -> ArrayFile:
        """A file with a row for each window."""
        return ArrayFile(folder / f"{name}.npy", dtype, (self.n_windows, *shape))

    @property
    def chunks(self) -> list[Chunk]:
        """The pieces of work that it is made of; none is of two splits."""
        pieces = [
            (first, min(first + self.chunk_size, windows.stop))
            for windows in self.ranges.values()
            for first in windows[:: self.chunk_size]
        ]
        return [Chunk(number, *piece) for number, piece in enumerate(pieces)]


class WindowWriter:
    """Writes windows of a data set into its files, which have been allocated."""

    def __init__(self, data_set: DataSet) -> None:
        self.data_set = data_set
        self.transform = ShortSTFT(data_set.audio)
        self.block_size = -(-data_set.chunk_size // BLOCKS_IN_CHUNK)
        self.files = {name: array.open() for name, array in data_set.arrays.items()}

    def write(self, first: int, end: int) -> None:
        """Compute the windows of one split from `first` to `end`, a cacheful at a time."""
        split = next(name for name, of in self.data_set.ranges.items() if first in of)
        _, source = self.data_set.splits[split]
        offset = self.data_set.ranges[split].start
        indices = range(first - offset, end - offset)
        rows = source.choose(indices)
        for begin in range(0, len(rows), self.block_size):
            block = slice(begin, begin + self.block_size)
            sounds = source.read(rows[block], indices[block])
            self._write_sounds(first + begin, sounds.reshape(-1, sounds.shape[-1]))
        self._write("windows", first, rows)

    def _write_sounds(self, first: int, waveforms: np.ndarray) -> None:
        """Write voices followed by as many noises, (2 * windows, samples), and their sums."""
        real, imaginary = self.transform(waveforms)
        for sound, wave, re, im in zip(
            SOUNDS, *map(_sum_and_halves, (waveforms, real, imaginary)), strict=True
        ):
            power = re * re
            power += im * im
            self._write(f"{sound}_timeserie", first, wave)
            self._write(f"{sound}_amp_db", first, dsp.power_to_db(power))
            if self.data_set.save_phase:
                self._write(f"{sound}_pha_db", first, unit_phasors(re, im, power))

    def _write(self, name: str, first: int, rows: np.ndarray) -> None:
        """Write rows of one file."""
        self.data_set.arrays[name].write(self.files[name], first, rows)

    def flush(self) -> None:
        """Have what was written on the disk, even if this machine is lost."""
        for array in self.data_set.arrays.values():
            atomic.flush(array.partial)


def _sum_and_halves(both: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noisy sound, voices and noises, given the voices followed by the noises."""
    half = len(both) // 2
    return both[:half] + both[half:], both[:half], both[half:]


def unit_phasors(real: np.ndarray, imaginary: np.ndarray, power: np.ndarray) -> np.ndarray:
    """The phase as complex numbers of magnitude one, complex64; one where there is silence."""
    magnitude = np.sqrt(power)
    silent = magnitude < dsp.TINY
    phasors = np.empty(real.shape, np.complex64)
    phasors.real = np.where(silent, 1.0, real / np.where(silent, 1.0, magnitude))
    phasors.imag = np.where(silent, 0.0, imaginary / np.where(silent, 1.0, magnitude))
    return phasors


def write_chunks(
    data_set: DataSet, chunks: Sequence[Chunk], workers: int
) -> Iterator[tuple[int, int]]:
    """Write chunks in `workers` processes.

    Returns:
        For each chunk, as it is done, its number and how many windows it holds.

    Raises:
        UserError: a process was killed, or a file cannot be written.
    """
    if not chunks:
        return
    with worker_pool(min(workers, len(chunks)), _keep, data_set) as pool:
        yield from as_completed([pool.submit(_write_chunk, chunk) for chunk in chunks])


def write_chunks_on_cluster(
    data_set: DataSet, chunks: Sequence[Chunk], address: str, sources: Iterable[Path]
) -> Iterator[tuple[int, int]]:
    """Write chunks on the nodes of a Ray cluster; see `write_chunks`.

    Args:
        data_set, chunks: what to write.
        address: of the cluster, see `cluster.each_on_cluster`.
        sources: files that the windows are drawn from.
    """
    if not chunks:
        return
    files = [*(array.partial for array in data_set.arrays.values()), *sources]
    tasks = {chunk: (chunk,) for chunk in chunks}
    for chunk, result in each_on_cluster(_write_safely, tasks, address, files, _keep, data_set):
        if result == DIED:
            raise UserError(f"Cannot mix the windows {chunk.first} to {chunk.end - 1}: {DIED}")
        yield result


_writer: WindowWriter


def _keep(data_set: DataSet) -> None:
    """Prepare a worker process."""
    global _writer
    _writer = WindowWriter(data_set)


def _write_chunk(chunk: Chunk) -> tuple[int, int]:
    """Write one chunk in a worker process."""
    try:
        _writer.write(chunk.first, chunk.end)
    except OSError as error:
        raise UserError(f"Cannot write the windows: {error.strerror}") from error
    return chunk.number, chunk.end - chunk.first


def _write_safely(chunk: Chunk) -> tuple[int, int]:
    """Write one chunk in a worker process whose machine may be lost."""
    written = _write_chunk(chunk)
    _writer.flush()
    return written
