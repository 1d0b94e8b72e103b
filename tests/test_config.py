import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError


def test_the_default_spectrogram_is_128_by_128():
    config = AudioConfig()
    assert (config.n_bins, config.n_frames) == (128, 128)


def test_five_seconds_at_16_khz():
    config = AudioConfig(sample_rate=16000, n_fft=512, hop_length_fft=256, frame_length=80000)
    assert (config.n_bins, config.n_frames) == (257, 314)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 0),
        ("sample_rate", -8000),
        ("sample_rate", 8000.0),
        ("sample_rate", True),
        ("n_fft", 0),
        ("n_fft", "255"),
        ("hop_length_fft", 0),
        ("hop_length_fft", 128),
        ("frame_length", 254),
        ("window", "hamming"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_was_received(field, value):
    with pytest.raises(UsageError, match=rf"`{field}`.*Received: {value}$"):
        AudioConfig(**{field: value})


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        AudioConfig().n_fft = 512


def test_dictionary_and_back():
    config = AudioConfig(sample_rate=16000, n_fft=512, hop_length_fft=128, window="sqrt_hann")
    assert AudioConfig.from_dict(config.to_dict()) == config


@given(n_fft=st.integers(2, 700), n_samples=st.integers(1, 10000), data=st.data())
def test_the_frames_reach_both_ends_of_the_waveform(n_fft, n_samples, data):
    hop = data.draw(st.integers(1, n_fft // 2))
    config = AudioConfig(n_fft=n_fft, hop_length_fft=hop, frame_length=700)
    last_centre = (config.frames_of(n_samples) - 1) * hop
    # Within half of the window's half width its weight is at least one half.
    assert n_samples - 1 - last_centre <= n_fft // 4
    assert last_centre < n_samples + hop
