"""Classical noise suppressors: what a network has to beat.

Each is a gain 0..1 for every bin and frame of the short-time Fourier transform, found from the
power of the recording and a running estimate of the noise's. They need no training and work at
any rate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import uniform_filter1d

from speech_enhancement.config import AudioConfig
from speech_enhancement.signal import dsp

Gain = Callable[[np.ndarray], np.ndarray]

WINDOW_S = 0.032
SMALLEST_POWER = 1e-12

PRESENT_SNR_DB = 15.0
PRESENCE_SMOOTHING = 0.9
NOISE_SMOOTHING = 0.8
SURE_PRESENCE = 0.99
QUIET_SHARE = 0.2

SMOOTHING_FRAMES = 3
RESIDUAL_RANGE = 2.0
PAUSE_DB = -12.0
PAUSE_GAIN = 10.0 ** (-30.0 / 20.0)

PRIOR_SMOOTHING = 0.98
LEAST_PRIOR = 10.0 ** (-15.0 / 10.0)


class SpectralSubtraction:
    """Subtract the noise's mean magnitude, with Boll's three remedies against what remains.

    Magnitudes are averaged over neighbouring frames; what is left of noise takes the smallest
    value of its neighbours; frames without speech are turned down by 30 dB.

    Reference:
        Boll, "Suppression of Acoustic Noise in Speech Using Spectral Subtraction", IEEE TASSP
        27(2), 1979.
    """

    def enhance(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Denoise float (samples,) of `rate` Hz; gives float32 (samples,)."""
        return _apply(self.gain, samples, rate)

    @staticmethod
    def gain(power: np.ndarray) -> np.ndarray:
        """Gain of each bin and frame of a power spectrogram (bins, frames)."""
        noise = np.sqrt(np.pi / 4.0 * noise_power(power))  # mean of a Rayleigh magnitude
        magnitude = np.sqrt(power)
        average = uniform_filter1d(magnitude, SMOOTHING_FRAMES, axis=1, mode="nearest")
        left = magnitude * np.maximum(1.0 - noise / average, 0.0)
        left = np.where(left < RESIDUAL_RANGE * noise, _least_of_neighbours(left), left)
        speech_db = 20.0 * np.log10((left / noise).mean(axis=0) + SMALLEST_POWER)
        return np.where(speech_db < PAUSE_DB, PAUSE_GAIN, left / magnitude)


class Wiener:
    """The Wiener gain of an a priori SNR that follows the decision of the frame before.

    Reference:
        Ephraim and Malah, "Speech Enhancement Using a Minimum Mean-Square Error Short-Time
        Spectral Amplitude Estimator", IEEE TASSP 32(6), 1984; Scalart and Vieira Filho, "Speech
        Enhancement Based on A Priori Signal to Noise Estimation", ICASSP 1996.
    """

    def enhance(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Denoise float (samples,) of `rate` Hz; gives float32 (samples,)."""
        return _apply(self.gain, samples, rate)

    @staticmethod
    def gain(power: np.ndarray) -> np.ndarray:
        """Gain of each bin and frame of a power spectrogram (bins, frames)."""
        posterior = power / noise_power(power)
        gain = np.empty_like(power)
        before = np.ones(len(power))  # a posteriori SNR of the frame before, after its gain
        for frame in range(power.shape[1]):
            excess = np.maximum(posterior[:, frame] - 1.0, 0.0)
            prior = PRIOR_SMOOTHING * before + (1.0 - PRIOR_SMOOTHING) * excess
            prior = np.maximum(prior, LEAST_PRIOR)
            gain[:, frame] = prior / (1.0 + prior)
            before = gain[:, frame] ** 2 * posterior[:, frame]
        return gain


def noise_power(power: np.ndarray) -> np.ndarray:
    """Running estimate of the noise's power in a noisy power spectrogram (bins, frames).

    Each frame's power counts as far as it is likely to be noise, given that speech would stand
    15 dB above it. The estimate begins with the quiet frames of the whole recording, so that a
    recording may begin with speech.

    Reference:
        Gerkmann and Hendriks, "Unbiased MMSE-Based Noise Power Estimation With Low Complexity and
        Low Tracking Delay", IEEE TASLP 20(4), 2012.
    """
    snr = 10.0 ** (PRESENT_SNR_DB / 10.0)
    # of exponentially distributed powers, the quantile q lies at -log(1 - q) of their mean
    noise = np.quantile(power, QUIET_SHARE, axis=1) / -np.log(1.0 - QUIET_SHARE)
    noise = np.maximum(noise, SMALLEST_POWER)
    mean_presence = np.full(len(power), 0.5)
    estimate = np.empty_like(power)
    for frame in range(power.shape[1]):
        exponent = np.minimum(power[:, frame] / noise * snr / (1.0 + snr), 200.0)
        presence = 1.0 / (1.0 + (1.0 + snr) * np.exp(-exponent))
        mean_presence = _smooth(mean_presence, presence, PRESENCE_SMOOTHING)
        stuck = mean_presence > SURE_PRESENCE
        presence = np.where(stuck, np.minimum(presence, SURE_PRESENCE), presence)
        expected = presence * noise + (1.0 - presence) * power[:, frame]
        noise = np.maximum(_smooth(noise, expected, NOISE_SMOOTHING), SMALLEST_POWER)
        estimate[:, frame] = noise
    return estimate


def _apply(gain: Gain, samples: np.ndarray, rate: int) -> np.ndarray:
    """Multiply the spectrogram of a waveform by the gain found from its power."""
    n_fft = 2 * round(WINDOW_S * rate / 2)
    audio = AudioConfig(rate, n_fft, n_fft // 2, frame_length=n_fft, window="sqrt_hann")
    spectrogram = dsp.stft(samples, audio)
    power = np.maximum(np.square(np.abs(spectrogram), dtype=np.float64), SMALLEST_POWER)
    return dsp.istft(spectrogram * gain(power), audio, len(samples))


def _smooth(before: np.ndarray, now: np.ndarray, factor: float) -> np.ndarray:
    """First-order recursive average."""
    return factor * before + (1.0 - factor) * now


def _least_of_neighbours(frames: np.ndarray) -> np.ndarray:
    """Smallest value of each bin over a frame and the ones before and after."""
    padded = np.pad(frames, ((0, 0), (1, 1)), mode="edge")
    return np.minimum(frames, np.minimum(padded[:, :-2], padded[:, 2:]))
