"""Scores of an estimate against the clean recording.

Every metric is a function `(clean, estimate, rate) -> float`, or a dictionary of floats by name,
on float waveforms (samples,) of one length; `registry.METRICS` names them, and which of them need
no clean recording. What a metric cannot score, silence for one, raises `Unscorable` with the
reason: no number stands in for it.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import numpy as np

from speech_enhancement import places
from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UserError
from speech_enhancement.scoring import composite as metrics_composite
from speech_enhancement.scoring import condition as metrics_condition
from speech_enhancement.scoring import dnsmos as metrics_dnsmos
from speech_enhancement.scoring.frames import Unscorable, check_sound
from speech_enhancement.signal import dsp

PESQ_RATES = {"wb": 16000, "nb": 8000}
PESQ_LONGEST_S = 20.0  # the library overflows a table of 50 utterances, of 0.4 s at least
SPECTROGRAM_S = 0.032


def pesq_wb(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Wide-band perceptual evaluation of speech quality, MOS-LQO 1.04..4.64.

    A model of hearing compares loudness over time and pitch; what was added annoys more than what
    is missing.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz, at least 16000.

    Raises:
        Unscorable: there is no speech, less than 0.25 s, or too low a rate.
        UserError: `pesq` is not installed.

    Reference:
        ITU-T P.862.2 (2007); Rix et al., ICASSP 2001.
    """
    return _pesq_of_recording(clean, estimate, rate, "wb")


