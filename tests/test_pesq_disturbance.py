"""The disturbance of PESQ as a loss, against the PESQ of the `pesq` package."""

import dataclasses

import keras
import numpy as np
import pytest
from conftest import REPOSITORY

from speech_enhancement.files import audio_io
from speech_enhancement.models import losses, pesq_disturbance
from speech_enhancement.models.dpcrn import DPCRN

pesq = pytest.importorskip("pesq")
VOICES = sorted((REPOSITORY / "demo_data" / "voices").rglob("*.*"))[:4]


@pytest.fixture(scope="module")
def pairs():
    """(clean, degraded) of demo voices: noisy at three levels, noisy in parts, dull."""
    rng = np.random.default_rng(3)
    made = []
    for path in VOICES:
        clean = audio_io.load_audio(path, sample_rate=16000)[0][:64000]
        noise = rng.standard_normal(len(clean)).astype(np.float32) * np.std(clean)
        bursts = noise * (np.arange(len(clean)) % 8000 < 4000)
        made += [(clean, clean + gain * noise) for gain in (0.5, 0.1, 0.02)]
        dull = np.convolve(clean, [0.5, 0.5], "same")
        made += [(clean, 0.5 * clean + 0.2 * bursts), (clean, dull)]
    return [(c.astype(np.float32), d.astype(np.float32)) for c, d in made]


def mos(clean, degraded):
    """MOS-LQO of P.862.2 from the distance."""
    below = float(pesq_disturbance.distance(clean[None], degraded[None])[0])
    raw = pesq_disturbance.BEST_SCORE - below
    return 0.999 + 4.0 / (1.0 + np.exp(-1.3669 * raw + 3.8224))


def test_it_scores_as_the_recommendation_does(pairs):
    ours = np.array([mos(*pair) for pair in pairs])
    theirs = np.array([pesq.pesq(16000, *pair, "wb") for pair in pairs])
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    assert np.abs(ours - theirs).max() < 0.5


def test_what_is_the_same_is_at_no_distance_whatever_its_level(pairs):
    clean = pairs[0][0]
    assert mos(clean, clean) == pytest.approx(mos(clean, 0.25 * clean), abs=1e-3)
    assert float(pesq_disturbance.distance(clean[None], clean[None])[0]) < 0.01


def test_a_window_without_voice_has_no_such_term(rng):
    voice = 0.1 * rng.standard_normal((2, 64, 257, 2)).astype(np.float32)
    silence = np.zeros_like(voice)
    plain, with_pesq = losses.CompressedSpectrum(si_snr=0.2), losses.CompressedSpectrumPESQ()
    assert float(with_pesq(silence, voice)) == pytest.approx(float(plain(silence, voice)))
    assert with_pesq(voice, voice + 0.1) > plain(voice, voice + 0.1)


def test_a_network_learns_from_it(rng):
    clean = rng.standard_normal((2, 64, 257, 2)).astype(np.float32)
    clean[:, 20:40] = 0.0
    noisy = clean + rng.standard_normal(clean.shape).astype(np.float32)
    inputs = keras.Input((64, 257, 2))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same")(inputs))
    model.compile(keras.optimizers.Adam(0.01), losses.CompressedSpectrumPESQ(magnitude=0.0))
    values = [model.train_on_batch(noisy, clean) for _ in range(8)]
    assert values[-1] < values[0]
    model.train_on_batch(noisy, np.zeros_like(clean))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("change", [{"sample_rate": 8000}, {"frame_length": 4096}])
def test_it_is_not_offered_where_it_does_not_fit(change):
    assert "compressed_spectrum_pesq" in DPCRN().fitting_losses()
    audio = dataclasses.replace(DPCRN.default_audio, **change)
    assert DPCRN(audio).fitting_losses() == ("compressed_spectrum",)
