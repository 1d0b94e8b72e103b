"""The STFT of many short waveforms at once, real and imaginary parts apart, as matrix products.

The symmetric window lets sample `k` and sample `n_fft - k` of a frame be added before the cosines
and subtracted before the sines, which halves the work. For the short frames of these spectrograms,
of odd length at that, BLAS is faster than an FFT, and its result lies in memory as it is stored:
frequency before time.
"""

from __future__ import annotations

import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.signal import dsp

LONGEST_PRODUCT = 400


class ShortSTFT:
    """Transforms waveforms of one length; `dsp.stft` to within rounding.

    Args:
        audio: the geometry. Frames longer than `LONGEST_PRODUCT` are left to the FFT.
    """

    def __init__(self, audio: AudioConfig) -> None:
        self.audio = audio
        half = np.arange(1, audio.n_fft // 2 + 1)
        weights = dsp.stft_window(audio.window, audio.n_fft)[half].astype(np.float64)
        if audio.n_fft % 2 == 0:
            weights[-1] /= 2.0  # the middle sample is its own mirror image
        turns = np.outer(np.arange(audio.n_bins), half) % audio.n_fft / audio.n_fft
        self._cosines = (np.cos(2.0 * np.pi * turns) * weights).astype(np.float32)
        self._sines = (-np.sin(2.0 * np.pi * turns) * weights).astype(np.float32)

    def __call__(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Real and imaginary part, float32 (batch, bins, frames), of (batch, samples)."""
        if self.audio.n_fft > LONGEST_PRODUCT:
            spectra = dsp.stft(waveforms, self.audio)
            return np.ascontiguousarray(spectra.real), np.ascontiguousarray(spectra.imag)
        ahead, mirrored = self._halves(waveforms)  # (batch, frames, n_fft // 2) each
        real = self._cosines @ np.swapaxes(ahead + mirrored, 1, 2)
        imaginary = self._sines @ np.swapaxes(ahead - mirrored, 1, 2)
        return real, imaginary

    def _halves(self, waveforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Samples 1, 2, ... of every frame, and those as far from its end."""
        n_fft, hop = self.audio.n_fft, self.audio.hop_length_fft
        n_frames, half = self.audio.frames_of(waveforms.shape[-1]), n_fft // 2
        padded = np.empty((len(waveforms), (n_frames - 1) * hop + n_fft + 1), np.float32)
        padded[:, :half] = 0.0
        room = padded.shape[-1] - half
        padded[:, half : half + waveforms.shape[-1]] = waveforms[:, :room]
        padded[:, half + waveforms.shape[-1] :] = 0.0
        backwards = np.ascontiguousarray(padded[:, ::-1])
        views = np.lib.stride_tricks.sliding_window_view
        ahead = views(padded[:, 1:], half, axis=-1)[:, : (n_frames - 1) * hop + 1 : hop]
        last = (n_frames - 1) * hop + 1
        mirrored = views(backwards, half, axis=-1)[:, last::-hop][:, :n_frames]
        return ahead, mirrored