def pesq_nb(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Narrow-band (telephone) PESQ, MOS-LQO 1.02..4.55; see `pesq_wb`.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz, at least 8000.

    Raises:
        Unscorable: there is no speech, less than 0.25 s, or too low a rate.

    Reference:
        ITU-T P.862 (2001) and P.862.1 (2003).
    """
    return _pesq_of_recording(clean, estimate, rate, "nb")


def pesq(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """PESQ of the widest band that a recording has, as MOS-LQO from 1 (bad) to 5 (excellent).

    That is wide-band PESQ at 16 kHz and more, and narrow-band PESQ at lower rates. A device test,
    in which known speech is played and recorded, grades recordings on the same scale.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz, at least 8000.

    Raises:
        Unscorable: see `pesq_wb`.

    Reference:
        ITU-T P.800.1 (2016) for MOS-LQO; ITU-T P.862.1 and P.862.2 for the scorer.
    """
    return _pesq_of_recording(clean, estimate, rate, "wb" if rate >= PESQ_RATES["wb"] else "nb")


def _pesq_of_recording(clean: np.ndarray, estimate: np.ndarray, rate: int, band: str) -> float:
    """Mean PESQ of as few equal pieces as the library can take; of one up to 20 s."""
    check_sound(clean, estimate)
    if rate < PESQ_RATES[band]:
        raise Unscorable(f"PESQ-{band} needs {PESQ_RATES[band]} Hz or more, not {rate}")
    pesq_rate = rate if rate in PESQ_RATES.values() else PESQ_RATES["wb"]
    pair = [dsp.resample(sound, rate, pesq_rate) for sound in (clean, estimate)]
    n_pieces = max(1, int(np.ceil(len(pair[0]) / (PESQ_LONGEST_S * pesq_rate))))
    scores, refusals = [], []
    for piece in zip(*(np.array_split(sound, n_pieces) for sound in pair), strict=True):
        clean_bytes, estimate_bytes = (each.astype(np.float32).tobytes() for each in piece)
        try:
            scores.append(_pesq(clean_bytes, estimate_bytes, pesq_rate, band))
        except Unscorable as refusal:
            refusals.append(refusal)
    if not scores:
        raise refusals[0]
    return float(np.mean(scores))


@functools.lru_cache(maxsize=16)
def _pesq(clean: bytes, estimate: bytes, rate: int, band: str) -> float:
    """The library's score of float32 bytes, which several metrics ask for."""
    library = _library("pesq")
    first, second = (np.frombuffer(sound, np.float32) for sound in (clean, estimate))
    try:
        score = library.pesq(rate, first, second, band)
    except library.NoUtterancesError as error:
        raise Unscorable("PESQ finds no speech in it") from error
    except library.BufferTooShortError as error:
        raise Unscorable("shorter than the 0.25 s that PESQ needs") from error
    except library.PesqError as error:
        raise Unscorable(f"PESQ failed: {error}") from error
    if not np.isfinite(score):
        raise Unscorable("PESQ finds no sound in it")
    return float(score)


def _library(name: str) -> Any:
    """A package of scores, which only evaluation needs."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"Scores need {name}: run `{places.install_command('evaluation')}`"
        ) from error


def stoi(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Short-time objective intelligibility, about 0..1.

    Mean correlation of the envelopes of 15 third-octave bands over 384 ms.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz.

    Raises:
        Unscorable: there is less than 0.4 s of speech.

    Reference:
        Taal et al., "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy
        Speech", IEEE TASLP 19(7), 2011.
    """
    return _stoi(clean, estimate, rate, extended=False)


def estoi(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Extended STOI: correlation of whole spectra over 384 ms, right for modulated noise too.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz.

    Raises:
        Unscorable: there is less than 0.4 s of speech.

    Reference:
        Jensen and Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked by
        Modulated Noise Maskers", IEEE/ACM TASLP 24(11), 2016.
    """
    return _stoi(clean, estimate, rate, extended=True)


def _stoi(clean: np.ndarray, estimate: np.ndarray, rate: int, extended: bool) -> float:
    """The library's answer; it warns, and answers 1e-5, where it cannot score."""
    pystoi = _library("pystoi")
    check_sound(clean, estimate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return float(pystoi.stoi(clean, estimate, rate, extended=extended))
        except (RuntimeWarning, ValueError) as error:
            raise Unscorable("less than the 0.4 s of speech that STOI needs") from error


def si_sdr(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Scale-invariant signal-to-distortion ratio, dB.

    Energy of the estimate's part that is the clean signal, whatever its gain, over the rest;
    within -156..156 dB, the precision of the arithmetic.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz; it does not matter.

    Raises:
        Unscorable: either is silent.

    Reference:
        Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    check_sound(clean, estimate)
    clean, estimate = (sound.astype(np.float64) - sound.mean() for sound in (clean, estimate))
    check_sound(clean, estimate)  # without what stays the same all along
    target = clean * (estimate @ clean / (clean @ clean))
    rest = estimate - target
    floor = np.finfo(np.float64).eps * (estimate @ estimate)  # the noise of these sums
    return float(10.0 * np.log10(max(target @ target, floor) / max(rest @ rest, floor)))


def segmental_snr(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Mean signal-to-noise ratio of frames of 30 ms, each limited to -10..35 dB.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz.

    Raises:
        Unscorable: either is silent or shorter than a frame.

    Reference:
        Hansen and Pellom, "An effective quality evaluation protocol for speech enhancement
        algorithms", ICSLP 1998.
    """
    check_sound(clean, estimate)
    return metrics_composite.segmental_snr(clean, estimate, rate)


def log_spectral_distance(clean: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Root mean square difference of the log power spectra of a frame, mean over frames, dB.

    Frames are 32 ms; magnitudes below -60 dB re 1.0 count as -60 dB.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz.

    Raises:
        Unscorable: either is silent.

    Reference:
        Gray and Markel, "Distance measures for speech processing", IEEE TASSP 24(5), 1976.
    """
    check_sound(clean, estimate)
    audio = _spectrogram_config(rate)
    pair = (dsp.spectrogram_to_db(dsp.stft(x, audio)) for x in (clean, estimate))
    return float(np.sqrt(np.square(np.subtract(*pair)).mean(axis=0)).mean())


def composite(clean: np.ndarray, estimate: np.ndarray, rate: int) -> dict[str, float]:
    """Predicted listening scores 1..5 of signal, background and the whole.

    Regressions on PESQ, the log-likelihood ratio of linear prediction, the weighted slope of
    spectra and the segmental SNR.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz.

    Returns:
        `csig`, `cbak` and `covl`, from wide-band PESQ where the rate allows it.

    Raises:
        Unscorable: see `pesq_wb`.

    Reference:
        Hu and Loizou, "Evaluation of Objective Quality Measures for Speech Enhancement", IEEE
        TASLP 16(1), 2008.
    """
    return metrics_composite.composite(clean, estimate, rate, pesq(clean, estimate, rate))


def dnsmos(clean: np.ndarray | None, estimate: np.ndarray, rate: int) -> dict[str, float]:
    """Listening scores 1..5 that a network predicts from the estimate alone.

    Args:
        clean: not used.
        estimate: float (samples,).
        rate: Hz; below 16000 it is resampled, and a missing high band costs points.

    Returns:
        `dnsmos_sig` of the voice, `dnsmos_bak` of the background, `dnsmos_ovrl` of the whole, as
        ITU-T P.835 asks listeners; `dnsmos_p808`, the one grade of ITU-T P.808.

    Raises:
        Unscorable: the estimate is silent, or shorter than 0.25 s.
        UserError: the networks are not installed.

    Reference:
        Reddy et al., "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to
        Evaluate Noise Suppressors", ICASSP 2022, and "DNSMOS: A Non-Intrusive Perceptual Objective
        Speech Quality Metric to Evaluate Noise Suppressors", ICASSP 2021.
    """
    return metrics_dnsmos.dnsmos(estimate, rate)


def condition(clean: np.ndarray | None, estimate: np.ndarray, rate: int) -> dict[str, float]:
    """The technical condition of the estimate alone.

    Args:
        clean: not used.
        estimate: float (samples,).
        rate: Hz, best that of the recording, since resampling hides clipping.

    Returns:
        `noise_floor_dbfs`, `speech_level_dbfs`, `snr_estimate_db`, `hum_db`, `clipping_percent`,
        `offset_percent` and `bandwidth_hz`; see the functions of `scoring.condition`.

    Raises:
        Unscorable: the estimate is silent, or shorter than 0.25 s.
    """
    return metrics_condition.condition(estimate, rate)


def spectrogram_similarity(clean: np.ndarray, estimate: np.ndarray, rate: int) -> dict[str, float]:
    """How alike the spectrograms are as pictures.

    Linear magnitudes of 32 ms windows; both are scaled by the largest of the clean one, which so
    is 0..1, and the estimate's are limited to 1.

    Args:
        clean: float (samples,).
        estimate: float (samples,).
        rate: Hz.

    Returns:
        `spectrogram_mse`, the mean squared error; `spectrogram_ssim`, the structural similarity,
        1 for equal pictures.

    Raises:
        Unscorable: the clean recording is silent.

    Reference:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
        IEEE TIP 13(4), 2004.
    """
    check_sound(clean, estimate)
    audio = _spectrogram_config(rate)
    pair = [np.abs(dsp.stft(sound, audio)).astype(np.float64) for sound in (clean, estimate)]
    clean_picture, picture = (np.minimum(each / pair[0].max(), 1.0) for each in pair)
    return {
        "spectrogram_mse": float(np.square(clean_picture - picture).mean()),
        "spectrogram_ssim": structural_similarity(clean_picture, picture),
    }


def structural_similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Mean structural similarity of two pictures (height, width) with values 0..1.

    Means, variances and covariances in a Gaussian window of 11 x 11, sigma 1.5; the border, where
    the window hangs over the edge, does not count. See `spectrogram_similarity`.

    Raises:
        Unscorable: a side is shorter than 11.
    """
    from scipy.ndimage import gaussian_filter

    reach, k1, k2 = 5, 0.01**2, 0.03**2
    if min(first.shape) <= 2 * reach:
        raise Unscorable("its spectrogram is smaller than the window of SSIM")
    blur = functools.partial(gaussian_filter, sigma=1.5, truncate=3.5)
    mean_1, mean_2 = blur(first), blur(second)
    variances = blur(first**2) - mean_1**2 + blur(second**2) - mean_2**2
    covariance = blur(first * second) - mean_1 * mean_2
    likeness = (2 * mean_1 * mean_2 + k1) * (2 * covariance + k2)
    likeness /= (mean_1**2 + mean_2**2 + k1) * (variances + k2)
    return float(likeness[reach:-reach, reach:-reach].mean())


def _spectrogram_config(rate: int) -> AudioConfig:
    """Windows of 32 ms every 8 ms."""
    n_fft = round(SPECTROGRAM_S * rate)
    return AudioConfig(rate, n_fft, n_fft // 4, frame_length=n_fft)
