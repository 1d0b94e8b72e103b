"""The perceptual difference of PESQ in `keras.ops`, so that a network can be trained with it.

The perceptual model of PESQ for waveforms that are aligned already: loudness in Bark bands, its
difference beyond what masking hides, and again with more weight on what was added than on what is
missing. The constants are those of the recommendation for 16 kHz; frames at both ends count like
all others, filters act on the spectrum, and the gain of a frame is smoothed with that of the one
before, not with all before.

ITU-T P.862 (2001) and P.862.2 (2007); J. M. Martin-Donas et al., "A Deep Learning Loss Function
Based on the Perceptual Evaluation of the Speech Quality", IEEE Signal Processing Letters, 2018.
"""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from speech_enhancement.models import spectral_ops

SAMPLE_RATE = 16000
N_FFT = 512
HOP = 256
BURST_FRAMES = 20
FEWEST_SAMPLES = (BURST_FRAMES + 1) * HOP
WEIGHTS = (0.1, 0.0309)  # of the two disturbances in the score
BEST_SCORE = 4.5

ALIGNED_POWER = 1e7  # mean square between 325 and 3250 Hz that both sounds are brought to
ALIGNED_BAND_HZ = (325.0, 3250.0)
WIDEBAND_FILTER = ((2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794))
POWER_SCALE = 6.910853e-6
LOUDNESS_SCALE = 0.1866055
LOUDNESS_EXPONENT = 0.23
HANN_POWER = 3.0 / 8.0
SILENT_POWER = 1e7
LARGEST_DISTURBANCE = 45.0


def table(numbers: str) -> np.ndarray:
    """Numbers of Bark bands, float64 (bands,)."""
    return np.array(numbers.split(), float)


# Of each Bark band: STFT bins, width in Bark, correction of power, threshold of hearing in dB.
N_BINS = table(
    """
    1 1 1 1 1 1 1 1 2 1 1 1 1 1 2 1 1 2 2 2 2 2 2 2 2 3 3 3 3 4 3 4 5 4 5 6 6 7 8 9 9 12 12 15
    16 18 21 25 20
    """
)
WIDTH_BARK = table(
    """
    0.1573 0.3180 0.3224 0.3269 0.3315 0.3361 0.3407 0.3454 0.3501 0.3549 0.3597 0.3645 0.3694
    0.3745 0.3796 0.3847 0.3898 0.3950 0.4002 0.4055 0.4109 0.4163 0.4217 0.4273 0.4329 0.4385
    0.4442 0.4500 0.4558 0.4616 0.4676 0.4736 0.4796 0.4857 0.4919 0.4982 0.5045 0.5108 0.5172
    0.5237 0.5303 0.5369 0.5436 0.5504 0.5572 0.5641 0.5711 0.5781 0.5852
    """
)
POWER_CORRECTION = table(
    """
    100.0 100.0 100.0 100.0 100.0 100.0 100.0 100.0 50.0 100.0 100.0 100.0 100.0 100.0 53.05
    110.0 117.99 65.0 68.76 70.0 71.43 75.0 76.84 80.97 88.65 63.86 68.16 72.55 75.58 58.38
    80.95 64.14 54.38 73.82 64.44 59.18 65.52 61.4 58.14 57.0 64.13 54.31 61.11 55.08 56.85
    55.63 53.14 54.99 79.55
    """
)
THRESHOLD_DB = table(
    """
    77.1 63.9 48.5 36.9 30.7 25.9 20.2 16.6 12.5 9.9 6.9 4.9 2.8 1.0 -0.1 -1.4 -2.5 -3.4 -4.1
    -4.8 -5.3 -5.7 -5.9 -6.0 -6.0 -6.0 -6.0 -5.8 -5.4 -5.1 -4.7 -4.3 -4.0 -3.6 -3.3 -3.1 -3.0
    -3.0 -2.9 -2.8 -2.8 -2.8 -2.9 -3.2 -3.7 -4.3 -4.4 -3.8 -2.7
    """
)

THRESHOLD = (10.0 ** (THRESHOLD_DB / 10.0)).astype(np.float32)
CENTRE_BARK = np.cumsum(WIDTH_BARK) - 0.5 * WIDTH_BARK
EXPONENT = (LOUDNESS_EXPONENT * np.clip(6.0 / (CENTRE_BARK + 2.0), 1.0, 2.0) ** 0.15).astype(
    np.float32
)


def distance(clean, estimate):
    """How far below the best score an estimate is, before the score is bent to a MOS.

    Args:
        clean: (batch, samples) at 16 kHz, with a voice, at least `FEWEST_SAMPLES`.
        estimate: the same shape, aligned to it.

    Returns:
        (batch,), 0 for no audible difference, about 3 for noisy speech.
    """
    samples = ops.shape(clean)[1] // HOP * HOP
    reference, degraded = (bark_spectrum(w[:, :samples]) for w in (clean, estimate))
    reference = reference * _tone_ratio(reference, degraded)
    audible = _audible_power(reference)
    degraded = degraded * _level_ratio(audible, _audible_power(degraded))
    symmetric, asymmetric = _disturbances(reference, degraded)
    audibility = ops.power((audible + 1e5) / 1e7, 0.04)
    return sum(
        weight * _over_time(ops.minimum(disturbance / audibility, LARGEST_DISTURBANCE))
        for weight, disturbance in zip(WEIGHTS, (symmetric, asymmetric), strict=True)
    )


