"""Where the windows of a data set come from: mixtures of voices and noises, or recorded pairs.

Window `index` of a split depends on the seed, the split and the index alone, so that windows can
be made in any order by any number of processes. `mixing.py` draws the richer mixtures of training
on the fly; these are the plain ones of a data set on disk.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

import data_tools
from errors import UsageError
from sources import AudioPool

Range = tuple[float, float]

LOWEST_RMS = 1e-10
WINDOW = np.dtype(
    [
        ("voice", "<i4"),
        ("voice_start", "<i8"),
        ("noise", "<i4"),
        ("noise_start", "<i8"),
        ("snr_db", "<f4"),
        ("level_dbfs", "<f4"),
        ("voice_gain", "<f4"),
        ("noise_gain", "<f4"),
    ]
)


class WindowSource(Protocol):
    """Anything that windows can be drawn from."""

    def draw(self, indices: range) -> tuple[np.ndarray, np.ndarray]:
        """Windows of a split.

        Returns:
            What was drawn, of dtype `WINDOW` and shape (windows,): recordings by their number in
            the pools, the sample at which the window begins in them, levels, and factors of the
            samples. The voices and then the noises, float32 (2, windows, frame_length); their sum
            is the noisy voice.
        """


@dataclasses.dataclass(frozen=True)
class MixingLaw:
    """Levels of voice and noise in a mixture, each drawn uniformly from a range.

    By default the voice recording is brought to a level and the noise to a signal-to-noise ratio
    below it, both measured over the active frames of the whole recordings: a window in a pause of
    the voice is a window of noise, as it is when a recording is denoised. With `noise_level`, the
    samples are multiplied as they are, as in V. Belz's Speech-enhancement.

    Args:
        snr_db: level of the voice over the noise, dB.
        level_dbfs: level of the voice, dB re full scale.
        noise_level: factor of the noise; overrides `snr_db` and `level_dbfs`.
        voice_level: factor of the voice, with `noise_level`.

    Raises:
        UsageError: a range is upside down or not finite, or a factor is negative.
    """

    snr_db: Range = (-5.0, 15.0)
    level_dbfs: Range = (-35.0, -15.0)
    noise_level: Range | None = None
    voice_level: Range = (1.0, 1.0)

    def __post_init__(self) -> None:
        for names, (low, high) in (
            ("`snr_min` and `snr_max`", self.snr_db),
            ("`level_min` and `level_max`", self.level_dbfs),
            ("`noise_level`", self.noise_level or (0.0, 0.0)),
            ("`voice_level`", self.voice_level),
        ):
            if not (np.isfinite([low, high]).all() and low <= high):
                raise UsageError(f"{names} must rise from low to high. Received: {low} {high}")
            if names.endswith("_level`") and low < 0:
                raise UsageError(f"{names} must not be negative. Received: {low} {high}")

    def draw_gains(
        self, rng: np.random.Generator, voice_rms: float, noise_rms: float
    ) -> tuple[float, float]:
        """Factors of a voice and a noise of these levels."""
        if self.noise_level is not None:
            return within(rng, self.voice_level), within(rng, self.noise_level)
        level, snr = within(rng, self.level_dbfs), within(rng, self.snr_db)
        return 10.0 ** (level / 20.0) / voice_rms, 10.0 ** ((level - snr) / 20.0) / noise_rms


class Places:
    """Draws windows out of recordings, each second of them as likely as any other.

    A recording shorter than a window lies anywhere within it, between silences.

    Args:
        lengths: of the recordings, samples.
        frame_length: of a window, samples.
        hop_length: longer recordings are entered at multiples of this, samples.
    """

    def __init__(self, lengths: Sequence[int], frame_length: int, hop_length: int) -> None:
        self._lengths = list(lengths)
        self._ends = list(itertools.accumulate(lengths))
        self._frame_length = frame_length
        self._hop_length = hop_length

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """A recording's place in the list, and the sample of it at which the window begins."""
        place = bisect.bisect_right(self._ends, below(rng, self._ends[-1]))
        spare = self._lengths[place] - self._frame_length
        if spare <= 0:
            return place, -below(rng, 1 - spare)
        return place, on_grid(rng, spare, self._hop_length)


