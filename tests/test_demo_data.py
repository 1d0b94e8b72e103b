import shutil

import numpy as np
import pytest
import soundfile

from demo_data import make_demo_data
from speech_enhancement.files import audio_io
from speech_enhancement.signal import dsp

PAIRS = {pair.noise: pair for pair in make_demo_data.PAIRS}
STEP = 2.0**-15


def read_pair(folder, name):
    return [soundfile.read(folder / kind / f"{name}.wav") for kind in ("noisy", "clean")]


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_has_the_rate_the_channels_and_the_snr_that_the_list_says(name, demo_data):
    (noisy, rate), (clean, clean_rate) = read_pair(demo_data, name)
    assert rate == clean_rate == PAIRS[name].sample_rate
    assert noisy.shape == clean.shape
    assert (noisy.ndim == 2) == PAIRS[name].stereo
    first_clean, first_noisy = (x.reshape(len(x), -1)[:, 0] for x in (clean, noisy))
    snr_db = 20 * np.log10(
        dsp.active_rms(first_clean, rate) / dsp.active_rms(first_noisy - first_clean, rate)
    )
    # The second microphone hears less of the voice, the first less of the noise: 3 dB.
    expected = PAIRS[name].snr_db + (3.1 if PAIRS[name].stereo else 0.0)
    assert snr_db == pytest.approx(expected, abs=0.1)


def test_nothing_is_clipped(demo_data):
    for path in audio_io.find_audio_files(demo_data / "noisy"):
        assert np.abs(soundfile.read(path)[0]).max() < 0.99


def test_there_are_pairs_for_every_recording_and_no_more(demo_data):
    for kind in ("noisy", "clean"):
        assert {path.stem for path in (demo_data / kind).iterdir()} == set(PAIRS)


def test_no_speaker_of_the_pairs_is_trained_on():
    trained_on = {speaker for speaker, *_ in make_demo_data.VOICES.values()}
    assert not trained_on & {pair.speaker for pair in make_demo_data.PAIRS}


@pytest.mark.parametrize("name", make_demo_data.NOISES)
def test_the_script_makes_the_noises_that_are_here(name, demo_data):
    for number in range(1, make_demo_data.NOISES_PER_CLASS + 1):
        stored, rate = soundfile.read(demo_data / "noises" / name / f"{name}_{number}.flac")
        seed = len(PAIRS) + number
        made = make_demo_data.make_noise(name, make_demo_data.NOISE_S, rate, seed)
        np.testing.assert_allclose(made, stored, atol=2 * STEP)


@pytest.mark.skipif(not shutil.which("flite"), reason="needs the flite synthesiser")
def test_the_script_makes_a_pair_that_is_here(demo_data):
    noisy, clean = make_demo_data.make_pair(PAIRS["alarm"], list(PAIRS).index("alarm"))
    for made, (stored, _) in zip((noisy, clean), read_pair(demo_data, "alarm"), strict=True):
        np.testing.assert_allclose(made, stored, atol=2 * STEP)


def test_a_missing_synthesiser_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(make_demo_data.UserError, match="apt-get install espeak-ng"):
        make_demo_data.make_voice("espeak-ng:en", "Hello.", 8000)
