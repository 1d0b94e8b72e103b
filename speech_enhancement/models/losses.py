"""Losses by name, in `keras.ops` so that every backend trains with them.

Each takes (target, output) of the shapes that `features` describes and returns one value per
sample of the batch or per element, which Keras averages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import ops

from speech_enhancement.models import pesq_disturbance, spectral_ops

# Clean waveforms are brought to this RMS before their spectra are compared; those quieter than the
# second one are amplified no further, or what is left of noise in a window without voice would
# outweigh all windows with one.
REFERENCE_LEVEL = 0.1
QUIETEST_LEVEL = 0.03
SILENT_ENERGY = 1e-2

# Linear beyond one, quadratic within (Huber 1964), a compromise between L2 and L1.
Huber = keras.losses.Huber
# log(cosh(x)): about x^2 / 2 near zero and |x| - log 2 far away, twice differentiable.
LogCosh = keras.losses.LogCosh
MeanSquaredError = keras.losses.MeanSquaredError
MeanAbsoluteError = keras.losses.MeanAbsoluteError


@keras.saving.register_keras_serializable("speech_enhancement")
class CompressedSpectrum(keras.losses.Loss):
    """Compressed magnitude, compressed complex spectrum and SI-SNR of the resynthesised waveform.

    L = magnitude * mean (|S|^c - |E|^c)^2 + complex * 1/2 mean |S |S|^(c-1) - E |E|^(c-1)|^2
        + magnitude * over_attenuation * mean max(|S|^c - |E|^c, 0)^2
        + si_snr * (-SI-SNR in dB), with S the clean and E the estimated STFT, c = 0.3. Compression
    weighs soft and loud parts as the ear does; the STFT is that of the overlap-added estimate. Both
    waveforms are brought to the level of the clean one first. S. Braun, I. Tashev, "Data
    augmentation and loss normalization for deep noise suppression", 2020; Y. Luo, N. Mesgarani,
    "TasNet", ICASSP 2018, for SI-SNR. Missing voice is more annoying than remaining noise, so that
    it can be given more weight: "DPDFNet", arXiv 2512.16420, 2025.

    Args:
        magnitude, complex, si_snr: weights of the three terms.
        over_attenuation: how much more the magnitude counts where it is below that of the voice.
        hop_length: hop of the spectra; half a window by default.
    """

    def __init__(
        self,
        magnitude: float = 70.0,
        complex: float = 30.0,
        si_snr: float = 0.1,
        over_attenuation: float = 0.0,
        hop_length: int | None = None,
        name: str = "compressed_spectrum",
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.magnitude = magnitude
        self.complex = complex
        self.si_snr = si_snr
        self.over_attenuation = over_attenuation
        self.hop_length = hop_length

    def call(self, y_true, y_pred):
        """Complex channels (batch, frames, bins, 2), twice -> (batch,)."""
        n_fft = 2 * (y_pred.shape[2] - 1)
        hop = self.hop_length or n_fft // 2
        clean, estimate = spectral_ops.istft(y_true, hop), spectral_ops.istft(y_pred, hop)
        level = ops.sqrt(ops.mean(ops.square(clean), axis=-1, keepdims=True))
        gain = REFERENCE_LEVEL / ops.maximum(level, QUIETEST_LEVEL)
        return self.compare(clean * gain, estimate * gain, n_fft, hop)

    def compare(self, clean, estimate, n_fft: int, hop: int):
        """Levelled waveforms (batch, samples), twice, with their edges -> (batch,)."""
        inner = slice(n_fft - hop, -(n_fft - hop))
        spectra = [compress(spectral_ops.stft(w, n_fft, hop)) for w in (clean, estimate)]
        missing = spectra[0][0] - spectra[1][0]
        magnitude = _mean_square(missing)
        if self.over_attenuation:
            magnitude = magnitude + self.over_attenuation * _mean_square(ops.relu(missing))
        return (
            self.magnitude * magnitude
            + self.complex * _mean_square(spectra[0][1] - spectra[1][1])
            - self.si_snr * si_snr_db(clean[:, inner], estimate[:, inner])
        )

    def get_config(self) -> dict:
        """See `keras.losses.Loss.get_config`."""
        return {
            **super().get_config(),
            "magnitude": self.magnitude,
            "complex": self.complex,
            "si_snr": self.si_snr,
            "over_attenuation": self.over_attenuation,
            "hop_length": self.hop_length,
        }


@keras.saving.register_keras_serializable("speech_enhancement")
class CompressedSpectrumPESQ(CompressedSpectrum):
    """`CompressedSpectrum` and the perceptual difference of PESQ; at 16 kHz only.

    L = L_compressed + pesq * (0.1 d + 0.0309 d_asymmetric), see `pesq_disturbance`; windows
    without voice have no such term. The other terms keep phase and level, which PESQ forgives.

    Args:
        pesq: weight of the disturbance.
        si_snr, fields: see `CompressedSpectrum`.
    """

    def __init__(
        self,
        pesq: float = 1.5,
        si_snr: float = 0.2,
        name: str = "compressed_spectrum_pesq",
        **fields,
    ) -> None:
        super().__init__(si_snr=si_snr, name=name, **fields)
        self.pesq = pesq

    def compare(self, clean, estimate, n_fft: int, hop: int):
        """See `CompressedSpectrum.compare`."""
        inner = slice(n_fft - hop, -(n_fft - hop))
        voiced = ops.sum(ops.square(clean[:, inner]), axis=-1) > SILENT_ENERGY
        distance = pesq_disturbance.distance(clean[:, inner], estimate[:, inner])
        disturbance = ops.where(voiced, distance, ops.zeros_like(distance))
        return super().compare(clean, estimate, n_fft, hop) + self.pesq * disturbance

    def get_config(self) -> dict:
        """See `keras.losses.Loss.get_config`."""
        return {**super().get_config(), "pesq": self.pesq}


def compress(spectrum, exponent: float = spectral_ops.COMPRESSION):
    """Magnitude (.., 1) to a power, and the spectrum with that magnitude and its own phase."""
    power = ops.sum(ops.square(spectrum), axis=-1, keepdims=True) + 1e-10
    return ops.power(power, 0.5 * exponent), spectrum * ops.power(power, 0.5 * (exponent - 1.0))


def si_snr_db(clean, estimate):
    """Scale-invariant signal-to-noise ratio, dB, (batch,); 0 where the target is silent."""
    energy = ops.sum(ops.square(clean), axis=-1, keepdims=True)
    scale = ops.sum(clean * estimate, axis=-1, keepdims=True) / (energy + 1e-8)
    target = ops.sum(ops.square(scale * clean), axis=-1)
    rest = ops.sum(ops.square(estimate - scale * clean), axis=-1)
    ratio = 10.0 / math.log(10.0) * (ops.log(target + 1e-8) - ops.log(rest + 1e-8))
    return ops.where(energy[:, 0] > SILENT_ENERGY, ratio, ops.zeros_like(ratio))


def _mean_square(difference):
    """Mean over all but the batch axis."""
    return ops.mean(ops.square(difference), axis=(1, 2, 3))


@keras.saving.register_keras_serializable("speech_enhancement")
class MaskLoss(keras.losses.Loss):
    """Error of the noise that a mask takes out of linear magnitudes.

    L = 1/2 (f(S) * S - N)^2, averaged over bins and frames, with the noisy magnitude S, what noise
    adds to the clean one N = max(S - C, 0), and the network's mask f(S) in 0..1. A bin counts by
    its energy, so the mask is free where there is no sound. 360 Quality & Efficiency,
    "Model-Based Audio Denoising Using Deep Learning for Device Quality Evaluation".
    """

    def __init__(self, name: str = "mask", **kwargs) -> None:
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        """[S, N] (batch, bins, frames, 2) and mask (batch, bins, frames, 1) -> mask's shape."""
        noisy, noise = y_true[..., :1], y_true[..., 1:]
        return 0.5 * ops.square(y_pred * noisy - noise)


