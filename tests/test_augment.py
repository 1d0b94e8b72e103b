import itertools

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from speech_enhancement.errors import UserError
from speech_enhancement.files import audio_io
from speech_enhancement.mixing import augment, reverberation, synthetic_noise
from speech_enhancement.signal import dsp

RATE = 16000
DEGRADATIONS = {
    "add_artificial_noise": augment.add_artificial_noise,
    "reverberate": augment.reverberate,
    "clip": augment.clip,
    "low_pass": augment.low_pass,
    "time_shift": augment.time_shift,
    "change_volume": augment.change_volume,
    "codec_round_trip": augment.codec_round_trip,
    "change_speed": augment.change_speed,
    "equalise": augment.equalise,
    "steep_low_pass": augment.steep_low_pass,
    "telephone_band": augment.telephone_band,
    "whisper": augment.whisper,
    "add_rumble": augment.add_rumble,
    "add_pops": augment.add_pops,
    "add_hum": augment.add_hum,
    "add_offset": augment.add_offset,
}


def chirps(n_samples=RATE, rate=RATE):
    """A sound with much going on in time and frequency, so that any delay of it is audible."""
    time = np.arange(n_samples) / rate
    sound = scipy.signal.chirp(time, 200, time[-1] + 1 / rate, 0.3 * rate)
    return (0.3 * sound * (0.6 + 0.4 * np.sin(2 * np.pi * 7 * time))).astype(np.float32)


def slope_db_per_octave(noise, low_hz, high_hz):
    frequency, power = scipy.signal.welch(noise, RATE, nperseg=4096)
    band = (frequency >= low_hz) & (frequency <= high_hz)
    return np.polyfit(np.log2(frequency[band]), 10 * np.log10(power[band]), 1)[0]


def decay_time(response, rate):
    """RT60 by Schroeder's backward integration, from -5 to -25 dB."""
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    decay_db = 10 * np.log10(energy / energy[0])
    return 3 * (np.argmax(decay_db < -25) - np.argmax(decay_db < -5)) / rate


@pytest.mark.parametrize("name", DEGRADATIONS)
@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**32),
    n_samples=st.integers(500, 9000),
    rate=st.sampled_from([8000, 16000, 48000]),
)
def test_degradations_keep_shape_type_input_and_seed(name, seed, n_samples, rate):
    degrade = DEGRADATIONS[name]
    waveform = chirps(n_samples, rate)
    before = waveform.copy()
    first = degrade(waveform, rate, np.random.default_rng(seed))
    second = degrade(waveform, rate, np.random.default_rng(seed))
    assert first.shape == waveform.shape
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, second)
    assert np.array_equal(waveform, before)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_degradations_depend_on_the_seed(name):
    results = [
        DEGRADATIONS[name](chirps(), RATE, np.random.default_rng(seed)).tobytes()
        for seed in range(4)
    ]
    assert len(set(results)) > 1


@pytest.mark.parametrize("name", [name for name in DEGRADATIONS if name != "codec_round_trip"])
def test_silence_stays_finite(name):
    silence = np.zeros(4000, np.float32)
    assert np.isfinite(DEGRADATIONS[name](silence, RATE, np.random.default_rng(0))).all()


