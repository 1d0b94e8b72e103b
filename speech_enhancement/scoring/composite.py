"""The parts of the composite measure of Hu and Loizou, and the measure itself.

Frames are 30 ms with a hop of 7.5 ms. LLR and WSS are means over the 95 % of frames that are
nearest to the clean ones, as the authors of the composite measure take them.

Reference:
    Hu and Loizou, "Evaluation of Objective Quality Measures for Speech Enhancement", IEEE TASLP
    16(1), 2008.
"""

from __future__ import annotations

import numpy as np

from speech_enhancement.scoring.frames import check_sound, speech_frames

KEPT_SHARE = 0.95
SNR_LIMITS_DB = (-10.0, 35.0)
EPSILON = np.finfo(np.float64).eps

# Klatt's critical bands: centre and width, Hz.
BAND_CENTRES_HZ = np.array(
    [
        *(50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717),
        *(904.128, 1020.38, 1148.30, 1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08),
        *(2446.71, 2701.97, 2978.04, 3276.17, 3597.63),
    ]
)
BAND_WIDTHS_HZ = np.array(
    [
        *(70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411),
        *(116.256, 127.914, 140.423, 153.823, 168.154, 183.457, 199.776, 217.153, 235.631),
        *(255.255, 276.072, 298.126, 321.465, 346.136),
    ]
)
MAXIMUM_WEIGHT, PEAK_WEIGHT = 20.0, 1.0


def composite(clean: np.ndarray, estimate: np.ndarray, rate: int, pesq: float) -> dict[str, float]:
    """Predicted scores 1..5 of signal, background and the whole.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz.
        pesq: their PESQ, MOS-LQO.
    """
    check_sound(clean, estimate)
    llr = log_likelihood_ratio(clean, estimate, rate)
    wss = weighted_spectral_slope(clean, estimate, rate)
    snr = segmental_snr(clean, estimate, rate)
    scores = {
        "csig": 3.093 - 1.029 * llr + 0.603 * pesq - 0.009 * wss,
        "cbak": 1.634 + 0.478 * pesq - 0.007 * wss + 0.063 * snr,
        "covl": 1.594 + 0.805 * pesq - 0.512 * llr - 0.007 * wss,
    }
    return {name: float(np.clip(score, 1.0, 5.0)) for name, score in scores.items()}