def on_grid(rng: np.random.Generator, last: int, hop_length: int) -> int:
    """A multiple of `hop_length` from 0 to `last`."""
    return hop_length * below(rng, last // hop_length + 1)


# Generator.uniform and .integers take ten times as long for a single number.
def within(rng: np.random.Generator, limits: Range) -> float:
    """A number between two limits."""
    return limits[0] + (limits[1] - limits[0]) * rng.random()


def below(rng: np.random.Generator, limit: int) -> int:
    """A whole number from 0 to `limit` - 1."""
    return int(limit * rng.random())


@dataclasses.dataclass(frozen=True)
class Grid:
    """How long windows are, and where they may begin.

    Args:
        frame_length: of a window, samples.
        hop_length: windows begin at multiples of this in voices, samples.
        hop_length_noise: likewise in noises.
    """

    frame_length: int
    hop_length: int = 1
    hop_length_noise: int = 1


class MixedWindows:
    """Voices and noises, each drawn by itself; a noise shorter than a window is looped.

    Args:
        voices, noises: pools of recordings at one rate.
        voice_indices, noise_indices: the recordings to draw from. Voices are drawn by their
            length, noises all alike.
        law: levels.
        grid: length and places of windows.
        key: numbers that the draws depend on beside the index, the seed among them.
    """

    def __init__(
        self,
        voices: AudioPool,
        noises: AudioPool,
        voice_indices: Sequence[int],
        noise_indices: Sequence[int],
        law: MixingLaw,
        grid: Grid,
        key: Sequence[int],
    ) -> None:
        self.voices = voices
        self.noises = noises
        self.voice_indices = list(voice_indices)
        self.noise_indices = list(noise_indices)
        self.law = law
        self.grid = grid
        self.key = tuple(key)
        lengths = [voices.recordings[index].n_samples for index in voice_indices]
        self._places = Places(lengths, grid.frame_length, grid.hop_length)

    def draw(self, indices: range) -> tuple[np.ndarray, np.ndarray]:
        """Windows of the split, see `WindowSource`."""
        length = self.grid.frame_length
        rows = np.zeros(len(indices), WINDOW)
        sounds = np.empty((2, len(indices), length), np.float32)
        levels = np.empty((2, len(indices)))
        for place, index in enumerate(indices):
            voice, voice_start, noise, noise_start, *gains = self._draw(index)
            pair = sounds[:, place]
            np.multiply(self.voices.read(voice, voice_start, length), gains[0], out=pair[0])
            np.multiply(self.noises.read_looped(noise, noise_start, length), gains[1], out=pair[1])
            excess = _peak(pair[0] + pair[1])
            if excess > 1.0:
                pair /= np.float32(excess)
                gains = [gain / excess for gain in gains]
            rows[place] = (voice, voice_start, noise, noise_start, 0.0, 0.0, *gains)
            levels[0, place] = self.voices.recordings[voice].active_rms * gains[0]
            levels[1, place] = self.noises.recordings[noise].active_rms * gains[1]
        _set_levels(rows, levels)
        return rows, sounds

    def _draw(self, index: int) -> tuple[int, int, int, int, float, float]:
        """Voice, its beginning, noise, its beginning, and the factors of both."""
        rng = np.random.default_rng([*self.key, index])
        place, voice_start = self._places.draw(rng)
        voice = self.voice_indices[place]
        noise = self.noise_indices[below(rng, len(self.noise_indices))]
        noise_start = self._noise_start(rng, noise)
        gains = self.law.draw_gains(
            rng, self.voices.recordings[voice].active_rms, self.noises.recordings[noise].active_rms
        )
        return voice, voice_start, noise, noise_start, *gains

    def _noise_start(self, rng: np.random.Generator, index: int) -> int:
        """Where a window begins in a noise."""
        n_samples = self.noises.recordings[index].n_samples
        if n_samples <= self.grid.frame_length:
            return below(rng, n_samples)
        return on_grid(rng, n_samples - self.grid.frame_length, self.grid.hop_length_noise)


class PairedWindows:
    """Windows at the same place in a clean recording and a noisy one of the same voice.

    What was drawn is told as if the noise had been mixed, except that levels are those of the
    window itself.

    Args:
        clean, noisy: pools of recordings at one rate.
        pairs: recordings that belong together, by their numbers in the pools.
        grid: length and places of windows.
        key: numbers that the draws depend on beside the index, the seed among them.
    """

    def __init__(
        self,
        clean: AudioPool,
        noisy: AudioPool,
        pairs: Sequence[tuple[int, int]],
        grid: Grid,
        key: Sequence[int],
    ) -> None:
        self.clean = clean
        self.noisy = noisy
        self.pairs = list(pairs)
        self.grid = grid
        self.key = tuple(key)
        self._lengths = [
            min(clean.recordings[first].n_samples, noisy.recordings[second].n_samples)
            for first, second in pairs
        ]
        self._places = Places(self._lengths, grid.frame_length, grid.hop_length)

    def draw(self, indices: range) -> tuple[np.ndarray, np.ndarray]:
        """Windows of the split, see `WindowSource`."""
        length, rate = self.grid.frame_length, self.clean.sample_rate
        rows = np.zeros(len(indices), WINDOW)
        sounds = np.empty((2, len(indices), length), np.float32)
        levels = np.empty((2, len(indices)))
        for row, index in enumerate(indices):
            place, start = self._places.draw(np.random.default_rng([*self.key, index]))
            first, second = self.pairs[place]
            clean = self.clean.read(first, start, length)
            noise = self.noisy.read(second, start, length) - clean
            sounds[:, row] = clean, noise
            sounds[:, row, self._lengths[place] - start :] = 0.0
            rows[row] = (first, start, second, start, 0.0, 0.0, 1.0, 1.0)
            levels[:, row] = [data_tools.active_rms(sound, rate) for sound in sounds[:, row]]
        _set_levels(rows, levels)
        return rows, sounds


def _peak(waveform: np.ndarray) -> float:
    """The largest magnitude of a sample."""
    return max(float(waveform.max()), -float(waveform.min()))


def _set_levels(rows: np.ndarray, rms: np.ndarray) -> None:
    """Tell of the levels of voices and noises, RMS (2, windows); finite even for silence."""
    voice_db, noise_db = 20.0 * np.log10(rms + LOWEST_RMS)
    rows["level_dbfs"] = voice_db
    rows["snr_db"] = voice_db - noise_db