@pytest.mark.parametrize("name", [*synthetic_noise.NOISES, "tones"])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), n_samples=st.integers(1000, 40000))
def test_noises_have_unit_rms(name, seed, n_samples):
    make = getattr(synthetic_noise, name)
    noise = make(n_samples, RATE, np.random.default_rng(seed))
    assert noise.shape == (n_samples,)
    assert noise.dtype == np.float32
    assert np.sqrt(np.mean(np.square(noise))) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("name", "slope"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_slopes_of_coloured_noises(name, slope):
    noise = synthetic_noise.NOISES[name](20 * RATE, RATE, np.random.default_rng(3))
    assert slope_db_per_octave(noise, 50, 6000) == pytest.approx(slope, abs=0.25)


def test_hum_is_harmonics_of_the_mains():
    for seed in range(5):
        hum = synthetic_noise.hum(4 * RATE, RATE, np.random.default_rng(seed))
        spectrum = np.abs(np.fft.rfft(hum * np.hanning(len(hum)))) ** 2
        frequency = np.fft.rfftfreq(len(hum), 1 / RATE)
        candidates = [50, 60]
        shares = []
        for mains in candidates:
            order = np.maximum(np.round(frequency / mains), 1)
            near = np.abs(frequency - order * mains) < 0.006 * order * mains + 1.0
            shares.append(spectrum[near & (frequency < 700)].sum())
        assert max(shares) > 0.99 * spectrum[frequency < 700].sum()


@pytest.mark.parametrize("snr_db", [0.0, 12.0, 30.0])
def test_artificial_noise_has_the_wanted_level(snr_db):
    clean = chirps()
    noisy = augment.add_artificial_noise(
        clean, RATE, np.random.default_rng(0), snr_db=(snr_db, snr_db)
    )
    level = dsp.active_rms(clean, RATE)
    noise = np.sqrt(np.mean(np.square(noisy - clean, dtype=np.float64)))
    assert 20 * np.log10(level / noise) == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize("rt60_s", [0.2, 0.4, 0.8])
def test_rooms_decay_as_asked(rt60_s):
    rng = np.random.default_rng(1)
    times = [decay_time(reverberation.synthesise(RATE, rng, rt60_s), RATE) for _ in range(10)]
    assert np.mean(times) == pytest.approx(rt60_s, rel=0.2)


def test_rooms_begin_with_the_direct_sound_and_keep_the_level():
    rooms = reverberation.synthesise_bank(5, RATE, seed=0, rt60_s=(0.2, 0.7))
    for room in rooms:
        assert abs(room.full[0]) > 0.3 * np.abs(room.full).max()
        assert np.sum(np.square(room.early)) == pytest.approx(1.0, rel=1e-4)
        assert len(room.early) <= round(0.05 * RATE)


def test_reverberation_target_is_aligned_and_equal_until_the_late_part():
    room = reverberation.synthesise_bank(1, RATE, seed=2, rt60_s=(0.5, 0.5))[0]
    click = np.zeros(RATE, np.float32)
    click[1000] = 1.0
    wet, target = augment.reverberate_pair(click, room)
    assert np.abs(wet[:999]).max() < 1e-5
    unfaded = slice(1000, 1000 + round(0.045 * RATE))
    assert np.allclose(wet[unfaded], target[unfaded], atol=1e-5)
    assert np.abs(target[1000 + round(0.05 * RATE) :]).max() < 1e-5
    assert np.allclose(wet, scipy.signal.fftconvolve(click, room.full)[:RATE], atol=1e-5)


def test_measured_rooms_are_read_from_a_folder(tmp_path):
    response = np.zeros(2000, np.float32)
    response[100], response[900] = 0.5, 0.2
    audio_io.save_audio(tmp_path / "room.wav", response, RATE)
    (room,) = reverberation.load_bank(tmp_path, RATE)
    assert room.full[0] == pytest.approx(1.0, abs=1e-3)
    assert room.full[800] == pytest.approx(0.4, abs=1e-3)
    assert np.flatnonzero(np.abs(room.early) > 1e-3).tolist() == [0]


@pytest.mark.parametrize("fraction", [0.01, 0.1])
def test_clipping_cuts_the_asked_share(fraction):
    waveform = np.random.default_rng(0).standard_normal(10000).astype(np.float32)
    clipped = augment.clip(waveform, RATE, np.random.default_rng(0), (fraction, fraction))
    assert np.mean(clipped != waveform) == pytest.approx(fraction, abs=2e-3)
    assert np.abs(clipped).max() == np.abs(clipped[clipped != waveform]).min()


def test_low_pass_delays_nothing():
    waveform = np.random.default_rng(1).standard_normal(RATE).astype(np.float32)
    filtered = augment.low_pass(waveform, RATE, np.random.default_rng(0), (2000.0, 2000.0))
    likeness = [np.dot(np.roll(filtered, shift), waveform) for shift in range(-8, 9)]
    assert np.argmax(likeness) == 8
    np.testing.assert_allclose(likeness, likeness[::-1], atol=0.01 * likeness[8])


def test_low_pass_takes_the_highs_only():
    waveform = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    filtered = augment.low_pass(waveform, RATE, np.random.default_rng(0), (2000.0, 2000.0))
    frequency, before = scipy.signal.welch(waveform, RATE)
    _, after = scipy.signal.welch(filtered, RATE)
    loss_db = 10 * np.log10(before / after)
    assert np.abs(loss_db[frequency < 1500]).max() < 1.0
    assert loss_db[frequency > 4200].min() > 40.0


@pytest.mark.parametrize("shift_s", [-0.05, 0.0, 0.05, -3.0, 3.0])
def test_time_shift_moves_the_sound(shift_s):
    waveform = chirps()
    moved = augment.time_shift(waveform, RATE, np.random.default_rng(0), (shift_s, shift_s))
    shift = round(shift_s * RATE)
    expected = [
        waveform[i - shift] if 0 <= i - shift < len(waveform) else 0.0 for i in range(len(waveform))
    ]
    assert np.array_equal(moved, np.array(expected, np.float32))


def test_volume_is_a_gain_in_db():
    louder = augment.change_volume(chirps(), RATE, np.random.default_rng(0), (6.0, 6.0))
    assert np.allclose(louder, chirps() * 10 ** (6 / 20), atol=1e-6)


@pytest.mark.parametrize("codec", augment.CODECS)
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_codecs_add_no_delay(codec, rate):
    waveform = chirps(rate, rate)
    decoded = augment.codec_round_trip(
        waveform, rate, np.random.default_rng(0), (0.5, 0.5), codecs=(codec,)
    )
    correlation = scipy.signal.correlate(decoded, waveform)
    assert np.argmax(correlation) == len(waveform) - 1
    assert correlation.max() > 0.9 * np.sum(np.square(waveform))
    assert not np.array_equal(decoded, waveform)


@pytest.mark.parametrize("codec", augment.CODECS)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_codecs_take_both_ends_of_their_range(codec, level):
    waveform = chirps(RATE, RATE)
    rng = np.random.default_rng(0)
    decoded = augment.codec_round_trip(waveform, RATE, rng, (level, level), codecs=(codec,))
    assert decoded.shape == waveform.shape
    assert np.isfinite(decoded).all()


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_pitch(factor):
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    played = augment.change_speed(tone, RATE, np.random.default_rng(0), (factor, factor))
    spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played))))
    assert np.argmax(spectrum) / 2 == pytest.approx(1000 * factor, abs=1.0)