@keras.saving.register_keras_serializable("speech_enhancement")
class MultiResolutionSTFT(keras.losses.Loss):
    """Mean absolute error of the waveform, and of its spectra at several resolutions.

    L = mean |s - e| + mean over resolutions of (|| |S| - |E| || / || |S| || + mean |log |S|/|E||):
    spectral convergence weighs what is loud, log magnitudes what is soft, and the waveform settles
    the phase that spectra leave open. Voices below -30 dBFS, and silence, count as if they had that
    level, or what is left of noise in silence would outweigh all else. R. Yamamoto, E. Song,
    J.-M. Kim, "Parallel WaveGAN", ICASSP 2020; with the waveform term, A. Defossez, G. Synnaeve,
    Y. Adi, Interspeech 2020.

    Args:
        n_ffts: STFT windows, samples, each a multiple of 4; hops are a quarter of them.
        waveform: weight of the waveform term.

    Attributes:
        shortest_window: samples that training windows need at least.
    """

    def __init__(
        self,
        n_ffts: Sequence[int] = (512, 1024, 2048),
        waveform: float = 1.0,
        name: str = "multi_res_stft",
        **kwargs,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.n_ffts = list(n_ffts)
        self.shortest_window = max(self.n_ffts)
        self.waveform = waveform

    def call(self, y_true, y_pred):
        """Waveforms (batch, samples, 1), twice -> (batch,)."""
        clean, estimate = y_true[..., 0], y_pred[..., 0]
        spectral = sum(spectral_distance(clean, estimate, n_fft) for n_fft in self.n_ffts)
        difference = ops.mean(ops.abs(clean - estimate), axis=-1)
        return self.waveform * difference + spectral / len(self.n_ffts)

    def get_config(self) -> dict:
        """See `keras.losses.Loss.get_config`."""
        return {**super().get_config(), "n_ffts": self.n_ffts, "waveform": self.waveform}


@keras.saving.register_keras_serializable("speech_enhancement")
class NegativeSISDR(keras.losses.Loss):
    """Negative scale-invariant signal-to-distortion ratio, dB.

    L = -10 log10(||a s||^2 / ||e - a s||^2) + level * |1 - a|, a = <e, s> / ||s||^2: the energy of
    what is voice in the estimate against the rest of it. The ratio is the same for any gain and
    sign of the estimate; the second term keeps those of the voice. J. Le Roux, S. Wisdom,
    H. Erdogan, J. Hershey, "SDR - half-baked or well done?", ICASSP 2019.

    Args:
        level: weight of the gain.
    """

    def __init__(self, level: float = 1.0, name: str = "si_sdr", **kwargs) -> None:
        super().__init__(name=name, **kwargs)
        self.level = level

    def call(self, y_true, y_pred):
        """Waveforms (batch, samples, 1), twice -> (batch,)."""
        clean, estimate = y_true[..., 0], y_pred[..., 0]
        energy = ops.sum(ops.square(clean), axis=-1)
        gain = ops.sum(clean * estimate, axis=-1) / ops.maximum(energy, SILENT_ENERGY)
        return self.level * ops.abs(1.0 - gain) - si_snr_db(clean, estimate)

    def get_config(self) -> dict:
        """See `keras.losses.Loss.get_config`."""
        return {**super().get_config(), "level": self.level}


@keras.saving.register_keras_serializable("speech_enhancement")
class SignalToNoiseRatio(keras.metrics.MeanMetricWrapper):
    """Metric: energy of the target against that of the output's error, dB, mean over windows.

    Windows whose target is silent, such as those without a voice, have no such ratio and do not
    count.
    """

    def __init__(self, name: str = "snr", dtype=None) -> None:
        super().__init__(fn=snr_db, name=name, dtype=dtype)
        self._direction = "up"

    def update_state(self, y_true, y_pred, sample_weight=None):
        """See `keras.metrics.Metric.update_state`."""
        silent = _energy(ops.convert_to_tensor(y_true)) <= SILENT_ENERGY
        weight = 1.0 - ops.cast(silent, self.dtype)  # what is no number counts, and is seen
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, self.dtype)
        return super().update_state(y_true, y_pred, sample_weight=weight)

    def get_config(self) -> dict:
        """See `keras.metrics.Metric.get_config`."""
        return {"name": self.name, "dtype": self.dtype}