def segmental_snr(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Mean over frames of the limited signal-to-noise ratio, dB; see `metrics.segmental_snr`."""
    frames = speech_frames(clean, rate)
    noise = frames - speech_frames(estimate, rate)
    ratio = np.square(frames).sum(axis=1) / (np.square(noise).sum(axis=1) + EPSILON)
    return float(np.clip(10.0 * np.log10(ratio + EPSILON), *SNR_LIMITS_DB).mean())


def log_likelihood_ratio(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Distance of all-pole spectra: how much worse the estimate's predictor predicts the clean.

    Reference:
        Quackenbush, Barnwell and Clements, "Objective Measures of Speech Quality", 1988.
    """
    order = 16 if rate >= 10000 else 10
    correlation = autocorrelation(speech_frames(clean, rate), order)
    predictor = linear_prediction(correlation)
    other = linear_prediction(autocorrelation(speech_frames(estimate, rate), order))
    places = np.abs(np.subtract.outer(np.arange(order + 1), np.arange(order + 1)))
    matrix = correlation[:, places]  # (frames, order + 1, order + 1)
    error, other_error = (
        np.einsum("fi,fij,fj->f", each, matrix, each) for each in (predictor, other)
    )
    ratio = np.maximum(other_error, EPSILON) / np.maximum(error, EPSILON)
    return _mean_of_nearest(np.log(ratio))


def autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    """Autocorrelation of frames at lags 0..order, (frames, order + 1)."""
    length = frames.shape[1]
    lags = [(frames[:, : length - lag] * frames[:, lag:]).sum(axis=1) for lag in range(order + 1)]
    return np.stack(lags, axis=1)


def linear_prediction(correlation: np.ndarray) -> np.ndarray:
    """Prediction error filters (frames, order + 1) by Levinson's and Durbin's recursion."""
    n_frames, n_lags = correlation.shape
    filters = np.zeros((n_frames, n_lags))
    filters[:, 0] = 1.0
    error = correlation[:, 0] + EPSILON
    for lag in range(1, n_lags):
        reflection = -(filters[:, :lag] * correlation[:, lag:0:-1]).sum(axis=1) / error
        mirrored = filters[:, lag::-1].copy()
        filters[:, : lag + 1] += reflection[:, np.newaxis] * mirrored
        error = np.maximum(error * (1.0 - reflection**2), EPSILON)
    return filters


def weighted_spectral_slope(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Distance of the slopes between critical bands, heaviest near the spectra's peaks.

    Reference:
        Klatt, "Prediction of perceived phonetic distance from critical-band spectra", ICASSP 1982.
    """
    clean_db, estimate_db = (band_energies(sound, rate) for sound in (clean, estimate))
    weight = (_slope_weights(clean_db) + _slope_weights(estimate_db)) / 2.0
    difference = np.diff(clean_db, axis=1) - np.diff(estimate_db, axis=1)
    return _mean_of_nearest((weight * difference**2).sum(axis=1) / weight.sum(axis=1))


def band_energies(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Energies of the critical bands of every frame, dB, (frames, bands)."""
    frames = speech_frames(waveform, rate)
    n_fft = 2 ** int(np.ceil(np.log2(2 * frames.shape[1])))
    power = np.square(np.abs(np.fft.rfft(frames, n_fft, axis=1)))[:, : n_fft // 2]
    return 10.0 * np.log10(np.maximum(power @ band_filters(n_fft, rate).T, 1e-10))


def band_filters(n_fft: int, rate: int) -> np.ndarray:
    """Gaussian filters around the bands' centres, (bands, bins), -30 dB and less cut off."""
    bins_per_hz = n_fft / rate
    centres = np.floor(BAND_CENTRES_HZ * bins_per_hz)[:, np.newaxis]
    widths = (BAND_WIDTHS_HZ * bins_per_hz)[:, np.newaxis]
    levels = np.log(BAND_WIDTHS_HZ.min() / BAND_WIDTHS_HZ)[:, np.newaxis]
    filters = np.exp(-11.0 * ((np.arange(n_fft // 2) - centres) / widths) ** 2 + levels)
    return np.where(filters > np.exp(-30.0 / (2.0 * 2.303)), filters, 0.0)


def _slope_weights(energy_db: np.ndarray) -> np.ndarray:
    """Weights of the slopes (frames, bands - 1): near the frame's maximum, near a local peak."""
    to_maximum = energy_db.max(axis=1, keepdims=True) - energy_db[:, :-1]
    to_peak = _nearest_peak_db(energy_db) - energy_db[:, :-1]
    return (MAXIMUM_WEIGHT / (MAXIMUM_WEIGHT + to_maximum)) * (
        PEAK_WEIGHT / (PEAK_WEIGHT + to_peak)
    )


def _nearest_peak_db(energy_db: np.ndarray) -> np.ndarray:
    """Energy of the peak uphill from each slope, (frames, bands - 1).

    Of a rising slope, the authors' program takes the band before the peak; so must every number
    that is to be compared with published ones.
    """
    rising = np.diff(energy_db, axis=1) > 0.0
    n_slopes = rising.shape[1]
    places = np.arange(n_slopes)
    above = np.minimum.accumulate(np.where(rising, n_slopes, places)[:, ::-1], axis=1)[:, ::-1]
    below = np.maximum.accumulate(np.where(rising, places, -1), axis=1)
    peak = np.where(rising, above - 1, below + 1)
    return np.take_along_axis(energy_db, peak, axis=1)


def _mean_of_nearest(distances: np.ndarray) -> float:
    """Mean over the smallest 95 %; of few frames, over the smallest one at least."""
    count = max(1, round(KEPT_SHARE * len(distances)))
    return float(np.sort(distances)[:count].mean())
