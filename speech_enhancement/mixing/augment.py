"""Degradations of a waveform, one function each: `(waveform, rate, rng, ranges) -> waveform`.

All take and give float32 (samples,), keep the length, leave their input as it was, and draw what
is random from `rng` alone, so that a seed repeats them. A range is `(low, high)`, drawn
uniformly. Each docstring says what the clean target of a denoiser is after it.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal
import soundfile
import soxr

from speech_enhancement.errors import UserError
from speech_enhancement.mixing import reverberation, synthetic_noise
from speech_enhancement.mixing.recipe import Range
from speech_enhancement.mixing.reverberation import ImpulseResponse
from speech_enhancement.signal import dsp

CODECS = {"vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III")}
CODEC_RATES = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}
ARTIFICIAL_NOISES = ("white", "pink", "brown")
BANK_SIZE = 100
# libsndfile refuses to write MP3 at level 1.
SMALLEST_CODEC_LEVEL = 0.9999
LOW_PASS_PADDING = 30

# Orders of a fall that looks vertical on a spectrogram: 3 dB at the edge, 50 dB a tenth beyond it.
STEEP_ORDER = (60.0, 480.0)
TELEPHONE_LOW_ORDER = (4.0, 16.0)

WHISPER_WINDOW_S = 0.032
WHISPER_SMOOTHING_HZ = (280.0, 500.0)  # wider than the harmonics of most voices are apart
WHISPER_CORNER_HZ = (300.0, 900.0)
WHISPER_EVENNESS = (0.2, 0.4)
WHISPER_LOUDNESS_S = 0.05

RUMBLE_HZ = (5.0, 60.0)
RUMBLE_EDGE_ORDER = 8.0
POP_HZ = (15.0, 80.0)
POP_DECAY_S = (0.02, 0.06)
POP_ATTACK_S = 0.004
MOST_POPS = 3


def add_artificial_noise(
    waveform: np.ndarray,
    rate: int,
    rng: np.random.Generator,
    snr_db: Range = (5.0, 40.0),
    kinds: Sequence[str] = ARTIFICIAL_NOISES,
) -> np.ndarray:
    """Add synthetic noise; the clean target is the waveform before it.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        snr_db: range of the level of the waveform's active frames over that of the noise, dB.
        kinds: names from `synthetic_noise.NOISES`, one of which is drawn.
    """
    noise = synthetic_noise.NOISES[kinds[int(rng.integers(len(kinds)))]](len(waveform), rate, rng)
    level = dsp.active_rms(waveform, rate)
    return dsp.mix_at_snr(waveform, noise, rng.uniform(*snr_db), level, 1.0)[0]


def reverberate(
    waveform: np.ndarray,
    rate: int,
    rng: np.random.Generator,
    rt60_s: Range = (0.1, 0.8),
    bank: Sequence[ImpulseResponse] | None = None,
) -> np.ndarray:
    """Put the waveform into a room; the clean target is what `reverberate_pair` gives beside it.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        rt60_s: range of the time in which the rooms decay by 60 dB, s.
        bank: rooms to draw from, for example `reverberation.load_bank`'s measured ones; by
            default synthesised ones of `rt60_s`, made once in each process.
    """
    rooms = bank if bank is not None else _default_bank(rate, tuple(rt60_s))
    return reverberate_pair(waveform, rooms[int(rng.integers(len(rooms)))])[0]


def reverberate_pair(waveform: np.ndarray, room: ImpulseResponse) -> tuple[np.ndarray, np.ndarray]:
    """The waveform in a room, and its clean target: direct sound and first 50 ms of reflections.

    Both begin where the dry waveform begins, so the target is aligned with either.

    Returns:
        The reverberant waveform and the target, float32 (samples,) each.
    """
    n_fft = scipy.fft.next_fast_len(len(waveform) + len(room.full) - 1, real=True)
    spectra = scipy.fft.rfft(_stacked((waveform, room.full, room.early), n_fft))
    wet, early = scipy.fft.irfft(spectra[:1] * spectra[1:], n_fft)[:, : len(waveform)]
    return wet, early


def clip(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, fraction: Range = (0.001, 0.05)
) -> np.ndarray:
    """Cut off the loudest samples, as an overdriven input does; the clean target is not clipped.

    Args:
        waveform: (samples,).
        rate: Hz, not used.
        rng: source of randomness.
        fraction: range of the share of samples that are cut, 0..1.
    """
    magnitude = np.abs(waveform)
    n_kept = round((1.0 - rng.uniform(*fraction)) * len(waveform))
    place = min(max(n_kept - 1, 0), len(waveform) - 1)
    ceiling = np.partition(magnitude, place)[place]
    return np.clip(waveform, -ceiling, ceiling)


def low_pass(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, cutoff_hz: Range = (2000.0, 7000.0)
) -> np.ndarray:
    """Take the highs away (Butterworth, order 4, forth and back); the clean target loses them, too.

    Without a delay: a network would learn to undo it wherever its input has no highs.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        cutoff_hz: range of the frequency where 6 dB are lost, Hz, at most 0.45 of the rate.
    """
    cutoff = min(rng.uniform(*cutoff_hz), 0.45 * rate)
    filters = scipy.signal.butter(4, cutoff, fs=rate, output="sos")
    padding = min(LOW_PASS_PADDING, len(waveform) - 1)
    return scipy.signal.sosfiltfilt(filters, waveform, padlen=padding).astype(np.float32)


def steep_low_pass(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, cutoff_hz: Range = (3200.0, 5800.0)
) -> np.ndarray:
    """Take the highs away at an edge, as codecs do; the clean target loses them, too.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        cutoff_hz: range of the frequency where 3 dB or more are lost, Hz.
    """
    edge = rng.uniform(*cutoff_hz)
    return _filtered(waveform, high_cut(_bins_hz(len(waveform), rate), edge, _steepness(rng)))


def telephone_band(
    waveform: np.ndarray,
    rate: int,
    rng: np.random.Generator,
    low_hz: Range = (150.0, 400.0),
    high_hz: Range = (3200.0, 3800.0),
) -> np.ndarray:
    """Keep the band of a telephone line; the clean target is kept to it likewise.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        low_hz: range of the lower edge, Hz; the fall below it is that of transformers.
        high_hz: range of the upper edge, Hz; the fall above it is steep.

    Reference: ITU-T G.712, "Transmission performance characteristics of pulse code modulation
        channels", 2001.
    """
    frequency = _bins_hz(len(waveform), rate)
    low, high = rng.uniform(*low_hz), rng.uniform(*high_hz)
    order = rng.uniform(*TELEPHONE_LOW_ORDER)
    gain = low_cut(frequency, low, order) * high_cut(frequency, high, _steepness(rng))
    return _filtered(waveform, gain)


def whisper(waveform: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Make a voiced recording whisper; the clean target is the whispered voice.

    White noise takes the place of the voice's excitation: it is given the spectral envelope of the
    voice, smoothed so far that no harmonic is left, tilted upwards as without a vibrating glottis.
    Loudness is evened out, since voiced sounds lose more of it than others do.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness: the noise, and how far each of these goes.

    Reference: R. Morris, M. Clements, "Reconstruction of speech from whispers", Medical
        Engineering and Physics 24, 2002, for the ways in which whispers differ.
    """
    n_fft = 2 ** round(np.log2(WHISPER_WINDOW_S * rate))
    padded = fit_length(waveform, max(len(waveform), n_fft))
    noise = rng.standard_normal(len(padded), dtype=np.float32)
    spectra = [_spectrogram(sound, n_fft) for sound in (padded, noise)]
    width = max(1, round(rng.uniform(*WHISPER_SMOOTHING_HZ) * n_fft / rate))
    # Running sums of the filters may fall below zero by rounding.
    envelope = scipy.ndimage.uniform_filter(np.abs(spectra[0]) ** 2, (width, 3), mode="nearest")
    frequency = np.fft.rfftfreq(n_fft, 1.0 / rate)[:, np.newaxis]
    ratio = (frequency / rng.uniform(*WHISPER_CORNER_HZ)) ** 2
    tilt = ratio / (1.0 + ratio) * (1.0 + (frequency / 3000.0) ** 2) ** rng.uniform(0.0, 0.35)
    _, result = scipy.signal.istft(
        np.sqrt(np.maximum(envelope, 0.0)) * tilt * spectra[1], noverlap=n_fft - n_fft // 4
    )
    loudness = scipy.ndimage.uniform_filter1d(
        np.square(result), max(1, round(WHISPER_LOUDNESS_S * rate))
    )
    even = result * (np.maximum(loudness, 1e-4 * loudness.max()) + dsp.TINY) ** (
        -0.5 * rng.uniform(*WHISPER_EVENNESS)
    )
    level = dsp.active_rms(even, rate)
    gain = dsp.active_rms(waveform, rate) / max(level, dsp.TINY)
    return fit_length((even * gain).astype(np.float32), len(waveform))


