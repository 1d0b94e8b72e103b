"""Where the windows of a data set come from: mixtures of voices and noises, or recorded pairs.

Window `index` of a split depends on the seed, the split and the index alone, so that windows can
be made in any order by any number of processes. `MixedWindows` and `PairedWindows` are plain;
`RecipeWindows` and `AugmentedPairs` are made by the recipe that mixtures on the fly are made by.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from speech_enhancement.corpora.pools import AudioPool
from speech_enhancement.mixing.mixer import Mixer, PairAugmenter
from speech_enhancement.mixing.recipe import MixingConfig, Range
from speech_enhancement.signal import dsp

LOWEST_RMS = 1e-10
DRAWN_AT_ONCE = 64
CHANCES = 6
WINDOW = np.dtype(
    [
        ("voice", "<i4"),
        ("voice_start", "<i8"),
        ("noise", "<i4"),
        ("noise_start", "<i8"),
        ("voice_gain", "<f4"),
        ("noise_gain", "<f4"),
        ("snr_db", "<f4"),
        ("level_dbfs", "<f4"),
    ]
)


class WindowSource(Protocol):
    """Anything that windows can be drawn from."""

    def choose(self, indices: range) -> np.ndarray:
        """What is in each window, of dtype `WINDOW`, (windows,).

        That is recordings by their number in the pools, the sample at which the window begins in
        them, factors of the samples, and levels. What only `read` can know is zero.
        """

    def read(self, rows: np.ndarray, indices: range) -> np.ndarray:
        """The voices and then the noises that were chosen; `rows` is completed.

        Args:
            rows: what `choose` gave for the windows.
            indices: of the windows.

        Returns:
            float32 (2, windows, frame_length); their sum is the noisy voice.
        """


def gains_of(
    recipe: MixingConfig, chances: np.ndarray, voice_rms: np.ndarray, noise_rms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Factors of voices and noises of these levels, (windows,), by two chances of each.

    The voice recording is brought to a level and the noise to a signal-to-noise ratio below it,
    both measured over the active frames of the whole recordings: a window in a pause of the voice
    is a window of noise, as it is when a recording is denoised.
    """
    if recipe.noise_factor is not None:
        factors = recipe.voice_factor, recipe.noise_factor
        return within(factors[0], chances[:, 0]), within(factors[1], chances[:, 1])
    level_db = within(recipe.level_dbfs, chances[:, 0])
    noise_db = level_db - within(recipe.snr_db, chances[:, 1])
    return 10.0 ** (level_db / 20.0) / voice_rms, 10.0 ** (noise_db / 20.0) / noise_rms


def chances_of(key: Sequence[int], indices: range) -> np.ndarray:
    """Numbers in 0..1 that decide what is in each window, (windows, `CHANCES`).

    Those of a window depend on `key` and its index alone; they are drawn for many windows at
    once because to seed a generator takes longer than anything else about a draw.
    """
    first, last = indices.start // DRAWN_AT_ONCE, (indices.stop - 1) // DRAWN_AT_ONCE
    drawn = [
        np.random.default_rng([*key, block]).random((DRAWN_AT_ONCE, CHANCES))
        for block in range(first, last + 1)
    ]
    begin = indices.start - first * DRAWN_AT_ONCE
    return np.concatenate(drawn)[begin : begin + len(indices)]


def within(limits: Range, chances: np.ndarray) -> np.ndarray:
    """Numbers between two limits."""
    return limits[0] + (limits[1] - limits[0]) * chances


