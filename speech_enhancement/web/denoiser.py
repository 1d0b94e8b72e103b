"""What the web page does: denoises one recording that somebody sent, as prediction does.

Recordings that are too long are refused, and messages name no folder of this machine.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.files import workers
from speech_enhancement.files.audio_files import Recording, is_risky, output_suffix
from speech_enhancement.inference import network_files, runtime
from speech_enhancement.inference.enhancer import Enhancer, checked_limits
from speech_enhancement.prediction.one_file import (
    FileOptions,
    Progress,
    Report,
    dark_picture_path,
    denoise_file,
    picture_path,
)

# What browsers play; all else comes back as wav.
PLAYABLE_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus")
LOADED_NETWORKS = 4
POLL_S = 0.05


class Loading(NamedTuple):
    """What `Enhancer.load` is called with in another process."""

    network: Path
    runtime: str
    threads: int | None
    strength: float


class Work(NamedTuple):
    """What another process denoises: a recording of at most so many minutes."""

    source: Path
    target: Path
    max_minutes: float


@dataclasses.dataclass(frozen=True)
class Denoised:
    """What is shown of one recording.

    Args:
        sound: the denoised recording.
        pictures: paths of the spectrograms of before and after, for light and for dark pages;
            one that could not be drawn is not there.
        report: levels and length.
    """

    sound: Path
    pictures: tuple[Path, Path]
    report: Report

    @property
    def folder(self) -> Path:
        """The folder that contains these files and nothing else."""
        return self.sound.parent


class WebDenoiser:
    """The networks of a folder, loaded when they are first asked for.

    Args:
        weights_folder: folder of networks.
        max_minutes: length of the longest recording that is taken.
        runtime, threads: see `Enhancer.load`.

    Raises:
        UserError: the folder has no network.
    """

    def __init__(
        self,
        weights_folder: Path,
        max_minutes: float,
        runtime: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.names = network_names(weights_folder)
        self._folder, self._max_minutes = weights_folder, max_minutes
        self._runtime, self._threads = runtime, threads
        self._load = functools.lru_cache(LOADED_NETWORKS)(self._load_network)

    def denoise(
        self,
        source: Path,
        name: str,
        strength: float,
        folder: Path,
        progress: Progress | None = None,
    ) -> Denoised:
        """Denoise a recording.

        Args:
            source: the recording.
            name: one of `names`.
            strength: 0..1, see `Enhancer.load`.
            folder: the result goes to a new folder in it.
            progress: see `one_file`.

        Raises:
            UserError: the recording is unreadable or too long, or there is no such network.
        """
        try:
            return self._denoise(source, name, strength, folder, progress)
        except UserError as error:
            raise UserError(str(error).replace(str(source), source.name)) from error

    def _denoise(
        self, source: Path, name: str, strength: float, folder: Path, progress: Progress | None
    ) -> Denoised:
        """Denoise a recording; messages name its whole path."""
        enhancer = self._enhancer(name, strength)
        place = Path(tempfile.mkdtemp(dir=folder))
        target = place / f"{source.stem}_denoised{suffix(source)}"
        try:
            if is_risky(source, target):
                loading = Loading(self._folder / name, self._runtime, self._threads, strength)
                work = Work(source, target, self._max_minutes)
                report = _denoise_apart(loading, work, progress or _nothing)
            else:
                report = _denoise_short(enhancer, source, target, self._max_minutes, progress)
        except BaseException:
            shutil.rmtree(place)
            raise
        pictures = picture_path(target), dark_picture_path(target)
        return Denoised(target, pictures, report)

    def _enhancer(self, name: str, strength: float) -> Enhancer:
        """A network at a strength.

        Raises:
            UserError: there is no such network, or no such strength.
        """
        if name not in self.names:
            raise UserError(f"The model must be one of {', '.join(self.names)}. Received: {name}")
        loaded = self._load(name)
        return Enhancer(loaded.network, loaded.card, checked_limits(strength, None))

    def _load_network(self, name: str) -> Enhancer:
        """A network from its files."""
        return Enhancer.load(self._folder / name, self._runtime, self._threads)


def _denoise_short(
    enhancer: Enhancer, source: Path, target: Path, max_minutes: float, progress: Progress | None
) -> Report:
    """Denoise a recording, unless it would take too long.

    Raises:
        UserError: it would, or it cannot be denoised.
    """
    recording = Recording(source)
    _check_length((recording.n_samples or 0) / recording.format.sample_rate, source, max_minutes)
    # A header that promises too little is not believed.
    options = FileOptions(end_s=60.0 * max_minutes + 1.0, plot=True, dark_plot=True)
    report = denoise_file(enhancer, source, target, options, progress)
    _check_length(report.audio_s, source, max_minutes)
    return report


def _check_length(seconds: float, source: Path, max_minutes: float) -> None:
    """Refuse a recording that would take too long.

    Raises:
        UserError: it is too long.
    """
    if seconds > 60.0 * max_minutes:
        raise UserError(
            f"{source.name} lasts more than {max_minutes:g} minutes, the limit of this page "
            f"(--max_minutes); {places.COMMAND} denoises recordings of any length"
        )


def _denoise_apart(loading: Loading, work: Work, progress: Progress) -> Report:
    """Denoise in a process of its own, so that what crashes is not the server.

    Raises:
        UserError: it crashed, or the recording cannot be denoised.
    """
    steps = multiprocessing.get_context("spawn").SimpleQueue()
    with (
        workers.worker_pool(1, _start_worker, loading, steps) as pool,
        workers.naming_deaths(f"Cannot denoise {work.source}: {workers.DIED}"),
    ):
        future = pool.submit(_work, *work)
        while not (future.done() and steps.empty()):
            concurrent.futures.wait([future], POLL_S)
            while not steps.empty():
                progress(*steps.get())
        return future.result()


_process_worker: list[tuple[Enhancer, Any]] = []


def _start_worker(loading: Loading, steps: Any) -> None:
    """Prepare a new process: its enhancer, and where it tells how far it is."""
    _process_worker.append((Enhancer.load(*loading), steps))


def _work(source: Path, target: Path, max_minutes: float) -> Report:
    """Denoise the one recording of a process."""
    enhancer, steps = _process_worker[0]
    return _denoise_short(enhancer, source, target, max_minutes, lambda *step: steps.put(step))


def _nothing(done: int, total: int, rate: int) -> None:
    """A progress callback that does nothing."""


def network_names(folder: Path) -> list[str]:
    """Names of the networks in a folder.

    Raises:
        UserError: there are none.
    """
    known = network_files.names_in(folder, network_files.CARD)
    runnable = {n for s in runtime.SUFFIXES.values() for n in network_files.names_in(folder, s)}
    names = [name for name in known if name in runnable]
    if not names:
        raise UserError(f"There are no networks in {folder}")
    return names


def suffix(source: Path) -> str:
    """Suffix of the result: the recording's own where browsers play it."""
    own = output_suffix(source, None, None)
    return own if own.lower() in PLAYABLE_SUFFIXES else ".wav"
