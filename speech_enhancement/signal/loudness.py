"""Loudness as broadcasting measures it, block by block.

Recommendation ITU-R BS.1770-5: two filters for the ear (a high shelf for the head, a high-pass),
mean square of 400 ms every 100 ms, then a gate that leaves out pauses.
"""

from __future__ import annotations

import numpy as np

from speech_enhancement.errors import UserError

LOWEST_RATE = 4000
BLOCK_HOPS = 4
OFFSET_LUFS = -0.691
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
SURROUND_WEIGHT = 1.41
CHANNEL_WEIGHTS = {
    5: (1.0, 1.0, 1.0, SURROUND_WEIGHT, SURROUND_WEIGHT),
    6: (1.0, 1.0, 1.0, 0.0, SURROUND_WEIGHT, SURROUND_WEIGHT),
}


class LoudnessMeter:
    """Integrated loudness of a recording that comes in blocks.

    Args:
        sample_rate: Hz, at least 4000.
        channels: channels; 5 and 6 are taken as L R C (LFE) Ls Rs.

    Raises:
        UserError: the rate is too low for the filters.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        if sample_rate < LOWEST_RATE:
            raise UserError(
                f"Loudness needs at least {LOWEST_RATE} samples per second. Received: {sample_rate}"
            )
        self._filters = k_weighting(sample_rate)
        self._states = np.zeros((len(self._filters), channels, 2))
        self._weights = np.array(CHANNEL_WEIGHTS.get(channels, np.ones(channels)))
        self._hop = round(0.1 * sample_rate)
        self._rest = np.zeros((channels, 0))
        self._powers: list[np.ndarray] = []
        self.peak = 0.0

    def feed(self, block: np.ndarray) -> None:
        """Measure a block (channels, samples)."""
        if not block.shape[1]:
            return
        import scipy.signal

        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        weighted, self._states = scipy.signal.sosfilt(
            self._filters, block.astype(np.float64), zi=self._states
        )
        sound = np.concatenate([self._rest, weighted], axis=1)
        whole = sound.shape[1] // self._hop * self._hop
        self._rest = sound[:, whole:]
        hops = sound[:, :whole].reshape(len(sound), whole // self._hop, self._hop)
        self._powers.append(self._weights @ np.square(hops).mean(axis=-1))

    def integrated_lufs(self) -> float:
        """Gated loudness so far, LUFS; minus infinity for silence and for less than 400 ms."""
        hops = np.concatenate(self._powers) if self._powers else np.zeros(0)
        if len(hops) < BLOCK_HOPS:
            return -np.inf
        power = np.convolve(hops, np.full(BLOCK_HOPS, 1.0 / BLOCK_HOPS), "valid")
        power = power[power > _power_of(ABSOLUTE_GATE_LUFS)]
        if not len(power):
            return -np.inf
        relative = power.mean() * 10.0 ** (RELATIVE_GATE_LU / 10.0)
        return float(OFFSET_LUFS + 10.0 * np.log10(power[power > relative].mean()))


def _power_of(lufs: float) -> float:
    """Weighted mean square of a loudness."""
    return 10.0 ** ((lufs - OFFSET_LUFS) / 10.0)


def k_weighting(sample_rate: int) -> np.ndarray:
    """The two filters of BS.1770 as second-order sections (2, 6) at any rate.

    The recommendation lists their coefficients at 48 kHz; these are the analogue filters behind
    them, transformed anew (B. De Man, "Evaluation of implementations of the EBU R128 loudness
    measurement", AES 2018).
    """
    k, q = np.tan(np.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    high = 10.0 ** (3.999843853973347 / 20.0)
    band = high**0.4996667741545416
    shelf = [high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]
    shelf_poles = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    k, q = np.tan(np.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    pass_poles = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    sections = np.array(
        [[*shelf, *shelf_poles], [*(pass_poles[0] * np.array([1, -2, 1])), *pass_poles]]
    )
    return sections / sections[:, 3:4]
