"""The band above a network's: gains of its own from its own noise, by thirds of an octave.

The network tells only when there is speech: by how much it lowers its own highest band at the
moment, against how much it lowers it where there is nothing but noise. In the pauses the band above
is lowered by just as much. While they last, its noise is measured (recursive averages controlled by
speech presence); where there is speech, a decision-directed Wiener filter of square root
characteristic lets through what rises above that noise, and nothing else.

References: I. Cohen and B. Berdugo, "Speech enhancement for non-stationary noise environments",
    Signal Processing 81, 2001; Y. Ephraim and D. Malah, "Speech enhancement using a minimum
    mean-square error short-time spectral amplitude estimator", IEEE Trans. ASSP 32, 1984.
"""

from __future__ import annotations

import numpy as np

from speech_enhancement.signal import dsp

WINDOW_S = 0.0107
DEEPEST = dsp.db_to_amplitude(-30.0)  # lowest gain
SURE = 0.3  # of the way from the pauses' gain to one, from which on there is speech for sure
NOISE_S = 0.3  # time constant of the noise's averages
RISE_DB = 1.0  # a second, at most, by which the gain of the pauses rises
OVERESTIMATE = (1.3, 2.5)  # of the noise, least and most, so that its fluctuations do not pass
DEVIATIONS = 2.5  # of the noise's power that are taken as noise
MEMORY = 0.9  # weight of the frame before in the decision-directed estimate
TINY_POWER = 1e-20


class UpperBand:
    """Computes what has to be removed from the band above that of a network.

    What comes out is as long as what went in, and the same for every size of the blocks.

    Args:
        rate: of the recording, Hz.
        network_rate: Hz.
        channels: channels of the sound.
    """

    def __init__(self, rate: int, network_rate: int, channels: int) -> None:
        self._hop = max(1, round(rate * WINDOW_S / 2))
        self._window = dsp.stft_window("sqrt_hann", 2 * self._hop).astype(np.float64)
        self._starts, self._widths = third_octaves(rate, network_rate, self._hop + 1)
        self._channels = channels
        self._waiting = np.zeros((2, channels, self._hop), np.float32)  # half a window of lead
        self._carry = np.zeros((channels, self._hop))
        self._skip, self._owed = self._hop, 0
        frame_s = self._hop / rate
        self._update = 1.0 - np.exp(-frame_s / NOISE_S)
        self._rise = dsp.db_to_amplitude(RISE_DB * frame_s)
        self._pause_gain = np.ones((channels, 1))
        self._noise = np.zeros((channels, len(self._starts)))  # mean power
        self._variance = np.zeros_like(self._noise)  # of the noise's power
        self._noise_frames = np.zeros((channels, 1))  # so far
        self._speech = np.zeros_like(self._noise)  # power let through in the frame before

    def feed(self, upper: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """The sound to remove, as far as it is final.

        Args:
            upper: the sound above the network's band (channels, samples).
            shares: of the amplitude just below that the network took as noise, likewise, 0..1.
        """
        self._owed += upper.shape[1]
        self._waiting = np.concatenate([self._waiting, np.stack([upper, shares])], axis=-1)
        parts = [np.zeros((self._channels, 0), np.float32)]
        while self._waiting.shape[-1] >= 2 * self._hop:
            parts.append(self._frame(*self._waiting[..., : 2 * self._hop]))
            self._waiting = self._waiting[..., self._hop :]
        removed = np.concatenate(parts, axis=1)
        skip = min(self._skip, removed.shape[1])
        removed = removed[:, skip : skip + self._owed]
        self._skip -= skip
        self._owed -= removed.shape[1]
        return removed

    def flush(self) -> np.ndarray:
        """The rest, up to the end of the sound."""
        owed = self._owed
        nothing = np.zeros((self._channels, 2 * self._hop), np.float32)
        rest = self.feed(nothing, nothing)
        self._owed = 0
        return rest[:, :owed]

    def _frame(self, upper: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Half a window of the sound to remove (channels, hop)."""
        spectrum = np.fft.rfft(upper * self._window, axis=-1)
        power = spectrum.real**2 + spectrum.imag**2
        bands = np.add.reduceat(power, self._starts, axis=-1) + TINY_POWER  # (channels, bands)
        network_gain = 1.0 - np.clip(shares[:, [self._hop]].astype(np.float64), 0.0, 1.0)
        gains = np.repeat(self._gains(bands, network_gain), self._widths, axis=-1)
        removed = np.fft.irfft(spectrum * (1.0 - gains), 2 * self._hop, axis=-1) * self._window
        done = removed[:, : self._hop] + self._carry
        self._carry = removed[:, self._hop :]
        return done.astype(np.float32)

    def _gains(self, power: np.ndarray, network_gain: np.ndarray) -> np.ndarray:
        """Gains (channels, bands) of a frame of powers (channels, bands)."""
        self._pause_gain = np.clip(network_gain, DEEPEST, self._rise * self._pause_gain)
        floor = self._pause_gain
        presence = (network_gain - floor) / np.maximum(SURE * (1.0 - floor), dsp.TINY)
        presence = np.clip(presence, 0.0, 1.0)
        self._listen(power, 1.0 - presence)
        noise = self._highest_noise()
        now = np.maximum(power / noise - 1.0, 0.0)
        ratio = MEMORY * self._speech / noise + (1.0 - MEMORY) * now
        ratio = np.maximum(ratio, now * (now > 1.0))  # an onset is not kept waiting
        wiener = ratio / (1.0 + ratio)
        self._speech = wiener * power * (now > 0.0)
        gain = np.maximum(np.sqrt(wiener), floor)
        return gain**presence * floor ** (1.0 - presence)

    def _listen(self, power: np.ndarray, absence: np.ndarray) -> None:
        """Average the noise and its variance over frames without speech; plain means at first."""
        self._noise_frames += absence
        weight = absence * np.maximum(self._update, 1.0 / np.maximum(self._noise_frames, 1.0))
        change = power - self._noise
        self._noise += weight * change
        self._variance += weight * ((1.0 - weight) * change**2 - self._variance)

    def _highest_noise(self) -> np.ndarray:
        """The power below which a band is nothing but noise."""
        lowest, highest = (factor * self._noise for factor in OVERESTIMATE)
        likely = self._noise + DEVIATIONS * np.sqrt(self._variance)
        return np.clip(likely, lowest, highest) + TINY_POWER


def third_octaves(rate: int, network_rate: int, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """First bins and widths of the bands; the first is what resampling leaves below the others."""
    shared = min(rate, network_rate) / rate * (n_bins - 1)
    count = int(np.ceil(3.0 * np.log2((n_bins - 1) / shared)))
    edges = np.rint(shared * 2.0 ** (np.arange(count) / 3.0)).astype(int)
    starts = np.unique(np.append(0, edges))
    return starts, np.diff(starts, append=n_bins)
