"""Signal functions in `jax.numpy` for one waveform, which `jax.vmap` makes ones of a batch.

Each does what its namesake in `signal.dsp` or `mixing.augment` does; tests compare them.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from speech_enhancement.config import AudioConfig
from speech_enhancement.mixing import augment
from speech_enhancement.signal import dsp, mel
from speech_enhancement.signal.features import Features

Array = Any  # a `jax.Array`

RESAMPLING_TAPS = 24
RESAMPLING_PHASES = 128
LEVEL_SEARCHES = 20
MOST_DRAWS = 192  # more than a mixture takes
HIGHEST = jax.lax.Precision.HIGHEST


class Draws:
    """Random numbers from one key; the same ones for the same key and the same calls.

    They are drawn all at once: a program with a generator for each would take minutes to compile.
    """

    def __init__(self, key: Array) -> None:
        self._key, first = jax.random.split(key)
        self._numbers = jax.random.uniform(first, (MOST_DRAWS,))
        self._count = 0

    def uniform(self, low: Any = 0.0, high: Any = 1.0) -> Array:
        """A number between two."""
        return low + (high - low) * self.uniforms(1)[0]

    def uniforms(self, count: int) -> Array:
        """Numbers between 0 and 1, (count,)."""
        self._count += count
        if self._count > MOST_DRAWS:
            raise IndexError(f"A mixture draws at most {MOST_DRAWS} numbers")
        return self._numbers[self._count - count : self._count]

    def normal(self, n_samples: int) -> Array:
        """White noise; the same one whenever it is asked for."""
        return jax.random.normal(self._key, (n_samples,))

    def octaves(self, low: float, high: float) -> Array:
        """A number between two, uniform in its logarithm."""
        return low * (high / low) ** self.uniform()

    def chance(self, probability: float) -> Array:
        """Draw whether something of a probability happens."""
        return self.uniform() < probability

    def sign(self) -> Array:
        """Draw 1 or -1, each with the same probability."""
        return jnp.where(self.chance(0.5), 1.0, -1.0)


class Transform:
    """The Fourier transform of waveforms, and back, for filters.

    On accelerators that is XLA's own. On CPUs it is two products with small DFT matrices (the
    four-step method): XLA's FFT can wait for ever for threads there inside of a large program.
    D. Bailey, "FFTs in external or hierarchical memory", Journal of Supercomputing 4, 1990.

    Args:
        n_samples: samples that are used of a result, and silence behind them for what rings.
        rate: Hz.
        by_products: whether to use products.
    """

    def __init__(self, n_samples: int, rate: int, by_products: bool) -> None:
        self.rows = 2 ** math.ceil(math.log2(n_samples) / 2)
        self.columns = 2 * scipy.fft.next_fast_len(math.ceil(n_samples / self.rows / 2))
        self.n_fft = self.rows * self.columns
        self.by_products = by_products
        self.frequency = np.fft.rfftfreq(self.n_fft, 1.0 / rate).astype(np.float32)
        if by_products:
            half = np.arange(self.columns // 2 + 1)
            self._outer = _roots(np.arange(self.rows), np.arange(self.rows), self.rows)
            self._twist = _roots(np.arange(self.rows), np.arange(self.columns), self.n_fft)
            self._inner = _roots(np.arange(self.columns), half, self.columns)

    def forward(self, waveform: Array) -> Array:
        """Spectrum (n_fft / 2 + 1,) of a waveform that is filled up with zeros."""
        padded = jnp.pad(waveform, (0, self.n_fft - waveform.shape[0]))
        if not self.by_products:
            return jnp.fft.rfft(padded)
        grid = padded.reshape(self.rows, self.columns)
        twisted = _product(self._outer, grid) * self._twist
        spectrum = _product(twisted, self._inner)  # (rows, columns / 2 + 1)
        return spectrum.T.reshape(-1)[: self.n_fft // 2 + 1]

    def inverse(self, spectrum: Array, n_samples: int) -> Array:
        """The first samples of the waveform of a spectrum."""
        if not self.by_products:
            return jnp.fft.irfft(spectrum, self.n_fft)[:n_samples]
        weights = jnp.full(len(spectrum), 2.0).at[jnp.array([0, -1])].set(1.0)
        padding = self.rows * self._inner.shape[1] - len(spectrum)
        grid = jnp.pad(spectrum * weights, (0, padding)).reshape(-1, self.rows).T
        twisted = _product(grid, self._inner.conj().T) * self._twist.conj()
        outer = self._outer.conj()
        waves = [
            jnp.matmul(a, b, precision=HIGHEST)
            for a, b in ((outer.real, twisted.real), (outer.imag, twisted.imag))
        ]
        return (waves[0] - waves[1]).reshape(-1)[:n_samples] / self.n_fft


def _roots(first: np.ndarray, second: np.ndarray, n: int) -> np.ndarray:
    """Roots of unity exp(-2 pi i jk / n), complex64."""
    turns = np.outer(first, second) % n / n
    return np.exp(-2j * np.pi * turns).astype(np.complex64)


def _product(left: Any, right: Any) -> Array:
    """A product of matrices, of which both may be complex, as products of real ones."""
    real = functools.partial(jnp.matmul, precision=HIGHEST)
    if not jnp.iscomplexobj(right):
        return real(left.real, right) + 1j * real(left.imag, right)
    return (real(left.real, right.real) - real(left.imag, right.imag)) + 1j * (
        real(left.real, right.imag) + real(left.imag, right.real)
    )


def active_rms(waveform: Array, rate: int) -> Array:
    """See `dsp.active_rms`; above zero."""
    frame = dsp.activity_frame(rate)
    padding = -waveform.shape[0] % frame
    power = jnp.mean(jnp.square(jnp.pad(waveform, (0, padding)).reshape(-1, frame)), axis=1)
    active = power >= power.max() * 10.0 ** (-dsp.ACTIVE_RANGE_DB / 10.0)
    mean = jnp.sum(power * active) / jnp.sum(active)
    return jnp.maximum(jnp.sqrt(mean), dsp.TINY)


def amplitude(decibels: Any) -> Array:
    """The factor of the amplitude that decibels stand for."""
    return 10.0 ** (decibels / 20.0)


def played(waveform: Array, factor: Array, n_samples: int) -> Array:
    """The beginning of a waveform at `factor` times its speed, by windowed sines.

    What the new rate cannot carry is left out.
    """
    half = RESAMPLING_TAPS // 2
    phase = np.arange(RESAMPLING_PHASES)[:, np.newaxis] / RESAMPLING_PHASES
    distance = np.arange(1 - half, half + 1) - phase  # (phases, taps)
    cutoff = jnp.minimum(1.0, 1.0 / factor)
    taps = cutoff * jnp.sinc(cutoff * distance) * np.cos(0.5 * np.pi * distance / half) ** 2
    place = jnp.arange(n_samples) * factor + (half - 1)
    whole = jnp.floor(place).astype(jnp.int32)
    phases = ((place - whole) * RESAMPLING_PHASES).astype(jnp.int32)
    total = jnp.zeros(n_samples)
    for k in range(RESAMPLING_TAPS):
        total += taps[phases, k] * waveform[whole + (k + 1 - half)]
    return total


def ramp(time: Array, begin: Any, width: float) -> Array:
    """From 0 before `begin` to 1 after `begin + width`."""
    return jnp.clip((time - begin) / width, 0.0, 1.0)


def shelf(omega: np.ndarray, corner: Array, gain_db: Array, high: bool) -> tuple[Array, Array]:
    """Numerator and denominator of a shelf at angular frequencies; see `augment.equalise`."""
    gain = 10.0 ** (gain_db / 40.0)
    slope = jnp.sqrt(2.0 * gain) * jnp.sin(corner)
    cosine = -jnp.cos(corner) if high else jnp.cos(corner)
    sign = -1.0 if high else 1.0
    plus, minus = gain + 1.0, gain - 1.0
    numerator = _response(
        omega,
        gain * (plus - minus * cosine + slope),
        sign * 2.0 * gain * (minus - plus * cosine),
        gain * (plus - minus * cosine - slope),
    )
    denominator = _response(
        omega,
        plus + minus * cosine + slope,
        sign * -2.0 * (minus + plus * cosine),
        plus + minus * cosine - slope,
    )
    return numerator, denominator


def peak(omega: np.ndarray, centre: Array, gain_db: Array, quality: Array) -> tuple[Array, Array]:
    """Numerator and denominator of a peaking filter, likewise."""
    gain = 10.0 ** (gain_db / 40.0)
    width, middle = jnp.sin(centre) / (2.0 * quality), -2.0 * jnp.cos(centre)
    return (
        _response(omega, 1.0 + width * gain, middle, 1.0 - width * gain),
        _response(omega, 1.0 + width / gain, middle, 1.0 - width / gain),
    )


def _response(omega: np.ndarray, b0: Array, b1: Array, b2: Array) -> Array:
    """b0 + b1 z^-1 + b2 z^-2 at angular frequencies."""
    z = np.exp(-1j * omega).astype(np.complex64)
    return b0 + b1 * z + b2 * z**2


def equaliser(frequency: np.ndarray, rate: int, draws: Draws, gain_db: Any) -> Array:
    """The complex response of a random tone colour; see `augment.equalise`."""
    omega = (2.0 * np.pi * frequency / rate).astype(np.float32)
    angle = 2.0 * np.pi / rate
    low, high = draws.octaves(80.0, 400.0), draws.octaves(0.15 * rate, 0.4 * rate)
    sections = [
        shelf(omega, angle * low, draws.uniform(*gain_db), high=False),
        shelf(omega, angle * high, draws.uniform(*gain_db), high=True),
        peak(
            omega,
            angle * draws.octaves(100.0, 0.4 * rate),
            draws.uniform(*gain_db) * draws.chance(0.5),
            draws.uniform(0.5, 2.0),
        ),
    ]
    return math.prod(numerator / denominator for numerator, denominator in sections)


def high_cut(frequency: np.ndarray, edge_hz: Array, order: Array) -> Array:
    """See `augment.high_cut`."""
    octaves = jnp.log(np.maximum(frequency, 1.0) / edge_hz)
    return 1.0 / (1.0 + jnp.exp(jnp.clip(order * octaves, -60.0, 60.0)))


def low_pass(frequency: np.ndarray, rate: int, cutoff_hz: Array) -> Array:
    """The gain of `augment.low_pass`: that of a Butterworth filter of order 4, twice."""
    angle = np.pi / rate
    ratio = np.tan(angle * np.minimum(frequency, 0.499 * rate)) / jnp.tan(angle * cutoff_hz)
    return 1.0 / (1.0 + ratio**8)


def clipped(waveform: Array, fraction: Array) -> Array:
    """See `augment.clip`; the ceiling is found by halving an interval instead of by sorting."""
    magnitude = jnp.abs(waveform)
    wanted = jnp.round((1.0 - fraction) * waveform.shape[0])

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = 0.5 * (bounds[0] + bounds[1])
        enough = jnp.sum(magnitude <= middle) >= wanted
        return jnp.where(enough, bounds[0], middle), jnp.where(enough, middle, bounds[1])

    start = (jnp.zeros_like(magnitude[0]), magnitude.max())
    _, ceiling = jax.lax.fori_loop(0, LEVEL_SEARCHES, halve, start)
    return jnp.clip(waveform, -ceiling, ceiling)


def whispered(waveform: Array, rate: int, draws: Draws) -> Array:
    """See `augment.whisper`."""
    n_fft = 2 ** round(np.log2(augment.WHISPER_WINDOW_S * rate))
    audio = AudioConfig(rate, n_fft, n_fft // 4, len(waveform))
    noise = draws.normal(len(waveform))
    spectra = stft(jnp.stack([waveform, noise]), audio)  # (2, bins, frames)
    bins = np.arange(audio.n_bins)
    frequency = (bins * rate / n_fft)[:, np.newaxis].astype(np.float32)
    width = jnp.round(draws.uniform(*augment.WHISPER_SMOOTHING_HZ) * n_fft / rate)
    near = jnp.abs(bins[:, np.newaxis] - bins) <= 0.5 * width
    power = jnp.square(spectra[0].real) + jnp.square(spectra[0].imag)
    power = jnp.matmul(near / near.sum(axis=1, keepdims=True), power, precision=HIGHEST)
    beside = jnp.pad(power, ((0, 0), (1, 1)), mode="edge")
    envelope = (beside[:, :-2] + power + beside[:, 2:]) / 3.0
    ratio = jnp.square(frequency / draws.uniform(*augment.WHISPER_CORNER_HZ))
    tilt = ratio / (1.0 + ratio)
    tilt *= (1.0 + np.square(frequency / 3000.0)) ** draws.uniform(0.0, 0.35)
    result = istft(jnp.sqrt(envelope) * tilt * spectra[1], audio, len(waveform))
    span = max(1, round(augment.WHISPER_LOUDNESS_S * rate))
    sums = jnp.pad(jnp.cumsum(jnp.pad(jnp.square(result), span // 2 + 1)), (0, span))
    loudness = (sums[span : span + len(result)] - sums[: len(result)]) / span
    loudness = jnp.maximum(loudness, 1e-4 * loudness.max()) + dsp.TINY
    even = result * loudness ** (-0.5 * draws.uniform(*augment.WHISPER_EVENNESS))
    return even * (active_rms(waveform, rate) / active_rms(even, rate))


def istft(spectrum: Array, audio: AudioConfig, n_samples: int) -> Array:
    """See `dsp.istft`, of one waveform."""
    window = dsp.stft_window(audio.window, audio.n_fft)
    weights = np.full(audio.n_bins, 2.0)
    weights[0] = 1.0
    weights[-1] = 1.0 if audio.n_fft % 2 == 0 else 2.0
    matrix = _roots(np.arange(audio.n_fft), np.arange(audio.n_bins), audio.n_fft).conj()
    matrix = matrix * (weights * window[:, np.newaxis] / audio.n_fft).astype(np.float32)
    product = functools.partial(jnp.matmul, precision=HIGHEST)
    frames = product(matrix.real, spectrum.real) - product(matrix.imag, spectrum.imag)
    places = np.arange(audio.n_fft)[:, np.newaxis] + np.arange(frames.shape[1]) * (
        audio.hop_length_fft
    )
    length = places.max() + 1
    weight = np.zeros(length, np.float32)
    np.add.at(weight, places, np.square(window)[:, np.newaxis])
    total = jnp.zeros(length).at[places].add(frames) / np.maximum(weight, dsp.TINY)
    begin = audio.n_fft // 2
    return total[begin : begin + n_samples]


def stft(waveforms: Array, audio: AudioConfig) -> Array:
    """See `dsp.stft`, as a product with the DFT matrix: complex (batch, bins, frames)."""
    n_fft, hop = audio.n_fft, audio.hop_length_fft
    n_samples = waveforms.shape[-1]
    n_frames, before = audio.frames_of(n_samples), n_fft // 2
    after = max(0, (n_frames - 1) * hop + n_fft - before - n_samples)
    padded = jnp.pad(waveforms, ((0, 0), (before, after)))
    places = np.arange(n_frames)[:, np.newaxis] * hop + np.arange(n_fft)
    matrix = _roots(np.arange(n_fft), np.arange(audio.n_bins), n_fft)
    matrix = matrix * dsp.stft_window(audio.window, n_fft)[:, np.newaxis]
    frames = padded[:, places]
    return _product(matrix.T, jnp.swapaxes(frames, -1, -2))


def pair_of_waveforms(
    features: Features, noisy: Array, clean: Array, audio: AudioConfig
) -> tuple[Array, Array]:
    """See `Features.pair_of_waveforms`: network input and target of waveforms (batch, samples)."""
    if features.representation == "waveform":
        return noisy[..., np.newaxis], clean[..., np.newaxis]
    spectra = stft(noisy, audio), stft(clean, audio)
    if features.representation == "complex":
        turned = [jnp.swapaxes(spectrum, -1, -2) for spectrum in spectra]
        noisy, clean = (jnp.stack([t.real, t.imag], axis=-1) for t in turned)
        return noisy, clean
    powers = [_power(spectrum, features) for spectrum in spectra]
    return _scaled(features, powers[0])[..., np.newaxis], _target(features, *powers)


def _power(spectrum: Array, features: Features) -> Array:
    """Powers of bins or of mel bands, not below the floor."""
    floor = 10.0 ** (features.floor_db / 10.0)
    power = jnp.maximum(jnp.square(spectrum.real) + jnp.square(spectrum.imag), floor)
    if not features.n_mels:
        return power
    bands = mel.bands(features.n_mels, spectrum.shape[-2], features.sample_rate)
    return jnp.matmul(bands, power, precision=HIGHEST)


def _scaled(features: Features, power: Array) -> Array:
    """A power in the network's own scale."""
    if features.representation == "magnitude_db":
        return (10.0 * jnp.log10(power) - features.input_offset_db) / features.input_scale_db
    return power ** (0.5 * features.exponent)


def _target(features: Features, noisy: Array, clean: Array) -> Array:
    """See `Features.target_of_db`; of powers."""
    if features.target == "noise_mask":
        magnitude = jnp.sqrt(noisy)
        return jnp.stack([magnitude, jnp.maximum(magnitude - jnp.sqrt(clean), 0.0)], axis=-1)
    if features.target == "noise_db":
        noise_db = 10.0 * jnp.log10(noisy / clean)
        target = (noise_db - features.noise_offset_db) / features.noise_scale_db
    elif features.target == "mask":
        target = jnp.minimum(jnp.sqrt(clean / noisy), 1.0)
    else:
        target = _scaled(features, clean)
    return target[..., np.newaxis]
