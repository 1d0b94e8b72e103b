"""Long overlapping blocks of a recording through a network that processes it in both directions."""

from __future__ import annotations

import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.inference.blocks import (
    Denoised,
    GainLimits,
    WindowDenoiser,
    fade_in,
    mirror,
)
from speech_enhancement.signal.features import Features, Network

BLOCK_S = 30.0
CONTEXT_S = 5.0
FADE_S = 0.5


class BlockDenoiser(WindowDenoiser):
    """Blocks of `BLOCK_S`, of which the outer `CONTEXT_S` on either side are only context.

    A recording that is no longer than a block is processed in one pass. In a longer one, a block
    fades into the next in the middle of their overlap; the last one is as long as it needs to be.

    Args:
        network: batch of spectrograms of any number of frames in, batch out.
        features, audio, channels, limits, top: see `blocks.Denoiser`.
    """

    def __init__(
        self,
        network: Network,
        features: Features,
        audio: AudioConfig,
        channels: int,
        limits: GainLimits,
        top: slice | None,
    ) -> None:
        super().__init__(network, features, audio, channels, limits, top, batch_windows=1)
        rate, hop = audio.sample_rate, audio.hop_length_fft
        self._length = round(BLOCK_S * rate / hop) * hop
        overlap = 2 * round(CONTEXT_S * rate / hop) * hop
        self._step = self._length - overlap
        self._fade = fade_in(overlap, (overlap - round(FADE_S * rate)) // 2)

    def _denoise_windows(self, windows: np.ndarray) -> Denoised:
        """See `WindowDenoiser`: channel by channel, which bounds the memory."""
        denoise = super()._denoise_windows
        denoised = [denoise(window[np.newaxis]) for window in windows]
        return Denoised(*(np.concatenate(fields) for fields in zip(*denoised, strict=True)))

    def _rest(self) -> list[Denoised]:
        """See `Denoiser`: whole blocks one by one, then a shorter one, and its tail."""
        self._mirror_beginning()
        hop, parts = self._audio.hop_length_fft, []
        wanted = -(-(self._sound.shape[1] + self._lead) // hop) * hop
        self._sound = mirror(self._sound, 0, wanted - self._sound.shape[1])
        while wanted - self._window > self._length:
            parts += self._denoise(np.array([self._window]))
        self._length = wanted - self._window
        parts += self._denoise(np.array([self._window]))
        return [*parts, self._tail]
