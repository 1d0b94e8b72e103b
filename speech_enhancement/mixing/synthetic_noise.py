"""Noises made of numbers: white, pink, brown, mains hum, fans and hisses.

Every generator is `(n_samples, sample_rate, rng) -> float32 (n_samples,)` of unit RMS, so that
the caller decides the level. `NOISES` holds by name those that a share of noises is drawn from;
`tones` have a share of their own.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft

from speech_enhancement.signal import dsp

MAINS_HZ = (50.0, 60.0)
N_HARMONICS = 40
TABLE_LENGTH = 16384
LOWEST_HZ = 20.0
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones
HELD_SHARE = 0.4
BEAT_S = (0.15, 0.8)


def white(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of equal power in every hertz."""
    return _unit_rms(rng.standard_normal(n_samples, dtype=np.float32))


def pink(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of equal power in every octave: its spectrum falls by 3 dB an octave."""
    return power_law(n_samples, sample_rate, rng, exponent=1.0)


def brown(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose power spectrum falls by 6 dB an octave, as of a random walk."""
    return power_law(n_samples, sample_rate, rng, exponent=2.0)


def power_law(
    n_samples: int, sample_rate: int, rng: np.random.Generator, exponent: float
) -> np.ndarray:
    """Noise of power `1 / f ** exponent` above 20 Hz and constant below.

    Args:
        n_samples: length to return.
        sample_rate: Hz.
        rng: source of randomness.
        exponent: 0 white, 1 pink, 2 brown.

    Reference: J. Timmer and M. Koenig, "On generating power law noise", Astronomy and
        Astrophysics 300, 1995.
    """
    n_fft = _fast_length(n_samples)
    fall_db = 10.0 * np.log10(2.0) * exponent
    envelope_db = -fall_db * _octaves_above_lowest(n_fft, sample_rate)
    return _shaped(n_samples, n_fft, envelope_db, rng)


def hiss(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Steady noise that is strongest in the highs: tape, preamplifiers, ventilation grilles."""
    n_fft = _fast_length(n_samples)
    octaves = _octaves_above_lowest(n_fft, sample_rate)
    envelope_db = rng.uniform(0.0, 5.0) * octaves + _random_bumps_db(octaves, rng, 3.0)
    noise = _shaped(n_samples, n_fft, envelope_db, rng)
    return _unit_rms(noise * _slow_modulation(n_samples, sample_rate, rng, 1.0))


def fan(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of turning blades: a falling rough spectrum, harmonics of the blades, slow beating."""
    n_fft = _fast_length(n_samples)
    octaves = _octaves_above_lowest(n_fft, sample_rate)
    envelope_db = rng.uniform(-9.0, -1.5) * octaves + _random_bumps_db(octaves, rng, 6.0)
    noise = _shaped(n_samples, n_fft, envelope_db, rng)
    blades = _harmonics(n_samples, sample_rate, rng, rng.uniform(40.0, 250.0), 12)
    noise += np.float32(rng.uniform(0.0, 0.7)) * blades
    return _unit_rms(noise * _slow_modulation(n_samples, sample_rate, rng, 3.0))


def hum(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum: harmonics of 50 or 60 Hz within half a percent, some with a rectifier's buzz."""
    fundamental = rng.choice(MAINS_HZ) * rng.uniform(0.995, 1.005)
    return _harmonics(n_samples, sample_rate, rng, fundamental, int(rng.integers(2, N_HARMONICS)))


def tones(n_samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Sounds like music, chimes and beeps: chords of harmonics, held or dying away.

    One to three notes of a major scale begin at a time, a beat or two apart.
    """
    held = rng.uniform() < HELD_SHARE
    beat_s, lowest_hz = rng.uniform(*BEAT_S), 110.0 * 2.0 ** rng.uniform(0.0, 3.0)
    noise = np.zeros(n_samples, np.float32)
    begin_s = 0.0
    while begin_s < n_samples / sample_rate:
        begin = int(begin_s * sample_rate)
        for _ in range(rng.integers(1, 4)):
            pitch_hz = lowest_hz * 2.0 ** (rng.choice(SCALE) / 12.0 + rng.integers(-1, 2))
            length_s = rng.uniform(1.0, 4.0) if held else rng.uniform(0.1, 1.0)
            length = min(n_samples - begin, int(length_s * sample_rate))
            noise[begin : begin + length] += _note(length, sample_rate, rng, pitch_hz, held)
        begin_s += beat_s * rng.integers(1, 3)
    return _unit_rms(noise)


def _note(
    n_samples: int, sample_rate: int, rng: np.random.Generator, pitch_hz: float, held: bool
) -> np.ndarray:
    """A few harmonics that fade in and out, or that die away as of a string."""
    tone = _harmonics(n_samples, sample_rate, rng, pitch_hz, int(rng.integers(1, 10)))
    time = np.arange(n_samples) / sample_rate
    envelope = np.minimum(1.0, np.minimum(time / 0.01, (time[-1:] - time) / 0.02))
    if not held:
        envelope *= np.exp(-time * rng.uniform(1.0, 6.0))
    return (tone * envelope).astype(np.float32)


NOISES = {
    "white": white,
    "pink": pink,
    "brown": brown,
    "hiss": hiss,
    "fan": fan,
    "hum": hum,
}


def _harmonics(
    n_samples: int, sample_rate: int, rng: np.random.Generator, fundamental_hz: float, count: int
) -> np.ndarray:
    """A periodic sound of `count` falling harmonics of random phase, unit RMS.

    One period is tabulated and read at the fundamental's pace: forty sines at the price of one.
    """
    count = max(1, min(count, int(0.45 * sample_rate / fundamental_hz)))
    order = np.arange(1, count + 1)
    level_db = -rng.uniform(2.0, 12.0) * np.log2(order) + rng.normal(0.0, 4.0, count)
    spectrum = np.zeros(TABLE_LENGTH // 2 + 1, np.complex64)
    phase = rng.uniform(0.0, 2.0 * np.pi, count)
    spectrum[1 : count + 1] = dsp.db_to_amplitude(level_db) * np.exp(1j * phase)
    period = scipy.fft.irfft(spectrum, TABLE_LENGTH)
    step = fundamental_hz / sample_rate * TABLE_LENGTH
    position = (np.arange(n_samples) * step).astype(np.int64) & (TABLE_LENGTH - 1)
    return _unit_rms(period[position])


def _shaped(
    n_samples: int, n_fft: int, envelope_db: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Gaussian noise of unit RMS whose magnitude spectrum follows `envelope_db`, without DC."""
    draws = rng.standard_normal(2 * len(envelope_db), dtype=np.float32)
    gain = dsp.db_to_amplitude(envelope_db - envelope_db.max())
    gain[0] = 0.0
    return _unit_rms(scipy.fft.irfft(draws.view(np.complex64) * gain, n_fft)[:n_samples])


def _random_bumps_db(
    octaves: np.ndarray, rng: np.random.Generator, deviation_db: float
) -> np.ndarray:
    """A smooth random curve over log frequency, one bend in each octave."""
    nodes = np.arange(0.0, np.ceil(octaves[-1]) + 1.0)
    return np.interp(octaves, nodes, rng.normal(0.0, deviation_db, len(nodes)))


def _slow_modulation(
    n_samples: int, sample_rate: int, rng: np.random.Generator, deviation_db: float
) -> np.ndarray:
    """A gain that wanders by `deviation_db`, a few times a second at most; float32."""
    seconds = n_samples / sample_rate
    n_nodes = 2 + int(np.ceil(seconds * rng.uniform(0.5, 8.0)))
    nodes_db = rng.normal(0.0, rng.uniform(0.0, deviation_db), n_nodes)
    gain = dsp.db_to_amplitude(nodes_db)
    positions = np.linspace(0.0, n_samples, n_nodes)
    return np.interp(np.arange(n_samples), positions, gain).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _octaves_above_lowest(n_fft: int, sample_rate: int) -> np.ndarray:
    """Octaves of each FFT bin above 20 Hz, at least 0; float32."""
    ratio = scipy.fft.rfftfreq(n_fft, 1.0 / sample_rate) / LOWEST_HZ
    return np.log2(np.maximum(ratio, 1.0)).astype(np.float32)


def _fast_length(n_samples: int) -> int:
    """The next FFT length that is even and quick."""
    return 2 * scipy.fft.next_fast_len(-(-n_samples // 2), real=True)


def _unit_rms(noise: np.ndarray) -> np.ndarray:
    """The noise as float32 at RMS 1; silence stays silence."""
    noise = noise.astype(np.float32, copy=False)
    return noise / np.float32(max(np.sqrt(np.mean(np.square(noise))), dsp.TINY))
