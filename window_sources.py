"""How a stored window is drawn: which recordings, where in them, and how loud each is.

Window `index` of a split depends on the seed, the split and the index alone, so that windows can
be made in any order by any number of processes. `mixing.py` draws the richer mixtures of training
on the fly; these are the plain ones of a data set on disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

import data_tools
from errors import UsageError
from sources import AudioPool

Range = tuple[float, float]

LOWEST_LEVEL_DB = -200.0
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
        UsageError: a range is upside down, or a factor is negative.
    """

    snr_db: Range = (-5.0, 15.0)
    level_dbfs: Range = (-35.0, -15.0)
    noise_level: Range | None = None
    voice_level: Range = (1.0, 1.0)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("snr_min", *self.snr_db),
            ("level_min", *self.level_dbfs),
            ("noise_level", *(self.noise_level or (0.0, 0.0))),
            ("voice_level", *self.voice_level),
        ):
            if not low <= high:
                raise UsageError(f"`{name}` must not exceed its maximum. Received: {low} {high}")
            if name.endswith("_level") and low < 0:
                raise UsageError(f"`{name}` must not be negative. Received: {low} {high}")

    def draw_gains(
        self, rng: np.random.Generator, voice_rms: float, noise_rms: float
    ) -> tuple[float, float]:
        """Factors of a voice and a noise of these levels."""
        if self.noise_level is not None:
            return rng.uniform(*self.voice_level), rng.uniform(*self.noise_level)
        level, snr = rng.uniform(*self.level_dbfs), rng.uniform(*self.snr_db)
        return 10.0 ** (level / 20.0) / voice_rms, 10.0 ** ((level - snr) / 20.0) / noise_rms


class Mixer:
    """Draws the windows of one split.

    Args:
        voices, noises: pools of recordings at one rate.
        voice_indices, noise_indices: recordings of the split.
        law: levels.
        frame_length: samples in a window.
        hop_length_voice, hop_length_noise: windows start at multiples of these, samples.
        key: numbers that the random draws depend on beside the index, the seed first.
    """

    def __init__(
        self,
        voices: AudioPool,
        noises: AudioPool,
        voice_indices: Sequence[int],
        noise_indices: Sequence[int],
        law: MixingLaw,
        frame_length: int,
        hop_length_voice: int,
        hop_length_noise: int,
        key: tuple[int, ...],
    ) -> None:
        self.voices = voices
        self.noises = noises
        self.voice_indices = np.asarray(voice_indices)
        self.noise_indices = np.asarray(noise_indices)
        self.law = law
        self.frame_length = frame_length
        self.hop_length_voice = hop_length_voice
        self.hop_length_noise = hop_length_noise
        self.key = key
        lengths = [voices.recordings[index].n_samples for index in voice_indices]
        self._voice_ends = np.cumsum(lengths)

    def draw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Window `index`: what was drawn (of dtype `WINDOW`), the voice and the noise in it.

        Returns:
            The draw, shaped (), and float32 (frame_length,) twice; their sum is the mixture.
        """
        rng = np.random.default_rng([*self.key, index])
        place = np.searchsorted(self._voice_ends, rng.integers(self._voice_ends[-1]), "right")
        voice = int(self.voice_indices[place])
        noise = int(self.noise_indices[rng.integers(len(self.noise_indices))])
        voice_start = self._voice_start(rng, voice)
        noise_start = self._noise_start(rng, noise)
        voice_rms = self.voices.recordings[voice].active_rms
        noise_rms = self.noises.recordings[noise].active_rms
        gains = self.law.draw_gains(rng, voice_rms, noise_rms)

        clean = self.voices.read(voice, voice_start, self.frame_length)
        sound = self.noises.read_looped(noise, noise_start, self.frame_length)
        clean *= np.float32(gains[0])
        sound *= np.float32(gains[1])
        peak = float(np.abs(clean + sound).max())
        if peak > 1.0:
            clean /= np.float32(peak)
            sound /= np.float32(peak)
            gains = (gains[0] / peak, gains[1] / peak)
        levels = data_tools.amplitude_to_db(
            np.array([gains[0] * voice_rms, gains[1] * noise_rms]), LOWEST_LEVEL_DB
        )
        row = (voice, voice_start, noise, noise_start, levels[0] - levels[1], levels[0], *gains)
        return np.array(row, WINDOW), clean, sound

    def _voice_start(self, rng: np.random.Generator, index: int) -> int:
        """Where a window begins in a voice; a voice shorter than it lies anywhere within it."""
        spare = self.voices.recordings[index].n_samples - self.frame_length
        if spare <= 0:
            return int(rng.integers(spare, 1))
        return _on_grid(rng, spare, self.hop_length_voice)

    def _noise_start(self, rng: np.random.Generator, index: int) -> int:
        """Where a window begins in a noise; a noise shorter than it is looped from anywhere."""
        n_samples = self.noises.recordings[index].n_samples
        if n_samples <= self.frame_length:
            return int(rng.integers(n_samples))
        return _on_grid(rng, n_samples - self.frame_length, self.hop_length_noise)


def _on_grid(rng: np.random.Generator, last: int, hop: int) -> int:
    """A multiple of `hop` up to `last`."""
    return hop * int(rng.integers(last // hop + 1))