def bark_spectrum(waveform):
    """Power in Bark bands of (batch, samples) at the reference level: (batch, frames, bands)."""
    spectrum = spectral_ops.stft(waveform, N_FFT, HOP, window="hann")
    power = ops.sum(ops.square(spectrum), axis=-1)  # (batch, frames, bins)
    aligned = ops.sum(power * ops.convert_to_tensor(aligned_bins()), axis=-1)
    band_power = ops.mean(aligned, axis=-1)
    mean_square = 2.0 * band_power / (HANN_POWER * N_FFT**2)
    gain = ALIGNED_POWER / (mean_square + 1e-9)
    return ops.matmul(power * gain[:, None, None], ops.convert_to_tensor(filterbank()))


@functools.cache
def aligned_bins() -> np.ndarray:
    """A mask of the bins by which levels are aligned, float32 (bins,)."""
    hz = np.fft.rfftfreq(N_FFT, 1.0 / SAMPLE_RATE)
    return ((hz >= ALIGNED_BAND_HZ[0]) & (hz <= ALIGNED_BAND_HZ[1])).astype(np.float32)


@functools.cache
def filterbank() -> np.ndarray:
    """The wideband filter and the sums over bins of each band, float32 (bins, bands)."""
    delay = np.exp(-2j * np.pi * np.arange(N_FFT // 2 + 1) / N_FFT)
    numerator, denominator = (np.polyval(c[::-1], delay) for c in WIDEBAND_FILTER)
    band_of_bin = np.repeat(np.arange(len(N_BINS)), N_BINS.astype(int))  # the last bin is in none
    bank = np.zeros((len(delay), len(N_BINS)))
    bank[np.arange(1, len(band_of_bin)), band_of_bin[1:]] = 1.0  # nor is 0 Hz
    response = np.abs(numerator / denominator) ** 2
    return (response[:, None] * bank * POWER_CORRECTION * POWER_SCALE).astype(np.float32)


def _tone_ratio(reference, degraded):
    """What a filter between the two did to each band on the average, (batch, 1, bands)."""
    reference, degraded = (_above(power, 100.0) for power in (reference, degraded))
    voiced = ops.sum(reference[..., 1:], axis=-1, keepdims=True) >= SILENT_POWER
    means = [
        ops.mean(ops.where(voiced, power, 0.0), axis=1, keepdims=True) + 1000.0
        for power in (degraded, reference)
    ]
    return ops.clip(means[0] / means[1], 0.01, 100.0)


def _level_ratio(reference, degraded):
    """What brings frames of (batch, frames) back to their level, smoothed, (batch, frames, 1)."""
    ratio = (reference + 5e3) / (degraded + 5e3)
    smoothed = ops.concatenate([ratio[:, :1], 0.8 * ratio[:, 1:] + 0.2 * ratio[:, :-1]], axis=1)
    return ops.clip(smoothed, 3e-4, 5.0)[..., None]


def _disturbances(reference, degraded):
    """The audible difference of each frame, and that which counts additions, (batch, frames)."""
    loudness = [_loudness(power) for power in (reference, degraded)]
    masked = 0.25 * ops.minimum(*loudness)
    difference = ops.relu(ops.abs(loudness[1] - loudness[0]) - masked)
    added = ops.power((degraded + 50.0) / (reference + 50.0), 1.2)
    added = ops.where(added < 3.0, 0.0, ops.minimum(added, 12.0))
    widened = difference[..., 1:] * ops.convert_to_tensor(WIDTH_BARK[1:].astype(np.float32))
    square = ops.sum(ops.square(widened), axis=-1) * float(WIDTH_BARK[1:].sum())
    # A root has no gradient at 0, where nothing is audible.
    return ops.sqrt(square + 1e-9), ops.sum(widened * added[..., 1:], axis=-1)


def _loudness(power):
    """Zwicker's loudness, sone per Bark."""
    threshold, exponent = ops.convert_to_tensor(THRESHOLD), ops.convert_to_tensor(EXPONENT)
    value = ops.power(0.5 + 0.5 * power / threshold, exponent) - 1.0
    scale = LOUDNESS_SCALE * ops.power(2.0 * threshold, exponent)
    return ops.where(power > threshold, value * scale, 0.0)


def _above(power, factor: float):
    """The power of bands that are `factor` above the threshold of hearing, 0 elsewhere."""
    return ops.where(power > ops.convert_to_tensor(THRESHOLD * np.float32(factor)), power, 0.0)


def _audible_power(power):
    """(batch, frames, bands) -> (batch, frames)."""
    return ops.sum(_above(power, 1.0)[..., 1:], axis=-1)


def _over_time(disturbance):
    """Sixth powers over 20 frames, so that bursts count; then squares. (batch, frames) ->
    (batch,)."""
    scaled = ops.power(disturbance / LARGEST_DISTURBANCE, 6.0)[..., None]
    half = BURST_FRAMES // 2
    bursts = ops.average_pool(scaled, BURST_FRAMES, strides=half, data_format="channels_last")
    means = LARGEST_DISTURBANCE * ops.power(bursts[..., 0] + 1e-20, 1.0 / 6.0)
    return ops.sqrt(ops.mean(ops.square(means), axis=-1))