@pytest.mark.parametrize("gain_db", [-8.0, 6.0])
def test_equalise_reaches_its_gain_at_both_ends(gain_db):
    click = np.zeros(RATE, np.float32)
    click[0] = 1.0
    response = augment.equalise(
        click, RATE, np.random.default_rng(0), (gain_db, gain_db), n_peaks=(0, 0)
    )
    magnitude_db = 20 * np.log10(np.abs(np.fft.rfft(response)))
    assert magnitude_db[10] == pytest.approx(gain_db, abs=0.5)
    assert magnitude_db[-5] == pytest.approx(gain_db, abs=0.5)
    assert np.abs(magnitude_db).min() < 1.0


@pytest.mark.parametrize("rate", [4000, 20000, 96000])
def test_other_rates_have_codecs_and_rooms_too(rate):
    waveform = chirps(rate, rate)
    for seed in range(4):
        decoded = augment.codec_round_trip(waveform, rate, np.random.default_rng(seed))
        assert decoded.shape == waveform.shape
    (room,) = reverberation.synthesise_bank(1, rate, seed=0, rt60_s=(0.2, 0.2))
    assert np.isfinite(room.full).all()
    with pytest.raises(UserError, match=f"None of the codecs opus supports {rate} Hz"):
        augment.codec_round_trip(waveform, rate, np.random.default_rng(0), codecs=("opus",))


