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


@pytest.mark.parametrize("name", synthetic_noise.NOISES)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), n_samples=st.integers(1000, 40000))
def test_noises_have_unit_rms(name, seed, n_samples):
    noise = synthetic_noise.NOISES[name](n_samples, RATE, np.random.default_rng(seed))
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
    with pytest.raises(UserError, match=f"No codec of opus takes {rate} Hz"):
        augment.codec_round_trip(waveform, rate, np.random.default_rng(0), codecs=("opus",))