def add_rumble(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, gain_db: Range = (-30.0, 0.0)
) -> np.ndarray:
    """Add noise of 5 to 60 Hz, as of traffic, wind and handling; the clean target has none.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        gain_db: range of its level re the active frames of the waveform, dB.
    """
    noise = rumble(len(waveform), rate, rng)
    return _added(waveform, noise, rate, rng.uniform(*gain_db))


def rumble(n_samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of 5 to 60 Hz, at any level; float32 (n_samples,)."""
    frequency = _bins_hz(n_samples, rate)
    band = low_cut(frequency, RUMBLE_HZ[0], 4.0) * high_cut(
        frequency, RUMBLE_HZ[1], RUMBLE_EDGE_ORDER
    )
    return _filtered(rng.standard_normal(n_samples, dtype=np.float32), band)


def add_pops(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, gain_db: Range = (-6.0, 12.0)
) -> np.ndarray:
    """Add one to three thumps, as of breath on a microphone; the clean target has none.

    Each is a damped oscillation of 15 to 80 Hz that is over within a fifth of a second.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        gain_db: range of the peak of a pop re the active frames of the waveform, dB.
    """
    time = np.arange(len(waveform)) / rate
    level = dsp.active_rms(waveform, rate)
    result = waveform.astype(np.float32)
    for _ in range(rng.integers(1, MOST_POPS + 1)):
        since = np.maximum(time - rng.uniform(0.0, time[-1]), 0.0)
        shape = np.minimum(since / POP_ATTACK_S, 1.0) * np.exp(-since / rng.uniform(*POP_DECAY_S))
        wave = shape * np.sin(2.0 * np.pi * rng.uniform(*POP_HZ) * since)
        gain = level * dsp.db_to_amplitude(rng.uniform(*gain_db)) * rng.choice((-1.0, 1.0))
        result += (gain / max(np.abs(wave).max(), dsp.TINY) * wave).astype(np.float32)
    return result


def add_hum(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, snr_db: Range = (0.0, 40.0)
) -> np.ndarray:
    """Add mains hum; the clean target has none.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        snr_db: range of the level of the waveform's active frames over that of the hum, dB.
    """
    hum = synthetic_noise.hum(len(waveform), rate, rng)
    return _added(waveform, hum, rate, -rng.uniform(*snr_db))


def add_offset(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, offset: Range = (0.001, 0.03)
) -> np.ndarray:
    """Add a constant of either sign, as cheap converters do; the clean target has none.

    Args:
        waveform: (samples,).
        rate: Hz, not used.
        rng: source of randomness.
        offset: range of its size, full scale is 1.
    """
    return waveform + np.float32(rng.uniform(*offset) * rng.choice((-1.0, 1.0)))


def cut_lows(waveform: np.ndarray, rate: int, edge_hz: float) -> np.ndarray:
    """A voice without what lies below `edge_hz`, where no voice is; its clean target likewise."""
    return _filtered(waveform, low_cut(_bins_hz(len(waveform), rate), edge_hz, RUMBLE_EDGE_ORDER))


def time_shift(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, shift_s: Range = (-0.1, 0.1)
) -> np.ndarray:
    """Move the sound later or earlier, silence moving in; the clean target is moved likewise.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        shift_s: range of the delay, s; negative is earlier.
    """
    shift = round(rng.uniform(*shift_s) * rate)
    shift = min(max(shift, -len(waveform)), len(waveform))
    moved = np.zeros_like(waveform)
    moved[max(shift, 0) : len(waveform) + min(shift, 0)] = waveform[
        max(-shift, 0) : len(waveform) - max(shift, 0)
    ]
    return moved


def change_volume(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, gain_db: Range = (-12.0, 12.0)
) -> np.ndarray:
    """Make the sound louder or softer; the clean target is changed by the same gain.

    Args:
        waveform: (samples,).
        rate: Hz, not used.
        rng: source of randomness.
        gain_db: range of the gain, dB.
    """
    return waveform * dsp.db_to_amplitude(rng.uniform(*gain_db))


def codec_round_trip(
    waveform: np.ndarray,
    rate: int,
    rng: np.random.Generator,
    compression: Range = (0.5, 1.0),
    codecs: Sequence[str] = ("vorbis", "mp3"),
) -> np.ndarray:
    """Encode and decode with a lossy codec; the clean target is the waveform before it.

    libsndfile takes the codec's delay away, so that input and output stay aligned.

    Args:
        waveform: (samples,).
        rate: Hz; MP3 and Opus are left out at rates that they do not know.
        rng: source of randomness.
        compression: range of libsndfile's compression level, 0 best ... 1 smallest.
        codecs: names from `CODECS`, one of which is drawn.

    Raises:
        UserError: none of the codecs knows the rate.
    """
    known = [name for name in codecs if rate in CODEC_RATES.get(name, (rate,))]
    if not known:
        raise UserError(f"None of the codecs {', '.join(codecs)} supports {rate} Hz")
    container, subtype = CODECS[known[int(rng.integers(len(known)))]]
    level = min(rng.uniform(*compression), SMALLEST_CODEC_LEVEL)
    encoded = io.BytesIO()
    soundfile.write(
        encoded, waveform, rate, format=container, subtype=subtype, compression_level=level
    )
    encoded.seek(0)
    decoded, _ = soundfile.read(encoded, dtype="float32")
    return fit_length(decoded, len(waveform))


def change_speed(
    waveform: np.ndarray, rate: int, rng: np.random.Generator, factor: Range = (0.9, 1.1)
) -> np.ndarray:
    """Play faster or slower, pitch and formants with it; the clean target is played likewise.

    The end is cut or filled with silence to keep the length.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        factor: range of the speed, 1 unchanged, 2 twice as fast.
    """
    return fit_length(play_at(waveform, rate, rng.uniform(*factor)), len(waveform))


def play_at(waveform: np.ndarray, rate: int, factor: float) -> np.ndarray:
    """The waveform at `factor` times its speed: float32 (about samples / factor,)."""
    return soxr.resample(waveform, rate * factor, rate, quality="MQ")


def equalise(
    waveform: np.ndarray,
    rate: int,
    rng: np.random.Generator,
    gain_db: Range = (-8.0, 8.0),
    n_peaks: tuple[int, int] = (0, 1),
) -> np.ndarray:
    """Colour the sound with a low shelf, a high shelf and peaks, as microphones and rooms do.

    A voice's clean target is the coloured voice: a denoiser shall not guess at tone controls.

    Args:
        waveform: (samples,).
        rate: Hz.
        rng: source of randomness.
        gain_db: range of the gain of each shelf and peak, dB.
        n_peaks: least and most peaks.

    Reference: R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
    """
    low, high = _log_uniform(rng, 80.0, 400.0), _log_uniform(rng, 0.15 * rate, 0.4 * rate)
    sections = [
        _shelf(low, rng.uniform(*gain_db), rate, high=False),
        _shelf(high, rng.uniform(*gain_db), rate, high=True),
    ]
    for _ in range(rng.integers(n_peaks[0], n_peaks[1] + 1)):
        centre = _log_uniform(rng, 100.0, 0.4 * rate)
        sections.append(_peak(centre, rng.uniform(*gain_db), rng.uniform(0.5, 2.0), rate))
    return scipy.signal.sosfilt(np.array(sections), waveform).astype(np.float32)


def fit_length(waveform: np.ndarray, n_samples: int) -> np.ndarray:
    """The waveform cut, or filled with zeros, to `n_samples`."""
    if len(waveform) >= n_samples:
        return waveform[:n_samples]
    return np.pad(waveform, (0, n_samples - len(waveform)))


@functools.lru_cache(maxsize=4)
def _default_bank(rate: int, rt60_s: Range) -> list[ImpulseResponse]:
    """Synthesised rooms, the same in every process."""
    return reverberation.synthesise_bank(BANK_SIZE, rate, seed=0, rt60_s=rt60_s)


def _stacked(waveforms: Sequence[np.ndarray], n_samples: int) -> np.ndarray:
    """Waveforms of different lengths as zero-padded rows (waveforms, n_samples)."""
    rows = np.zeros((len(waveforms), n_samples), np.float32)
    for row, waveform in zip(rows, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return rows


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A frequency drawn uniformly over octaves, Hz."""
    return float(low * (high / low) ** rng.uniform())


def _shelf(corner_hz: float, gain_db: float, rate: int, high: bool) -> list[float]:
    """Second-order section that lifts everything below (or above) `corner_hz` by `gain_db`."""
    gain = 10.0 ** (gain_db / 40.0)
    omega = 2.0 * np.pi * corner_hz / rate
    slope = np.sqrt(2.0 * gain) * np.sin(omega)
    # A high shelf is a low shelf with the frequency axis mirrored.
    cosine = -np.cos(omega) if high else np.cos(omega)
    sign = -1.0 if high else 1.0
    plus, minus = gain + 1.0, gain - 1.0
    return _section(
        gain * (plus - minus * cosine + slope),
        sign * 2.0 * gain * (minus - plus * cosine),
        gain * (plus - minus * cosine - slope),
        plus + minus * cosine + slope,
        sign * -2.0 * (minus + plus * cosine),
        plus + minus * cosine - slope,
    )


def _peak(centre_hz: float, gain_db: float, quality: float, rate: int) -> list[float]:
    """Second-order section that lifts the surroundings of `centre_hz` by `gain_db`."""
    gain = 10.0 ** (gain_db / 40.0)
    omega = 2.0 * np.pi * centre_hz / rate
    width = np.sin(omega) / (2.0 * quality)
    middle = -2.0 * np.cos(omega)
    return _section(
        1.0 + width * gain,
        middle,
        1.0 - width * gain,
        1.0 + width / gain,
        middle,
        1.0 - width / gain,
    )


def _section(b0: float, b1: float, b2: float, a0: float, a1: float, a2: float) -> list[float]:
    """A row of scipy's second-order sections, scaled to a0 = 1."""
    return [b0 / a0, b1 / a0, b2 / a0, 1.0, a1 / a0, a2 / a0]


def high_cut(frequency_hz: np.ndarray, edge_hz: float, order: float) -> np.ndarray:
    """Gains 1 / (1 + (f / edge)^order), of any order."""
    octaves = np.log(np.maximum(frequency_hz, 1.0) / edge_hz)
    return 1.0 / (1.0 + np.exp(np.clip(order * octaves, -60.0, 60.0)))


def low_cut(frequency_hz: np.ndarray, edge_hz: float, order: float) -> np.ndarray:
    """The mirror image of `high_cut`."""
    return 1.0 - high_cut(frequency_hz, edge_hz, order)


def _bins_hz(n_samples: int, rate: int) -> np.ndarray:
    """Frequencies of the bins that `_filtered` has."""
    return scipy.fft.rfftfreq(_padded_length(n_samples), 1.0 / rate)


def _padded_length(n_samples: int) -> int:
    """An FFT length in which a steep filter does not ring around into the beginning."""
    return scipy.fft.next_fast_len(n_samples + n_samples // 4 + 256, real=True)


def _filtered(waveform: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The waveform by gains of the bins of `_bins_hz`, without a delay; float32 (samples,)."""
    n_fft = _padded_length(len(waveform))
    spectrum = scipy.fft.rfft(waveform, n_fft) * gain
    return scipy.fft.irfft(spectrum, n_fft)[: len(waveform)].astype(np.float32)


def _steepness(rng: np.random.Generator) -> float:
    """An order of `high_cut`, uniform over octaves."""
    return _log_uniform(rng, *STEEP_ORDER)


def _spectrogram(waveform: np.ndarray, n_fft: int) -> np.ndarray:
    """Complex (bins, frames) of scipy, which its inverse inverts."""
    return scipy.signal.stft(waveform, nperseg=n_fft, noverlap=n_fft - n_fft // 4)[2]


def _added(waveform: np.ndarray, noise: np.ndarray, rate: int, gain_db: float) -> np.ndarray:
    """The waveform with noise added at a level relative to its own active frames."""
    level = dsp.active_rms(waveform, rate)
    return dsp.mix_at_snr(waveform, noise, -gain_db, level, dsp.active_rms(noise, rate))[0]