def below(limits: np.ndarray | int, chances: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 to `limits` - 1."""
    return (limits * chances).astype(np.int64)


class Places:
    """Draws windows out of recordings, each second of them as likely as any other.

    A recording shorter than a window lies anywhere within it, between silences.

    Args:
        lengths: of the recordings, samples, (recordings,).
        frame_length: of a window, samples.
        hop_length: longer recordings are entered at multiples of this, samples.
    """

    def __init__(self, lengths: np.ndarray, frame_length: int, hop_length: int) -> None:
        self._lengths = lengths
        self._ends = np.cumsum(self._lengths)
        self._frame_length = frame_length
        self._hop_length = hop_length

    def choose(self, chances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of recordings in the list, and the samples of them at which windows begin.

        Args:
            chances: two for each window, (windows, 2).
        """
        chosen = np.searchsorted(self._ends, below(self._ends[-1], chances[:, 0]), "right")
        spare = self._lengths[chosen] - self._frame_length
        before = -below(np.maximum(1 - spare, 0), chances[:, 1])
        return chosen, np.where(spare > 0, on_grid(spare, self._hop_length, chances[:, 1]), before)


def on_grid(last: np.ndarray, hop_length: int, chances: np.ndarray) -> np.ndarray:
    """Multiples of `hop_length` from 0 to `last`."""
    return hop_length * below(last // hop_length + 1, chances)


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
        recipe: levels; nothing else of it has an effect.
        grid: length and places of windows.
        key: numbers that the draws depend on beside the index, the seed among them.
    """

    def __init__(
        self,
        voices: AudioPool,
        noises: AudioPool,
        voice_indices: Sequence[int],
        noise_indices: Sequence[int],
        recipe: MixingConfig,
        grid: Grid,
        key: Sequence[int],
    ) -> None:
        self.voices = voices
        self.noises = noises
        self.recipe = recipe
        self.grid = grid
        self.key = tuple(key)
        self._voice_numbers = np.asarray(voice_indices)
        self._noise_numbers = np.asarray(noise_indices)
        self._voice_rms = _of_recordings(voices, "active_rms")
        self._noise_rms = _of_recordings(noises, "active_rms")
        self._noise_lengths = _of_recordings(noises, "n_samples")
        lengths = _of_recordings(voices, "n_samples")[self._voice_numbers]
        self._places = Places(lengths, grid.frame_length, grid.hop_length)

    def choose(self, indices: range) -> np.ndarray:
        """What is in each window, see `WindowSource`."""
        chances = chances_of(self.key, indices)
        rows = np.zeros(len(indices), WINDOW)
        places, rows["voice_start"] = self._places.choose(chances[:, 0:2])
        rows["voice"] = voices = self._voice_numbers[places]
        rows["noise"] = noises = self._noise_numbers[below(len(self._noise_numbers), chances[:, 2])]
        rows["noise_start"] = self._noise_starts(self._noise_lengths[noises], chances[:, 3])
        rows["voice_gain"], rows["noise_gain"] = gains_of(
            self.recipe, chances[:, 4:6], self._voice_rms[voices], self._noise_rms[noises]
        )
        return rows

    def read(self, rows: np.ndarray, indices: range) -> np.ndarray:
        """Voices and noises, see `WindowSource`; gains are lowered where the sum would clip."""
        length = self.grid.frame_length
        sounds = np.empty((2, len(rows), length), np.float32)
        for place, (voice, voice_start, noise, noise_start, *gains, _, _) in enumerate(
            rows.tolist()
        ):
            pair = sounds[:, place]
            pair[0] = self.voices.read(voice, voice_start, length, gains[0])
            pair[1] = self.noises.read_looped(noise, noise_start, length, gains[1])
            excess = _peak(pair[0] + pair[1])
            if excess > 1.0:
                pair /= np.float32(excess)
                rows["voice_gain"][place] /= excess
                rows["noise_gain"][place] /= excess
        voice_rms = rows["voice_gain"] * self._voice_rms[rows["voice"]]
        _set_levels(rows, voice_rms, rows["noise_gain"] * self._noise_rms[rows["noise"]])
        return sounds

    def _noise_starts(self, lengths: np.ndarray, chances: np.ndarray) -> np.ndarray:
        """Where windows begin in noises; anywhere in those that are looped."""
        spare = lengths - self.grid.frame_length
        begun = on_grid(np.maximum(spare, 0), self.grid.hop_length_noise, chances)
        return np.where(spare > 0, begun, below(lengths, chances))


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
        self.grid = grid
        self.key = tuple(key)
        self._pairs = np.asarray(pairs)
        lengths = [
            min(clean.recordings[first].n_samples, noisy.recordings[second].n_samples)
            for first, second in pairs
        ]
        self._places = Places(np.array(lengths), grid.frame_length, grid.hop_length)

    def choose(self, indices: range) -> np.ndarray:
        """What is in each window, see `WindowSource`."""
        rows = np.zeros(len(indices), WINDOW)
        places, starts = self._places.choose(chances_of(self.key, indices)[:, 0:2])
        rows["voice"], rows["noise"] = self._pairs[places].T
        rows["voice_start"] = rows["noise_start"] = starts
        rows["voice_gain"] = rows["noise_gain"] = 1.0
        return rows

    def read(self, rows: np.ndarray, indices: range) -> np.ndarray:
        """Voices and noises, see `WindowSource`; silence where the shorter recording ends."""
        length, rate = self.grid.frame_length, self.clean.sample_rate
        sounds = np.empty((2, len(rows), length), np.float32)
        rms = np.empty((2, len(rows)))
        for place, (voice, start, noise, *_) in enumerate(rows.tolist()):
            pair = sounds[:, place] = self.read_pair(voice, start, noise, length)
            rms[:, place] = [dsp.active_rms(sound, rate) for sound in pair]
        _set_levels(rows, *rms)
        return sounds

    def read_pair(self, voice: int, start: int, noise: int, length: int) -> np.ndarray:
        """Samples of the clean recording and what the noisy one adds to them, (2, length)."""
        clean, noisy = self.clean.recordings[voice], self.noisy.recordings[noise]
        pair = np.empty((2, length), np.float32)
        pair[0] = self.clean.read(voice, start, length)
        pair[1] = self.noisy.read(noise, start, length) - pair[0]
        pair[:, min(clean.n_samples, noisy.n_samples) - start :] = 0.0
        return pair


class RecipeWindows:
    """Mixtures of the whole recipe, as training on the fly draws them.

    Which recordings they are of is not told: there may be many or none, and -1 stands for them.

    Args:
        mixer: draws the mixtures.
        key: numbers that the draws depend on beside the index, the seed among them.
    """

    def __init__(self, mixer: Mixer, key: Sequence[int]) -> None:
        self.mixer = mixer
        self.key = tuple(key)

    def choose(self, indices: range) -> np.ndarray:
        """What is in each window, see `WindowSource`."""
        rows = np.zeros(len(indices), WINDOW)
        rows["voice"] = rows["noise"] = -1
        rows["voice_gain"] = rows["noise_gain"] = 1.0
        return rows

    def read(self, rows: np.ndarray, indices: range) -> np.ndarray:
        """Voices and noises, see `WindowSource`."""
        pairs = [self.mixer.draw(np.random.default_rng([*self.key, i])) for i in indices]
        return _as_sounds(rows, pairs, self.mixer.audio.sample_rate)


class AugmentedPairs:
    """Windows of recorded pairs, augmented by the parts of a recipe that apply to pairs.

    Args:
        pairs: the plain windows.
        augmenter: changes them.
    """

    def __init__(self, pairs: PairedWindows, augmenter: PairAugmenter) -> None:
        self.pairs = pairs
        self.augmenter = augmenter

    def choose(self, indices: range) -> np.ndarray:
        """What is in each window, see `WindowSource`."""
        return self.pairs.choose(indices)

    def read(self, rows: np.ndarray, indices: range) -> np.ndarray:
        """Voices and noises, see `WindowSource`."""
        pairs = [
            self.augmenter.draw(
                np.random.default_rng([*self.pairs.key, index]),
                functools.partial(self._noisy_and_clean, row),
            )
            for row, index in zip(rows, indices, strict=True)
        ]
        return _as_sounds(rows, pairs, self.augmenter.audio.sample_rate)

    def _noisy_and_clean(self, row: np.void, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The same stretch of samples of both recordings."""
        clean, noise = self.pairs.read_pair(
            int(row["voice"]), int(row["voice_start"]), int(row["noise"]), length
        )
        return clean + noise, clean


def _as_sounds(
    rows: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]], rate: int
) -> np.ndarray:
    """Voices and noises of noisy and clean windows, (2, windows, samples); their levels in `rows`.

    What a degradation adds to a mixture counts as noise.
    """
    sounds = np.array([[clean, noisy - clean] for noisy, clean in pairs]).swapaxes(0, 1)
    rms = [[dsp.active_rms(sound, rate) for sound in kind] for kind in sounds]
    _set_levels(rows, *np.array(rms))
    return np.ascontiguousarray(sounds, np.float32)


def _of_recordings(pool: AudioPool, name: str) -> np.ndarray:
    """A property of all recordings of a pool."""
    return np.array([getattr(recording, name) for recording in pool.recordings])


def _peak(waveform: np.ndarray) -> float:
    """The largest magnitude of a sample."""
    return max(float(waveform.max()), -float(waveform.min()))


def _set_levels(rows: np.ndarray, voice_rms: np.ndarray, noise_rms: np.ndarray) -> None:
    """Write the levels of voices and noises into `rows`; they are finite even for silence."""
    voice_db, noise_db = (20.0 * np.log10(rms + LOWEST_RMS) for rms in (voice_rms, noise_rms))
    rows["level_dbfs"] = voice_db
    rows["snr_db"] = voice_db - noise_db
