"""DNSMOS P.835 and P.808 on the networks that `speechmos` carries, one thread, no downloads.

Reference:
    Reddy, Gopal and Cutler, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality
    Metric to Evaluate Noise Suppressors", ICASSP 2022; the same, "DNSMOS: A Non-Intrusive
    Perceptual Objective Speech Quality Metric to Evaluate Noise Suppressors", ICASSP 2021.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.scoring.frames import check_alone, check_length
from speech_enhancement.signal import dsp

RATE = 16000
WINDOW_S = 9.01
NAMES = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
P835, P808 = "sig_bak_ovr.onnx", "model_v8.onnx"
CALIBRATION = (  # raw output to score, highest power first, in the order of `NAMES`
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)
# Of the mel spectrograms that the network of P.808 reads.
N_MELS, MEL_WINDOW, MEL_HOP = 120, 321, 160
MEL_RANGE_DB = 80.0


def dnsmos(estimate: np.ndarray, rate: int) -> dict[str, float]:
    """Scores 1..5 of windows of 9.01 s every second, averaged; shorter sound is repeated.

    Args:
        estimate: float (samples,).
        rate: Hz.

    Raises:
        Unscorable: the estimate is silent, or shorter than 0.25 s.
        UserError: `speechmos` is not installed.
    """
    check_alone(estimate)
    check_length(estimate, rate)
    sound = np.clip(dsp.resample(estimate, rate, RATE), -1.0, 1.0).astype(np.float32)
    windows = _windows(sound)
    raw = [_run(P835, window)[0] for window in windows]
    scores = [np.polyval(p, each) for p, each in zip(CALIBRATION, np.array(raw).T, strict=True)]
    named = {name: float(score.mean()) for name, score in zip(NAMES, scores, strict=True)}
    overall = [_run(P808, _mel_spectrogram(window[:-MEL_HOP]))[0, 0] for window in windows]
    return {**named, "dnsmos_p808": float(np.mean(overall))}


def is_installed() -> bool:
    """Whether the networks are there."""
    try:
        return _network_path(P835).is_file()
    except UserError:
        return False


def _windows(sound: np.ndarray) -> np.ndarray:
    """The windows that the authors' program scores, (windows, samples).

    It doubles short sound until it is long enough, and drops the last window of most lengths;
    numbers that are to be compared with published ones must do the same.
    """
    length = int(WINDOW_S * RATE)
    while len(sound) < length:
        sound = np.tile(sound, 2)
    count = int(len(sound) // RATE - WINDOW_S) + 1
    return np.lib.stride_tricks.sliding_window_view(sound, length)[::RATE][:count]


def _mel_spectrogram(sound: np.ndarray) -> np.ndarray:
    """Mel powers of (samples,) in dB below their maximum, scaled as the network of P.808 has them.

    Returns:
        float32 (frames, mels).
    """
    padded = np.pad(sound, MEL_WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, MEL_WINDOW)[::MEL_HOP]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(MEL_WINDOW) / MEL_WINDOW)
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=-1))) @ _mel_bands().T
    decibels = 10.0 * np.log10(np.maximum(power, 1e-10))
    decibels = np.maximum(decibels - decibels.max(), -MEL_RANGE_DB)
    return ((decibels + 40.0) / 40.0).astype(np.float32)


@functools.cache
def _mel_bands() -> np.ndarray:
    """Triangles of one area on Slaney's mel scale, which is linear up to 1 kHz, (mels, bins).

    The bands of `signal.mel`, which the networks of this project use, are on another scale.

    Reference:
        Slaney, "Auditory Toolbox", Interval Research Corporation, 1998.
    """
    step_hz, knee_hz, log_step = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0
    knee = knee_hz / step_hz
    top = knee + np.log(RATE / 2.0 / knee_hz) / log_step
    mels = np.linspace(0.0, top, N_MELS + 2)
    edges = np.where(
        mels < knee, mels * step_hz, knee_hz * np.exp(log_step * np.maximum(mels - knee, 0.0))
    )
    bins = np.arange(MEL_WINDOW // 2 + 1) * RATE / MEL_WINDOW
    low, middle, high = (edges[i : i + N_MELS, np.newaxis] for i in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.maximum(np.minimum(rising, falling), 0.0) * 2.0 / (high - low)


def _run(network: str, values: np.ndarray) -> np.ndarray:
    """What a network makes of one input."""
    return _session(network).run(None, {"input_1": values[np.newaxis]})[0]


@functools.cache
def _session(network: str) -> Any:
    """A network, loaded once in a process."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        _network_path(network), options, providers=["CPUExecutionProvider"]
    )


def _network_path(name: str) -> Path:
    """Where `speechmos` keeps a network; found without importing it, which is slow."""
    spec = importlib.util.find_spec("speechmos")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"Scores need speechmos: run `{places.install_command('evaluation')}`")
    return Path(spec.submodule_search_locations[0]) / "dnsmos_models" / name
