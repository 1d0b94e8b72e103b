"""The sound core: nothing lost, nothing moved, nothing that depends on the size of a block."""

from __future__ import annotations

import numpy as np
import pytest
import small_networks
from hypothesis import given, settings
from hypothesis import strategies as st

from enhancer import Enhancer

RATES = (1000, 8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def identity(folder):
    return Enhancer.load(small_networks.save_gain(folder, 0.0), threads=1)


@pytest.fixture(scope="module")
def gate(folder):
    return Enhancer.load(small_networks.save_gate(folder), threads=1)


@pytest.fixture(scope="module")
def causal(folder):
    return Enhancer.load(small_networks.save_stream(folder, 0.5), threads=1)


def noise(n_samples, seed=0, level=0.1, channels=None):
    shape = n_samples if channels is None else (channels, n_samples)
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def ratio_db(wanted, got):
    """Signal-to-difference ratio, dB."""
    difference = np.square(wanted.astype(float) - got).sum()
    return 10.0 * np.log10(np.square(wanted.astype(float)).sum() / max(difference, 1e-30))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RATES), st.integers(1, 30_000), st.integers(0, 3), st.integers(-80, 0))
def test_a_network_that_finds_no_noise_changes_nothing(identity, rate, length, channels, level_db):
    sound = noise(length, level=10 ** (level_db / 20), channels=channels or None)
    axis = 0 if channels else None
    enhanced = identity.enhance(sound, rate, channel_axis=axis)
    assert enhanced.shape == sound.shape
    assert enhanced.dtype == np.float32
    assert ratio_db(sound, enhanced) > 100


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_an_even_attenuation_is_applied_at_every_rate_and_to_the_band_above(folder, rate):
    enhancer = Enhancer.load(small_networks.save_gain(folder, 6.0), threads=1)
    sound = noise(3 * rate)
    enhanced = enhancer.enhance(sound, rate)
    assert ratio_db(sound * 10 ** (-6 / 20), enhanced) > 35