def band_level_db(sound, low_hz, high_hz):
    """Power between two frequencies, dB."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    return 10 * np.log10(power[(frequency >= low_hz) & (frequency < high_hz)].mean() + 1e-20)


def lost_db(before, after, low_hz, high_hz):
    return band_level_db(before, low_hz, high_hz) - band_level_db(after, low_hz, high_hz)


def white():
    return np.random.default_rng(9).normal(0, 0.1, 2 * RATE).astype(np.float32)


def test_a_steep_low_pass_has_an_edge():
    for seed in range(5):
        cut = augment.steep_low_pass(white(), RATE, np.random.default_rng(seed), (4000, 4000))
        assert abs(lost_db(white(), cut, 200, 3600)) < 0.2
        assert lost_db(white(), cut, 4600, 7900) > 40


def test_a_telephone_line_keeps_its_band():
    for seed in range(5):
        line = augment.telephone_band(
            white(), RATE, np.random.default_rng(seed), (300, 300), (3400, 3400)
        )
        assert abs(lost_db(white(), line, 600, 3000)) < 0.5
        assert lost_db(white(), line, 0, 100) > 25
        assert lost_db(white(), line, 4000, 7900) > 40


def periodicity(sound, rate):
    """Median over frames of 64 ms of the autocorrelation at the best pitch of 80 to 300 Hz."""
    length = round(0.064 * rate)
    loud = [
        frame - frame.mean()
        for frame in np.array_split(sound, len(sound) // length)
        if np.abs(frame).max() > 0.1 * np.abs(sound).max()
    ]
    lags = slice(rate // 300, rate // 80)
    peaks = [(np.correlate(f, f, "full")[len(f) - 1 :] / np.dot(f, f))[lags].max() for f in loud]
    return np.median(peaks)


def envelope_db(sound):
    """Level of half octaves over time, dB (bands, frames)."""
    _, _, spectrum = scipy.signal.stft(sound, RATE, nperseg=1024, noverlap=512)
    edges = np.geomspace(500, 7000, 8) * 1024 / RATE
    bands = [np.abs(spectrum[int(a) : int(b)]) ** 2 for a, b in itertools.pairwise(edges)]
    return 10 * np.log10(np.array([band.mean(axis=0) for band in bands]) + 1e-9)


def test_a_whisper_has_the_words_of_a_voice_and_no_pitch(speech):
    voice = speech(RATE, 4.0)
    for seed in range(3):
        whispered = augment.whisper(voice, RATE, np.random.default_rng(seed))
        assert periodicity(voice, RATE) > 0.6
        assert periodicity(whispered, RATE) < 0.4
        pair = np.corrcoef(envelope_db(voice).ravel(), envelope_db(whispered).ravel())
        assert pair[0, 1] > 0.85
        assert dsp.active_rms(whispered, RATE) == pytest.approx(
            dsp.active_rms(voice, RATE), rel=0.01
        )


@pytest.mark.parametrize(
    ("add", "wanted", "of"),
    [
        (augment.add_rumble, (-12.0, -12.0), -12.0),
        (augment.add_hum, (12.0, 12.0), -12.0),
    ],
)
def test_rumble_and_hum_have_their_level(add, wanted, of):
    sound = chirps(2 * RATE)
    added = add(sound, RATE, np.random.default_rng(0), wanted) - sound
    ratio = dsp.active_rms(added, RATE) / dsp.active_rms(sound, RATE)
    assert 20 * np.log10(ratio) == pytest.approx(of, abs=0.1)
    if add is augment.add_rumble:
        assert band_level_db(added, 10, 50) - band_level_db(added, 120, 400) > 30


def test_pops_are_short_low_and_of_their_peak():
    sound = chirps(2 * RATE)
    for seed in range(8):
        added = augment.add_pops(sound, RATE, np.random.default_rng(seed), (6.0, 6.0)) - sound
        wanted = dsp.active_rms(sound, RATE) * 10 ** (6 / 20)
        assert np.abs(added).max() == pytest.approx(wanted, rel=1.0)
        assert np.abs(added).max() > 0.9 * wanted
        assert np.mean(np.abs(added) > 0.05 * wanted) < 0.4
        assert band_level_db(added, 0, 200) - band_level_db(added, 500, 2000) > 20


def test_an_offset_is_a_constant_of_its_size():
    sound = chirps()
    added = augment.add_offset(sound, RATE, np.random.default_rng(1), (0.02, 0.02)) - sound
    np.testing.assert_allclose(np.abs(added), 0.02, atol=1e-6)
    assert np.ptp(added) < 1e-6


def test_tones_are_lines_in_the_spectrum():
    """Nine tenths of their power are in a few bins, of white noise in nine tenths of all."""

    def share_of_bins(sound):
        power = np.sort(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2)[::-1]
        return np.searchsorted(np.cumsum(power) / power.sum(), 0.9) / len(power)

    for seed in range(5):
        tones = synthetic_noise.tones(2 * RATE, RATE, np.random.default_rng(seed))
        assert share_of_bins(tones) < 0.05
    assert share_of_bins(white()) > 0.5
