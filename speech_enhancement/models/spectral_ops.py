"""STFT and its inverse in `keras.ops`, for losses that listen to the resynthesised waveform.

Spectra are complex channels (batch, frames, bins, 2) of an even window that the hop divides, with
the square-root Hann window of `AudioConfig(window="sqrt_hann")`. `keras.ops.stft` is not used: its
inverse is wrong at the edges.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import ops

from speech_enhancement.signal import dsp

# Power that magnitudes are compressed by, as loudness is, and what keeps it finite at zero.
COMPRESSION = 0.3
EPSILON = 1e-12


def istft(spectrum, hop: int):
    """Overlap-added waveforms (batch, (frames - 1) * hop + n_fft), the padding still on them.

    Samples that fewer than n_fft / hop frames cover, at both ends, are too quiet.
    """
    n_fft = 2 * (spectrum.shape[2] - 1)
    window, overlaps = _window(n_fft), n_fft // hop
    frames = _irfft(spectrum, n_fft)
    frames = frames * (window * (2.0 / overlaps))
    total = 0.0
    for k in range(overlaps):
        part = frames[..., k * hop : (k + 1) * hop]
        total = total + ops.pad(part, [[0, 0], [k, overlaps - 1 - k], [0, 0]])
    return ops.reshape(total, (ops.shape(total)[0], -1))


def stft(waveform, n_fft: int, hop: int, window: str = "sqrt_hann"):
    """The frames that lie wholly within (batch, samples); samples must be a multiple of the hop."""
    overlaps = n_fft // hop
    blocks = ops.reshape(waveform, (ops.shape(waveform)[0], -1, hop))
    n_frames = ops.shape(blocks)[1] - overlaps + 1
    frames = ops.concatenate([blocks[:, k : k + n_frames] for k in range(overlaps)], axis=-1)
    return _rfft(frames * _window(n_fft, window), n_fft)


def _rfft(frames, n_fft: int):
    """Spectra (.., bins, 2) of frames (.., n_fft)."""
    if not _by_products():
        return ops.stack(ops.rfft(frames, n_fft), axis=-1)
    matrix = _dft(n_fft).transpose(2, 0, 1).reshape(n_fft, -1)
    return ops.reshape(ops.matmul(frames, matrix), (*frames.shape[:-1], n_fft // 2 + 1, 2))


def _irfft(spectrum, n_fft: int):
    """Frames (.., n_fft) of spectra (.., bins, 2)."""
    if not _by_products():
        return ops.irfft((spectrum[..., 0], spectrum[..., 1]), n_fft)
    weights = np.full(n_fft // 2 + 1, 2.0 / n_fft, np.float32)
    weights[[0, -1]] = 1.0 / n_fft
    matrix = (_dft(n_fft) * weights[:, np.newaxis, np.newaxis]).reshape(-1, n_fft)
    return ops.matmul(ops.reshape(spectrum, (*spectrum.shape[:-2], -1)), matrix)


def _by_products() -> bool:
    """Whether transforms are products with their matrix: on JAX without an accelerator.

    XLA's FFT on CPUs can wait for ever for threads, inside of a large program.
    """
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


@functools.cache
def _dft(n_fft: int) -> np.ndarray:
    """Real and imaginary part of exp(-2 pi i jk / n_fft), float32 (bins, 2, n_fft)."""
    turns = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft / n_fft
    angle = 2.0 * np.pi * turns
    return np.stack([np.cos(angle), -np.sin(angle)], axis=1).astype(np.float32)


def _window(n_fft: int, name: str = "sqrt_hann"):
    """See `dsp.stft_window`; that of an inverse is the one whose square adds up to one."""
    return ops.convert_to_tensor(dsp.stft_window(name, n_fft))
