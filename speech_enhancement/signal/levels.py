"""Levels of recordings of any length, measured block by block; the blocks' size never matters."""

from __future__ import annotations

import numpy as np

from speech_enhancement.errors import UserError
from speech_enhancement.signal import dsp

LOWEST_DB = -200.0
HIGHEST_DB = 200.0
BINS_PER_DB = 20
MAX_GAIN_DB = 60.0
FRAMES_AT_ONCE = 64  # bounds the memory that their powers take in double precision
REFERENCE_DBFS = -28.0  # where networks trained at all levels score best, -60..-14 dBFS measured


class LevelMeter:
    """Active level of each channel: `dsp.active_rms` in constant memory, without offsets.

    The powers of all 20 ms frames, each without its mean, are kept as a histogram of 0.05 dB, so
    that an hour takes no more memory than a second.

    Args:
        sample_rate: Hz.
        channels: channels of the recording.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._length = max(1, round(dsp.ACTIVITY_FRAME_S * sample_rate))
        n_bins = round((HIGHEST_DB - LOWEST_DB) * BINS_PER_DB) + 1
        self._power = np.zeros((channels, n_bins))
        self._count = np.zeros((channels, n_bins), np.int64)
        self._rest = np.zeros((channels, 0), np.float32)

    def feed(self, block: np.ndarray) -> None:
        """Measure a block (channels, samples).

        Raises:
            UserError: it holds NaN or infinite samples.
        """
        if not np.isfinite(block).all():
            raise UserError("NaN or infinite samples")
        samples = np.concatenate([self._rest, block], axis=1)
        whole = samples.shape[1] // self._length * self._length
        self._rest = samples[:, whole:].copy()
        step = FRAMES_AT_ONCE * self._length
        for begin in range(0, whole, step):
            part = samples[:, begin : min(begin + step, whole)]
            self._add(part.reshape(len(samples), -1, self._length))

    def active_rms(self) -> np.ndarray:
        """Root mean square of the active frames of each channel (channels,), after the last block.

        Zero for a channel of digital silence.
        """
        if self._rest.shape[1]:
            missing = self._length - self._rest.shape[1]
            self._add(np.pad(self._rest, [(0, 0), (0, missing)])[:, np.newaxis])
            self._rest = self._rest[:, :0]
        return np.array(
            [_active_rms(*row) for row in zip(self._power, self._count, strict=True)], np.float64
        )

    def _add(self, frames: np.ndarray) -> None:
        """Sort frames (channels, frames, length) into the histogram, in their order."""
        power = frames.var(axis=-1, dtype=np.float64)
        decibels = 10.0 * np.log10(np.maximum(power, 10.0 ** (LOWEST_DB / 10.0)))
        bins = np.rint((np.minimum(decibels, HIGHEST_DB) - LOWEST_DB) * BINS_PER_DB).astype(int)
        channel = np.broadcast_to(np.arange(len(power))[:, np.newaxis], power.shape)
        np.add.at(self._power, (channel, bins), power)
        np.add.at(self._count, (channel, bins), 1)


def _active_rms(power: np.ndarray, count: np.ndarray) -> float:
    """Level of one channel's histogram, over the frames within 40 dB of the loudest."""
    filled = np.flatnonzero(count)
    if not len(filled) or filled[-1] == 0:
        return 0.0  # nothing is louder than `LOWEST_DB`
    first = max(0, filled[-1] - round(dsp.ACTIVE_RANGE_DB * BINS_PER_DB))
    return float(np.sqrt(power[first:].sum() / count[first:].sum()))


def gains_to_level(rms: np.ndarray, level_dbfs: float | None) -> np.ndarray:
    """Factors that bring the levels of channels to the one that a network knows.

    Args:
        rms: active levels (channels,).
        level_dbfs: wanted level, dBFS; `REFERENCE_DBFS` without one.

    Returns:
        float32 (channels,); one for digital silence, and at most 60 dB, so that the rounding noise
        of an empty recording stays what it is.
    """
    wanted = 10.0 ** ((REFERENCE_DBFS if level_dbfs is None else level_dbfs) / 20.0)
    gains = np.divide(wanted, rms, out=np.ones(len(rms)), where=rms > 0.0)
    return np.minimum(gains, 10.0 ** (MAX_GAIN_DB / 20.0)).astype(np.float32)
