"""What a network sees and what its output means.

A **representation** turns a waveform into network input, a **target** turns a noisy/clean pair
into what the network must give, and `estimate` turns what it gave back into a clean waveform's
spectrogram. Models name one of each; no other code asks which model it has.

| representation | network input |
|---|---|
| `magnitude_db` | (batch, bins, frames, 1), decibels scaled to about -1..1 |
| `magnitude`    | (batch, bins, frames, 1), magnitude to the power of `exponent` |
| `complex`      | (batch, frames, bins, 2), real and imaginary part |
| `waveform`     | (batch, samples, 1) |

| target | network target | estimate of the clean spectrogram |
|---|---|---|
| `noise_db`   | scaled noisy dB - clean dB | noisy * 10 ** (-output / 20) |
| `clean`      | the clean sound in the input's own representation | its magnitude, noisy phase |
| `mask`       | gain 0..1 | output * noisy |
| `noise_mask` | noisy and noise magnitude, (batch, bins, frames, 2) | (1 - output) * noisy |
| `waveform`   | clean waveform | its STFT |

Where bins are `n_mels` mel bands, a target is reached band by band, and the gain that it means is
interpolated back to the linear bins of the noisy spectrogram.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError
from speech_enhancement.signal import dsp, mel

MAGNITUDES = ("magnitude_db", "magnitude")
MAGNITUDE_TARGETS = ("noise_db", "clean", "mask", "noise_mask")
TARGETS = {
    "magnitude_db": MAGNITUDE_TARGETS,
    "magnitude": MAGNITUDE_TARGETS,
    "complex": ("clean",),
    "waveform": ("waveform",),
}

Network = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Features:
    """A representation, a target and their scaling constants; stored in the card of a network.

    Args:
        representation: a key of `TARGETS`.
        target: one of its targets.
        input_offset_db, input_scale_db: `(dB - offset) / scale` is the network's input.
        noise_offset_db, noise_scale_db: likewise for the noise model; the defaults are those of
            V. Belz's Speech-enhancement, so that losses compare with the published 0.002406.
        exponent: power of the `magnitude` representation, above 0.
        n_mels: mel bands to merge the bins of a magnitude into; 0 keeps the bins.
        sample_rate: Hz, which place the mel bands; `fitted_to` takes them from the audio.
        floor_db: decibels below this are raised to it.
        cut_dc: whether the bin at 0 Hz of a `complex` representation is taken for noise, and kept
            from the network: offsets and rumble, below every voice.
    """

    representation: str = "magnitude_db"
    target: str = "noise_db"
    input_offset_db: float = -15.0
    input_scale_db: float = 45.0
    noise_offset_db: float = 6.0
    noise_scale_db: float = 82.0
    exponent: float = 1.0
    n_mels: int = 0
    sample_rate: int = 0
    floor_db: float = dsp.FLOOR_DB
    cut_dc: bool = False

    def __post_init__(self) -> None:
        if self.representation not in TARGETS:
            raise UsageError(
                f"`representation` must be one of {', '.join(TARGETS)}. "
                f"Received: {self.representation}"
            )
        if self.target not in TARGETS[self.representation]:
            raise UsageError(
                f"`target` of the representation `{self.representation}` must be one of "
                f"{', '.join(TARGETS[self.representation])}. Received: {self.target}"
            )
        if self.exponent <= 0:
            raise UsageError(f"`exponent` must be above 0. Received: {self.exponent}")
        if self.exponent != 1.0 and self.representation != "magnitude":
            raise UsageError(
                "`exponent` must be 1 unless the representation is magnitude. "
                f"Received: {self.exponent}"
            )
        if self.n_mels < 0 or (self.n_mels and self.representation not in MAGNITUDES):
            raise UsageError(
                f"`n_mels` must be above 0, and 0 unless the representation is one of "
                f"{', '.join(MAGNITUDES)}. Received: {self.n_mels}"
            )

    def fitted_to(self, audio: AudioConfig) -> Features:
        """The same features with what they need to know of the audio.

        Raises:
            UsageError: there are more mel bands than bins.
        """
        if not self.n_mels:
            return self
        if self.n_mels > audio.n_bins:
            raise UsageError(
                f"`n_mels` must be at most the {audio.n_bins} bins of `n_fft` {audio.n_fft}. "
                f"Received: {self.n_mels}"
            )
        return dataclasses.replace(self, sample_rate=audio.sample_rate)

    def input_shape(self, audio: AudioConfig) -> tuple[int, ...]:
        """Shape of the network input of one training window."""
        if self.representation == "waveform":
            return (audio.frame_length, 1)
        if self.representation == "complex":
            return (audio.n_frames, audio.n_bins, 2)
        return (self.n_mels or audio.n_bins, audio.n_frames, 1)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        return dataclasses.asdict(self)

    def pair(
        self, noisy: np.ndarray, clean: np.ndarray, config: AudioConfig
    ) -> tuple[np.ndarray, np.ndarray]:
        """Network input and target of stored windows.

        Args:
            noisy: (batch, samples) for the `waveform` and `complex` representations, else
                magnitudes in dB (batch, bins, frames).
            clean: the same of the voice alone.
            config: the geometry of the windows.
        """
        if self.representation == "waveform":
            return noisy[..., np.newaxis], clean[..., np.newaxis]
        if self.representation == "complex":
            noisy, clean = dsp.stft(noisy, config), dsp.stft(clean, config)
            return self.encode(noisy), self.target_of(noisy, clean)
        return self.encode_db(noisy), self.target_of_db(noisy, clean)

    def pair_of_waveforms(
        self, noisy: np.ndarray, clean: np.ndarray, config: AudioConfig
    ) -> tuple[np.ndarray, np.ndarray]:
        """Network input and target of waveforms (batch, samples), for any representation."""
        if self.representation == "waveform":
            return self.pair(noisy, clean, config)
        spectra = dsp.stft(noisy, config), dsp.stft(clean, config)
        return self.encode(spectra[0]), self.target_of(*spectra)

    def encode(self, spectrogram: np.ndarray) -> np.ndarray:
        """Network input of complex noisy spectrograms (batch, bins, frames)."""
        if self.representation == "complex":
            return complex_to_channels(spectrogram)
        return self.encode_db(dsp.spectrogram_to_db(spectrogram, self.floor_db))

    def network_input(self, spectrogram: np.ndarray, config: AudioConfig) -> np.ndarray:
        """`encode` for denoising: an offset of the sound is kept from the network if `cut_dc`."""
        if self.cut_dc:
            spectrogram = dsp.without_offset(spectrogram, config)
        return self.encode(spectrogram)

    def encode_db(self, noisy_db: np.ndarray) -> np.ndarray:
        """Network input of noisy magnitudes in dB (batch, bins, frames)."""
        return self._scale_magnitude(self._merge_bins(noisy_db))[..., np.newaxis]

    def target_of(self, noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
        """Network target of complex spectrogram pairs (batch, bins, frames)."""
        if self.representation == "complex":
            return complex_to_channels(clean)
        return self.target_of_db(
            dsp.spectrogram_to_db(noisy, self.floor_db),
            dsp.spectrogram_to_db(clean, self.floor_db),
        )

    def target_of_db(self, noisy_db: np.ndarray, clean_db: np.ndarray) -> np.ndarray:
        """Network target of magnitude pairs in dB (batch, bins, frames)."""
        noisy_db, clean_db = self._merge_bins(noisy_db), self._merge_bins(clean_db)
        if self.target == "noise_mask":
            noisy = dsp.db_to_amplitude(noisy_db)
            noise = noisy - dsp.db_to_amplitude(clean_db)
            return np.stack([noisy, np.maximum(noise, 0.0)], axis=-1)
        if self.target == "noise_db":
            target = (noisy_db - clean_db - self.noise_offset_db) / self.noise_scale_db
        elif self.target == "mask":
            target = np.minimum(dsp.db_to_amplitude(clean_db - noisy_db), 1.0)
        else:
            target = self._scale_magnitude(clean_db)
        return target.astype(np.float32)[..., np.newaxis]

    def estimate(
        self, spectrogram: np.ndarray, output: np.ndarray, max_gain: float = np.inf
    ) -> np.ndarray:
        """Clean spectrogram (batch, bins, frames) that a network output stands for.

        Args:
            spectrogram: the noisy one.
            output: of the network.
            max_gain: a magnitude is multiplied by no more than this.
        """
        if self.representation == "complex":
            clean = channels_to_complex(output)
            if self.cut_dc:
                clean[..., :1, :] = 0.0
            return clean
        gain = np.minimum(self._gain(spectrogram, output[..., 0]), np.float32(max_gain))
        return spectrogram * self._split_bands(gain, spectrogram.shape[-2])

    def _gain(self, spectrogram: np.ndarray, output: np.ndarray) -> np.ndarray:
        """Factor of each bin or band (batch, bins, frames) that a network output stands for."""
        if self.target == "noise_db":
            noise_db = output * np.float32(self.noise_scale_db) + np.float32(self.noise_offset_db)
            return dsp.db_to_amplitude(-noise_db)
        if self.target == "mask":
            return output
        if self.target == "noise_mask":
            return np.float32(1.0) - output
        magnitude = np.abs(spectrogram)
        if self.n_mels:
            magnitude = np.sqrt(self._bands(spectrogram.shape[-2]) @ np.square(magnitude))
        return self._unscale_magnitude(output) / np.maximum(magnitude, dsp.TINY)

    def denoise(self, waveform: np.ndarray, network: Network, config: AudioConfig) -> np.ndarray:
        """Clean waveforms (batch, samples) that a network estimates from noisy ones."""
        _, estimate = self.spectra(waveform, network, config)
        return dsp.istft(estimate, config, waveform.shape[-1])

    def spectra(
        self, waveform: np.ndarray, network: Network, config: AudioConfig
    ) -> tuple[np.ndarray, np.ndarray]:
        """Noisy spectrograms (batch, bins, frames) and a network's estimates of the clean ones.

        Noise can make a voice quieter by interference, but without its phase no network can tell
        where: a magnitude is only ever lowered.
        """
        spectrogram = dsp.stft(waveform, config)
        if self.representation == "waveform":
            clean = network(waveform[..., np.newaxis])[..., 0]
            return spectrogram, dsp.stft(clean, config)
        output = network(self.network_input(spectrogram, config))
        return spectrogram, self.estimate(spectrogram, output, max_gain=1.0)

    def _bands(self, n_bins: int) -> np.ndarray:
        """Weights (bands, bins) of the bins in each mel band."""
        return mel.bands(self.n_mels, n_bins, self.sample_rate)

    def _merge_bins(self, decibels: np.ndarray) -> np.ndarray:
        """Magnitudes in dB of the mel bands, by power, or of the bins as they are."""
        if not self.n_mels:
            return decibels
        power = np.square(dsp.db_to_amplitude(decibels))
        power = self._bands(decibels.shape[-2]) @ power
        return np.float32(10.0) * np.log10(power)

    def _split_bands(self, gain: np.ndarray, n_bins: int) -> np.ndarray:
        """Gains of the bins between those of the mel bands, or of the bins as they are."""
        if not self.n_mels:
            return gain
        return mel.interpolation(self.n_mels, n_bins, self.sample_rate) @ gain

    def _scale_magnitude(self, decibels: np.ndarray) -> np.ndarray:
        """A magnitude in dB in the network's own scale."""
        if self.representation == "magnitude_db":
            return (decibels - np.float32(self.input_offset_db)) / np.float32(self.input_scale_db)
        return dsp.db_to_amplitude(decibels * np.float32(self.exponent))

    def _unscale_magnitude(self, scaled: np.ndarray) -> np.ndarray:
        """The linear magnitude of `_scale_magnitude`'s result."""
        if self.representation == "magnitude_db":
            return dsp.db_to_amplitude(
                scaled * np.float32(self.input_scale_db) + np.float32(self.input_offset_db)
            )
        return np.maximum(scaled, 0.0) ** np.float32(1.0 / self.exponent)


def complex_to_channels(spectrogram: np.ndarray) -> np.ndarray:
    """Complex (batch, bins, frames) as float32 (batch, frames, bins, 2)."""
    turned = np.ascontiguousarray(np.swapaxes(spectrogram, -1, -2), np.complex64)
    return turned.view(np.float32).reshape(*turned.shape, 2)


def channels_to_complex(channels: np.ndarray) -> np.ndarray:
    """The inverse of `complex_to_channels`."""
    return np.swapaxes(channels[..., 0] + 1j * channels[..., 1], -1, -2)
