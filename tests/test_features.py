import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError
from speech_enhancement.signal import dsp, features
from speech_enhancement.signal.features import Features

AUDIO = AudioConfig()
MAGNITUDES = [
    Features(representation=representation, target=target, exponent=exponent)
    for representation, exponent in (("magnitude_db", 1.0), ("magnitude", 0.3))
    for target in ("noise_db", "clean", "mask", "noise_mask")
]
EVERY = [
    *MAGNITUDES,
    Features(representation="complex", target="clean"),
    Features(representation="waveform", target="waveform"),
]


def identify(chosen):
    return f"{chosen.representation}-{chosen.target}"


@pytest.fixture
def pair(speech, rng):
    """Noisy and clean waveforms (1, samples), loud against the floor."""
    clean = 3 * speech(8000, 1.008)[np.newaxis]
    noise = 0.05 * rng.standard_normal(clean.shape)
    return (clean + noise).astype(np.float32), clean


def perfect_output(chosen, noisy, clean):
    """What a network without any error gives."""
    _, target = chosen.pair_of_waveforms(noisy, clean, AUDIO)
    if chosen.target == "noise_mask":
        return target[..., 1:] / target[..., :1]
    return target


@pytest.mark.parametrize("chosen", MAGNITUDES, ids=identify)
def test_a_perfect_network_gives_the_clean_magnitude_and_the_noisy_phase(chosen, pair):
    noisy, clean = (dsp.stft(waveform, AUDIO) for waveform in pair)
    estimate = chosen.estimate(noisy, perfect_output(chosen, *pair))
    floor = dsp.db_to_amplitude(dsp.FLOOR_DB)
    heard = (np.abs(clean) > floor) & (np.abs(noisy) > floor)
    expected = np.abs(clean)
    if chosen.target in ("mask", "noise_mask"):
        expected = np.minimum(expected, np.abs(noisy))  # a gain of at most one
    assert heard.mean() > 0.9
    np.testing.assert_allclose(np.abs(estimate)[heard], expected[heard], rtol=2e-2, atol=1e-4)
    np.testing.assert_allclose(np.angle(estimate * noisy.conj())[heard], 0.0, atol=1e-2)


@pytest.mark.parametrize("chosen", EVERY, ids=identify)
def test_a_perfect_network_brings_the_waveform_nearer(chosen, pair):
    noisy, clean = pair
    denoised = chosen.denoise(noisy, lambda _: perfect_output(chosen, noisy, clean), AUDIO)
    assert denoised.shape == noisy.shape
    assert np.sum((denoised - clean) ** 2) < 0.3 * np.sum((noisy - clean) ** 2)


@pytest.mark.parametrize("chosen", EVERY, ids=identify)
def test_where_there_is_no_noise_nothing_changes(chosen, pair):
    _, clean = pair
    denoised = chosen.denoise(clean, lambda _: perfect_output(chosen, clean, clean), AUDIO)
    np.testing.assert_allclose(denoised, clean, atol=2e-3)


@pytest.mark.parametrize("chosen", EVERY, ids=identify)
def test_silence_is_finite(chosen):
    silence = np.zeros((1, AUDIO.frame_length), np.float32)
    denoised = chosen.denoise(silence, lambda _: perfect_output(chosen, silence, silence), AUDIO)
    np.testing.assert_allclose(denoised, 0.0, atol=1e-5)


@pytest.mark.parametrize("chosen", EVERY, ids=identify)
def test_the_input_has_the_shape_that_is_promised(chosen, pair):
    encoded, _ = chosen.pair_of_waveforms(*pair, AUDIO)
    assert encoded.shape == (1, *chosen.input_shape(AUDIO))
    assert encoded.dtype == np.float32


@pytest.mark.parametrize("chosen", EVERY, ids=identify)
def test_stored_windows_give_the_pairs_that_waveforms_give(chosen, pair):
    stored = pair
    if chosen.representation in features.MAGNITUDES:
        stored = [dsp.spectrogram_to_db(dsp.stft(waveform, AUDIO)) for waveform in pair]
    for from_store, from_waveform in zip(
        chosen.pair(*stored, AUDIO), chosen.pair_of_waveforms(*pair, AUDIO), strict=True
    ):
        np.testing.assert_allclose(from_store, from_waveform, atol=1e-6)


def test_the_noise_model_is_in_the_units_of_the_published_loss():
    noisy_db = np.array([[[6.0, 88.0, 0.0]]])
    target = Features().target_of_db(noisy_db, np.zeros((1, 1, 3)))
    np.testing.assert_allclose(target[0, 0, :, 0], [0.0, 1.0, -6 / 82], atol=1e-7)


def test_the_input_is_scaled_to_about_one():
    encoded = Features().encode_db(np.array([[[-60.0, -15.0, 30.0]]]))
    np.testing.assert_allclose(encoded[0, 0, :, 0], [-1.0, 0.0, 1.0])


class TestMelBands:
    chosen = Features(target="mask", n_mels=40).fitted_to(AUDIO)

    def test_a_gain_of_all_bands_is_that_gain_of_all_bins(self, pair):
        spectrogram = dsp.stft(pair[0], AUDIO)
        output = np.full((1, 40, AUDIO.n_frames, 1), 0.25, np.float32)
        np.testing.assert_allclose(
            self.chosen.estimate(spectrogram, output), 0.25 * spectrogram, rtol=1e-5
        )

    def test_a_gain_of_low_bands_leaves_high_bins(self, pair):
        spectrogram = dsp.stft(pair[0], AUDIO)
        output = np.ones((1, 40, AUDIO.n_frames, 1), np.float32)
        output[:, :10] = 0.0
        estimate = self.chosen.estimate(spectrogram, output)
        np.testing.assert_allclose(estimate[:, :3], 0.0, atol=1e-6)
        np.testing.assert_allclose(estimate[:, 64:], spectrogram[:, 64:], rtol=1e-5)

    def test_the_input_has_as_many_bands(self, pair):
        assert self.chosen.pair_of_waveforms(*pair, AUDIO)[0].shape == (1, 40, AUDIO.n_frames, 1)

    def test_more_bands_than_bins_are_refused(self):
        with pytest.raises(UsageError, match=r"`n_mels` must be at most the 128.*Received: 129"):
            Features(n_mels=129).fitted_to(AUDIO)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"representation": "cepstrum"}, "representation"),
        ({"target": "waveform"}, "target"),
        ({"representation": "complex", "target": "mask"}, "target"),
        ({"representation": "waveform", "target": "clean"}, "target"),
        ({"exponent": 0.0}, "exponent"),
        ({"n_mels": -1}, "n_mels"),
        ({"representation": "complex", "target": "clean", "n_mels": 40}, "n_mels"),
    ],
)
def test_what_does_not_fit_is_named_with_what_is_allowed(fields, name):
    with pytest.raises(
        UsageError, match=rf"`{name}`.*must be.*Received: {list(fields.values())[-1]}"
    ):
        Features(**fields)


@given(
    npst.arrays(
        np.complex64,
        npst.array_shapes(min_dims=3, max_dims=3, max_side=6),
        elements=st.complex_numbers(max_magnitude=1e3, width=64),
    )
)
def test_channels_are_complex_numbers_turned(spectrogram):
    channels = features.complex_to_channels(spectrogram)
    batch, bins, frames = spectrogram.shape
    assert channels.shape == (batch, frames, bins, 2)
    np.testing.assert_array_equal(channels[..., 1], np.swapaxes(spectrogram.imag, 1, 2))
    np.testing.assert_array_equal(features.channels_to_complex(channels), spectrogram)