def spectral_distance(clean, estimate, n_fft: int):
    """Spectral convergence and log magnitude distance of waveforms (batch, samples) -> (batch,)."""
    hop = n_fft // 4
    length = ops.shape(clean)[-1] // hop * hop
    magnitudes = [
        ops.sqrt(ops.sum(ops.square(spectral_ops.stft(w[:, :length], n_fft, hop)), axis=-1) + 1e-7)
        for w in (clean, estimate)
    ]
    # A root has no gradient at 0, where silence meets silence.
    error = ops.sqrt(ops.sum(ops.square(magnitudes[0] - magnitudes[1]), axis=(1, 2)) + 1e-12)
    _, n_frames, n_bins = ops.shape(magnitudes[0])  # tensors where a graph leaves them open
    bins = ops.cast(n_frames * n_bins, "float32")
    quietest = QUIETEST_LEVEL * ops.sqrt(0.5 * n_fft * bins)
    convergence = error / ops.maximum(ops.norm(magnitudes[0], axis=(1, 2)), quietest)
    return convergence + ops.mean(
        ops.abs(ops.log(magnitudes[0]) - ops.log(magnitudes[1])), axis=(1, 2)
    )


def snr_db(y_true, y_pred):
    """Signal-to-noise ratio of an output against its target, dB, (batch,)."""
    error = _energy(ops.subtract(y_true, y_pred))
    return 10.0 / math.log(10.0) * (ops.log(_energy(y_true) + 1e-8) - ops.log(error + 1e-8))


def _energy(windows):
    """Energy of windows (batch, ...) -> (batch,)."""
    return ops.sum(ops.square(windows), axis=tuple(range(1, len(windows.shape))))
