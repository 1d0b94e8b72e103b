"""The audio geometry that every part of the project agrees on, validated once."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from speech_enhancement.errors import UsageError

WINDOWS = ("hann", "sqrt_hann")
MAX_RATE = 768_000
# More than any network has, and less than what fills the memory.
HIGHEST = {
    "sample_rate": MAX_RATE,
    "n_fft": 2**16,
    "hop_length_fft": 2**15,
    "frame_length": 2**26,
}


@dataclasses.dataclass(frozen=True)
class AudioConfig:
    """Sample rate, STFT and window length of a model and of the data it learns from.

    The defaults give square spectrograms of 128 bins and 128 frames from windows of 1.008 s.

    Args:
        sample_rate: samples per second, Hz.
        n_fft: samples in one STFT window, odd or even.
        hop_length_fft: samples between two STFT frames, at most half of `n_fft`.
        frame_length: samples in one training window.
        window: STFT window, `hann` or `sqrt_hann`, periodic.

    Raises:
        UsageError: a value is out of its range.
    """

    sample_rate: int = 8000
    n_fft: int = 255
    hop_length_fft: int = 63
    frame_length: int = 8064
    window: str = "hann"

    def __post_init__(self) -> None:
        for name in HIGHEST:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise UsageError(f"`{name}` must be a positive whole number. Received: {value}")
            if value > HIGHEST[name]:
                raise UsageError(f"`{name}` must be at most {HIGHEST[name]}. Received: {value}")
        if self.hop_length_fft > self.n_fft // 2:
            raise UsageError(
                f"`hop_length_fft` must be at most half of `n_fft` ({self.n_fft}). "
                f"Received: {self.hop_length_fft}"
            )
        if self.frame_length < self.n_fft:
            raise UsageError(
                f"`frame_length` must be at least `n_fft` ({self.n_fft}). "
                f"Received: {self.frame_length}"
            )
        if self.window not in WINDOWS:
            raise UsageError(
                f"`window` must be one of {', '.join(WINDOWS)}. Received: {self.window}"
            )

    @property
    def n_bins(self) -> int:
        """Frequency bins of one spectrogram."""
        return self.n_fft // 2 + 1

    @property
    def n_frames(self) -> int:
        """Spectrogram frames of one training window."""
        return self.frames_of(self.frame_length)

    def frames_of(self, n_samples: int) -> int:
        """Spectrogram frames of a waveform of `n_samples`: one for each hop that begins in it.

        One more closes the waveform, unless the last frame's window still weighs the end of the
        last hop well, as it does for the 128 x 128 spectrograms.
        """
        n_hops = math.ceil(n_samples / self.hop_length_fft)
        closed = self.n_fft % 2 == 1 and self.hop_length_fft <= self.n_fft // 4 + 1
        return n_hops if closed else n_hops + 1

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> AudioConfig:
        """The configuration that `to_dict` wrote.

        Raises:
            UsageError: there is another field, or a value is out of its range.
        """
        unknown = sorted(fields.keys() - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise UsageError(f"`{unknown[0]}` is not part of an audio geometry")
        return cls(**fields)
