"""Signal functions on arrays: framing, STFT, decibels, levels, mixing.

Waveforms are float32 in -1..1 with samples on the last axis. Spectrograms are complex64 shaped
(..., bins, frames). Decibels are always relative to 1.0 and never below a stated floor.
"""

from __future__ import annotations

import functools

import numpy as np
import soxr

from speech_enhancement.config import AudioConfig

FLOOR_DB = -60.0
ACTIVE_RANGE_DB = 40.0
ACTIVITY_FRAME_S = 0.02
TINY = 1e-10
LOUDEST = 1e15  # sample whose energy can still be added up in 32 bits


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Change the sample rate of (samples,) or (samples, channels) with soxr's best quality."""
    if rate == new_rate:
        return waveform
    return soxr.resample(waveform, rate, new_rate, quality="VHQ").astype(np.float32)


def frame(waveform: np.ndarray, frame_length: int, hop_length: int) -> np.ndarray:
    """Cut (samples,) into overlapping windows; the last is padded with zeros, none is dropped.

    Returns:
        float32 (windows, frame_length), at least one window.
    """
    n_windows = 1 + max(0, -(-(len(waveform) - frame_length) // hop_length))
    padded = np.zeros((n_windows - 1) * hop_length + frame_length, np.float32)
    padded[: len(waveform)] = waveform
    return np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop_length]


@functools.lru_cache(maxsize=16)
def stft_window(name: str, n_fft: int) -> np.ndarray:
    """The periodic STFT window, float32 (n_fft,)."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    if name == "sqrt_hann":
        window = np.sqrt(window)
    return window.astype(np.float32)


def stft(waveform: np.ndarray, config: AudioConfig) -> np.ndarray:
    """Short-time Fourier transform, frames centred on multiples of the hop, zeros beyond the ends.

    Args:
        waveform: float (..., samples).
        config: the geometry; the same object goes to `istft`.

    Returns:
        complex64 (..., bins, frames), with `config.frames_of(samples)` frames.
    """
    n_fft, hop = config.n_fft, config.hop_length_fft
    n_frames = config.frames_of(waveform.shape[-1])
    before = n_fft // 2
    after = (n_frames - 1) * hop + n_fft - before - waveform.shape[-1]
    padding = [(0, 0)] * (waveform.ndim - 1) + [(before, max(0, after))]
    padded = np.pad(waveform.astype(np.float32, copy=False), padding)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)
    frames = frames[..., : (n_frames - 1) * hop + 1 : hop, :]
    spectrum = np.fft.rfft(frames * stft_window(config.window, n_fft), axis=-1)
    return np.swapaxes(spectrum, -1, -2)


def istft(spectrogram: np.ndarray, config: AudioConfig, n_samples: int) -> np.ndarray:
    """The waveform whose `stft` is nearest to `spectrogram` (Griffin & Lim 1984, eq. 6).

    Args:
        spectrogram: complex (..., bins, frames).
        config: the geometry that made it.
        n_samples: length to return.

    Returns:
        float32 (..., n_samples).
    """
    window = stft_window(config.window, config.n_fft)
    frames = np.fft.irfft(np.swapaxes(spectrogram, -1, -2), n=config.n_fft, axis=-1)
    return _weighted_overlap_add(frames * window, config, n_samples)


def without_offset(spectrogram: np.ndarray, config: AudioConfig) -> np.ndarray:
    """A spectrogram without the offset of each frame.

    An offset in a window is the window's own spectrum: most of it at 0 Hz, where there is no voice
    to speak of and it can be read off, and some of it in the bins of a low voice.

    Args:
        spectrogram: complex (..., bins, frames).
        config: the geometry that made it.
    """
    leakage = np.fft.rfft(stft_window(config.window, config.n_fft))
    leakage = (leakage / leakage[0].real).astype(np.complex64)
    return spectrogram - leakage[:, np.newaxis] * spectrogram[..., :1, :].real


def frames_to_samples(values: np.ndarray, config: AudioConfig, n_samples: int) -> np.ndarray:
    """A value of each STFT frame (..., frames) as a smooth function of time (..., n_samples)."""
    power = stft_window(config.window, config.n_fft) ** 2
    return _weighted_overlap_add(values[..., np.newaxis] * power, config, n_samples)


def _weighted_overlap_add(frames: np.ndarray, config: AudioConfig, n_samples: int) -> np.ndarray:
    """Overlap-add of windowed frames (..., frames, n_fft) over the sum of squared windows."""
    window = stft_window(config.window, config.n_fft)
    total = overlap_add(frames, config.hop_length_fft)
    weight = overlap_add(np.tile(window**2, (frames.shape[-2], 1)), config.hop_length_fft)
    begin = config.n_fft // 2
    piece = slice(begin, begin + n_samples)
    return (total[..., piece] / np.maximum(weight[piece], TINY)).astype(np.float32)


def overlap_add(frames: np.ndarray, hop: int) -> np.ndarray:
    """Sum frames (..., frames, length) at every `hop` into (..., (frames - 1) * hop + length)."""
    *batch, n_frames, length = frames.shape
    n_hops = -(-length // hop)
    padding = [(0, 0)] * (frames.ndim - 1) + [(0, n_hops * hop - length)]
    parts = np.pad(frames, padding).reshape(*batch, n_frames, n_hops, hop)
    total = np.zeros((*batch, n_frames + n_hops - 1, hop), frames.dtype)
    for shift in range(n_hops):
        total[..., shift : shift + n_frames, :] += parts[..., shift, :]
    return total.reshape(*batch, -1)[..., : (n_frames - 1) * hop + length]


def amplitude_to_db(magnitude: np.ndarray, floor_db: float = FLOOR_DB) -> np.ndarray:
    """Decibels re 1.0 of a magnitude, float32, never below `floor_db`."""
    floor = np.float32(10.0 ** (floor_db / 20.0))
    return np.float32(20.0) * np.log10(np.maximum(magnitude, floor), dtype=np.float32)


def spectrogram_to_db(spectrogram: np.ndarray, floor_db: float = FLOOR_DB) -> np.ndarray:
    """Decibels re 1.0 of the magnitude of a complex spectrogram, without its square root."""
    return power_to_db(spectrogram.real**2 + spectrogram.imag**2, floor_db)


def power_to_db(power: np.ndarray, floor_db: float = FLOOR_DB) -> np.ndarray:
    """Decibels re 1.0 of a squared magnitude, float32, never below `floor_db`."""
    decibels = np.maximum(power, np.float32(10.0 ** (floor_db / 10.0)), dtype=np.float32)
    np.log10(decibels, out=decibels)
    decibels *= np.float32(10.0)
    return decibels


def db_to_amplitude(decibels: np.ndarray | float) -> np.ndarray:
    """Magnitude of decibels re 1.0."""
    return np.power(np.float32(10.0), np.asarray(decibels, np.float32) / np.float32(20.0))


def active_rms(waveform: np.ndarray, sample_rate: int) -> float:
    """Root mean square over the frames of 20 ms that are within 40 dB of the loudest one.

    Pauses and silence around a recording do not count, so that a level or an SNR speaks of the
    sound and not of how much of it there is. Zero for digital silence.
    """
    return rms_of_active(activity(waveform, sample_rate))


def activity(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean square of each 20 ms of (samples,), the last of them filled up with zeros."""
    length = activity_frame(sample_rate)
    whole = len(waveform) // length * length
    frames, rest = waveform[:whole].reshape(-1, length), waveform[whole:]
    power = np.einsum("ij,ij->i", frames, frames) / length
    if len(rest) or not whole:
        power = np.append(power, np.dot(rest, rest) / length)
    return power


def activity_frame(sample_rate: int) -> int:
    """Samples in 20 ms."""
    return max(1, round(ACTIVITY_FRAME_S * sample_rate))


def rms_of_active(power: np.ndarray) -> float:
    """Root mean square over the frames that are active, from the mean square of every frame."""
    active = power >= power.max() * 10.0 ** (-ACTIVE_RANGE_DB / 10.0)
    return float(np.sqrt(power[active].mean(dtype=np.float64)))


def mix_at_snr(
    clean: np.ndarray, noise: np.ndarray, snr_db: float, clean_rms: float, noise_rms: float
) -> tuple[np.ndarray, np.ndarray]:
    """Add noise to a voice at a signal-to-noise ratio.

    Args:
        clean: (samples,) voice.
        noise: (samples,) noise.
        snr_db: wanted ratio of the two levels, dB.
        clean_rms: level of the recording that the voice was cut from (see `active_rms`).
        noise_rms: likewise of the noise.

    Returns:
        The mixture and the scaled noise; their difference is `clean`.
    """
    gain = clean_rms / max(noise_rms, TINY) * 10.0 ** (-snr_db / 20.0)
    scaled = (np.float32(gain) * noise).astype(np.float32, copy=False)
    return clean + scaled, scaled
