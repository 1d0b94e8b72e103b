"""What all metrics share: the refusal to score, and the frames that the speech metrics cut."""

from __future__ import annotations

import numpy as np

FRAME_S = 0.03
SHORTEST_S = 0.25  # that PESQ scores as well
SILENCE = 1e-6  # an amplitude of -120 dBFS, under the last bit of any recording


class Unscorable(ValueError):
    """A metric has no value for this pair; the message says why."""


def check_sound(clean: np.ndarray, estimate: np.ndarray) -> None:
    """Make sure that there is something to compare.

    Raises:
        Unscorable: either is empty, silent or not finite.
        ValueError: the lengths differ.
    """
    if clean.shape != estimate.shape or clean.ndim != 1:
        raise ValueError(
            f"Shapes must be one and the same. Received: {clean.shape}, {estimate.shape}"
        )
    for name, sound in (("clean recording", clean), ("estimate", estimate)):
        check_alone(sound, name)


def check_length(sound: np.ndarray, rate: int) -> None:
    """Make sure that there is enough to judge a recording by.

    Raises:
        Unscorable: there is not.
    """
    if len(sound) < SHORTEST_S * rate:
        raise Unscorable(f"the recording is shorter than {SHORTEST_S:g} s")


def check_alone(sound: np.ndarray, name: str = "recording") -> None:
    """Make sure that there is something to score.

    Raises:
        Unscorable: the sound, which the message calls `name`, is empty, silent or not finite.
    """
    if not np.isfinite(sound).all():
        raise Unscorable(f"the {name} has NaN or infinite samples")
    if np.abs(sound).max(initial=0.0) < SILENCE:
        raise Unscorable(f"the {name} is silent")


def speech_frames(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Hann-windowed frames of 30 ms, three quarters overlapping, float64 (frames, samples).

    Raises:
        Unscorable: there is less than one frame.
    """
    length = round(FRAME_S * rate)
    if len(waveform) <= length:
        raise Unscorable("shorter than a frame of 30 ms")
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), length)
    window = 0.5 * (1.0 - np.cos(2.0 * np.pi * np.arange(1, length + 1) / (length + 1)))
    return frames[:: length // 4] * window
