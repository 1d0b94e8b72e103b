"""The band above a network's, on demonstration voices at 48 kHz with sibilants and noise added."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from speech_enhancement.files import audio_io
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.inference.upper_band import UpperBand
from speech_enhancement.mixing import synthetic_noise
from speech_enhancement.signal import dsp

RATE = 48_000
FRAME = RATE // 50
LEVEL = 0.05
SIBILANT_OVER_NOISE_DB = 6.0


def above(sound):
    """What lies above 8.5 kHz; the voices, of 16 kHz, have nothing there."""
    spectrum = np.fft.rfft(sound)
    spectrum[: round(8500 * len(sound) / RATE)] = 0.0
    return np.fft.irfft(spectrum, len(sound))


def level_db(sound):
    return 10.0 * np.log10(np.mean(np.square(sound)))


def widened(mask, seconds):
    return np.convolve(mask, np.ones(round(seconds * RATE)), "same") > 0.5


@functools.cache
def voices(folder):
    """Four voices with a second of silence after each, and where they are loud."""
    paths = sorted(folder.glob("voices/*/*_1.flac"))[:4]
    parts = [np.pad(audio_io.load_audio(path, RATE)[0], (0, RATE)) for path in paths]
    voice = np.concatenate(parts)
    voice = voice[: len(voice) // FRAME * FRAME]
    voice = voice * LEVEL / dsp.active_rms(voice, RATE)
    loud = np.abs(voice).reshape(-1, FRAME).max(axis=1) > 0.4 * LEVEL
    return voice, np.repeat(loud, FRAME)


def sibilants(loud, noise, rng):
    """Bursts of 120 ms of 4..14 kHz, above 8.5 kHz 6 dB stronger than a noise; where they are."""
    begins = [k for k in range(RATE, len(loud) - RATE, round(0.8 * RATE)) if loud[k]]
    where = np.zeros(len(loud), bool)
    for begin in begins:
        where[begin : begin + round(0.12 * RATE)] = True
    spectrum = np.fft.rfft(rng.standard_normal(len(loud)))
    spectrum[: round(4000 * len(loud) / RATE)] = spectrum[round(14_000 * len(loud) / RATE) :] = 0.0
    hiss = np.fft.irfft(spectrum, len(loud))
    gain_db = level_db(above(noise)) + SIBILANT_OVER_NOISE_DB - level_db(above(hiss))
    ramp = np.hanning(480) / np.hanning(480).sum()
    return hiss * 10 ** (gain_db / 20.0) * np.convolve(where, ramp, "same"), where


@pytest.mark.parametrize("kind", ["white", "pink", "fan"])
def test_noise_above_8_khz_falls_alike_in_speech_and_pauses(demo_data, rng, kind):
    enhancer = Enhancer.load(demo_data.parent / "weights" / "dpcrn", threads=1)
    voice, loud = voices(demo_data)
    noise = 0.3 * LEVEL * synthetic_noise.NOISES[kind](len(voice), RATE, rng)
    hiss, hissing = sibilants(loud, noise, rng)
    noisy = (voice + noise + hiss).astype(np.float32)
    before, after = above(noisy), above(enhancer.enhance(noisy, RATE))
    away = ~widened(hissing, 0.2)
    away[: 2 * RATE] = False  # no noise was heard before the first pause
    speech, pause = loud & away, ~widened(loud, 0.3) & away
    fall_db = {
        name: level_db(before[where]) - level_db(after[where])
        for name, where in (("speech", speech), ("pause", pause))
    }
    assert fall_db["speech"] >= 15.0
    assert abs(fall_db["pause"] - fall_db["speech"]) <= 4.0
    lost_db = level_db(above(hiss)[hissing]) - level_db(after[hissing])
    assert lost_db <= 3.0


def test_blocks_of_any_size_leave_no_trace(rng):
    sound = rng.standard_normal((2, 30_000)).astype(np.float32)
    shares = np.clip(rng.standard_normal(sound.shape), 0.0, 1.0).astype(np.float32)
    whole = UpperBand(RATE, 16_000, 2)
    wanted = np.concatenate([whole.feed(sound, shares), whole.flush()], axis=1)
    assert wanted.shape == sound.shape
    blocks, parts, begin = UpperBand(RATE, 16_000, 2), [], 0
    while begin < sound.shape[1]:
        end = begin + int(rng.integers(1, 2000))
        parts.append(blocks.feed(sound[:, begin:end], shares[:, begin:end]))
        begin = end
    assert np.array_equal(np.concatenate([*parts, blocks.flush()], axis=1), wanted)


@pytest.mark.parametrize("options", [{"strength": 0.0}, {"max_attenuation_db": 6.0}])
def test_limits_hold_above_the_network_too(demo_data, rng, options):
    enhancer = Enhancer.load(demo_data.parent / "weights" / "dpcrn", threads=1, **options)
    noise = (LEVEL * synthetic_noise.white(3 * RATE, RATE, rng)).astype(np.float32)
    before, after = above(noise), above(enhancer.enhance(noise, RATE))
    if not options.get("strength", 1.0):
        assert level_db(after - before) < level_db(before) - 100.0
    else:
        assert level_db(before) - level_db(after) == pytest.approx(6.0, abs=0.3)
