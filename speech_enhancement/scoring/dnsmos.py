"""DNSMOS P.835 on the networks that the package `speechmos` carries, one thread, no downloads.

Reference:
    Reddy, Gopal and Cutler, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality
    Metric to Evaluate Noise Suppressors", ICASSP 2022.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.scoring.frames import check_sound
from speech_enhancement.signal import dsp

RATE = 16000
WINDOW_S = 9.01
NAMES = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl")
CALIBRATION = (  # raw output to score, highest power first, in the order of `NAMES`
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


def dnsmos(estimate: np.ndarray, rate: int) -> dict[str, float]:
    """Scores 1..5 of windows of 9.01 s every second, averaged; shorter sound is repeated.

    Args:
        estimate: float (samples,).
        rate: Hz.

    Raises:
        Unscorable: the estimate is silent.
        UserError: `speechmos` is not installed.
    """
    check_sound(estimate, estimate)
    sound = np.clip(dsp.resample(estimate, rate, RATE), -1.0, 1.0).astype(np.float32)
    session = _session()
    raw = [session.run(None, {"input_1": window[np.newaxis]})[0][0] for window in _windows(sound)]
    scores = [np.polyval(p, each) for p, each in zip(CALIBRATION, np.array(raw).T, strict=True)]
    return {name: float(score.mean()) for name, score in zip(NAMES, scores, strict=True)}


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


@functools.cache
def _session() -> Any:
    """The network, loaded once in a process."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        _network_path(), options, providers=["CPUExecutionProvider"]
    )


def _network_path() -> Path:
    """Where `speechmos` keeps the network; found without importing it, which is slow."""
    spec = importlib.util.find_spec("speechmos")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"Scores need speechmos: run `{places.install_command('evaluation')}`")
    return Path(spec.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
