"""Fills the files of a data set with mixtures, in chunks, by several processes.

The STFT is linear, so that only voice and noise are transformed and their sum is the mixture's.
Every chunk is computed by one thread with the same operations in the same order: the bytes do not
depend on the number of processes.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

import data_tools
from config import AudioConfig
from errors import UserError
from mixing_law import WINDOW, Mixer
from window_store import ArrayFile

SOUNDS = ("noisy_voice", "voice", "noise")
CHUNK_WINDOWS = 64
CHUNK_SAMPLES = 64 * 8064
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """What a data set of mixtures is, and where it lies.

    Args:
        audio: geometry.
        n_train, n_validation: windows of each split, training first in the files.
        train, validation: where their windows come from.
        spectrogram_folder, time_serie_folder: where the files go.
        save_phase: whether to store the phases.
    """

    audio: AudioConfig
    n_train: int
    n_validation: int
    train: Mixer
    validation: Mixer
    spectrogram_folder: Path
    time_serie_folder: Path
    save_phase: bool = False

    @property
    def n_windows(self) -> int:
        """Windows of both splits."""
        return self.n_train + self.n_validation

    @property
    def chunk_size(self) -> int:
        """Windows that are computed at once; fewer where they are long."""
        return max(1, min(CHUNK_WINDOWS, CHUNK_SAMPLES // self.audio.frame_length))

    @property
    def arrays(self) -> dict[str, ArrayFile]:
        """The files by name."""
        shape = (self.audio.n_bins, self.audio.n_frames)
        files = {"windows": self._file(self.spectrogram_folder, "windows", WINDOW, ())}
        for sound in SOUNDS:
            name = f"{sound}_amp_db"
            files[name] = self._file(self.spectrogram_folder, name, "<f4", shape)
            name = f"{sound}_timeserie"
            files[name] = self._file(
                self.time_serie_folder, name, "<f4", (self.audio.frame_length,)
            )
            if self.save_phase:
                name = f"{sound}_pha_db"
                files[name] = self._file(self.spectrogram_folder, name, "<c8", shape)
        return files

    def _file(self, folder: Path, name: str, dtype: object, shape: tuple[int, ...]) -> ArrayFile:
        """A file with a row for each window."""
        return ArrayFile(folder / f"{name}.npy", dtype, (self.n_windows, *shape))

    def draw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Window `index` of the files, see `Mixer.draw`."""
        if index < self.n_train:
            return self.train.draw(index)
        return self.validation.draw(index - self.n_train)

    def write_chunk(self, first: int, end: int) -> None:
        """Compute the windows from `first` to `end` and write them."""
        draws, voices, noises = zip(*map(self.draw, range(first, end)), strict=True)
        waveforms = {"voice": np.stack(voices), "noise": np.stack(noises)}
        spectrograms = {name: data_tools.stft(w, self.audio) for name, w in waveforms.items()}
        for sounds in (waveforms, spectrograms):
            sounds["noisy_voice"] = sounds["voice"] + sounds["noise"]
        arrays = self.arrays
        arrays["windows"].write(first, np.stack(draws))
        for sound in SOUNDS:
            arrays[f"{sound}_timeserie"].write(first, waveforms[sound])
            decibels = data_tools.spectrogram_to_db(spectrograms[sound])
            arrays[f"{sound}_amp_db"].write(first, decibels)
            if self.save_phase:
                arrays[f"{sound}_pha_db"].write(first, unit_phasors(spectrograms[sound]))


def unit_phasors(spectrogram: np.ndarray) -> np.ndarray:
    """The phase of a complex spectrogram as numbers of magnitude one; one where it is zero."""
    magnitude = np.abs(spectrogram)
    silent = magnitude < data_tools.TINY
    return np.where(silent, np.complex64(1), spectrogram / np.where(silent, 1, magnitude))


def write_chunks(
    data_set: DataSet, chunks: Sequence[tuple[int, int, int]], workers: int
) -> Iterator[tuple[int, int]]:
    """Write chunks in `workers` processes.

    Args:
        data_set: what to write.
        chunks: each its number, its first window and its end.
        workers: processes.

    Returns:
        For each chunk, as it is done, its number and how many windows it holds.

    Raises:
        UserError: a process died.
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    pool = concurrent.futures.ProcessPoolExecutor(
        max_workers=min(workers, max(1, len(chunks))),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(data_set,),
    )
    try:
        futures = [pool.submit(_write_chunk, *chunk) for chunk in chunks]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "A worker process was killed, perhaps for want of memory; the same command continues"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_data_set: DataSet


def _start_worker(data_set: DataSet) -> None:
    """Keep the data set of this process; die with the parent, and leave Ctrl-C to it."""
    global _data_set
    _data_set = data_set
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this process when the one that started it ends, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write_chunk(number: int, first: int, end: int) -> tuple[int, int]:
    """Write one chunk in a worker process."""
    try:
        _data_set.write_chunk(first, end)
    except OSError as error:
        raise UserError(f"Cannot write {error.filename}: {error.strerror}") from error
    return number, end - first
