"""Losses and the training metric against their formulas in numpy."""

import keras
import keras_tuner
import numpy as np
import pytest

from speech_enhancement import registry
from speech_enhancement.models.losses import SignalToNoiseRatio, snr_db
from speech_enhancement.signal.dsp import stft_window

WAVEFORM_LOSSES = registry.LOSSES_OF_TARGET["waveform"]


def make(name, **arguments):
    return registry.resolve(registry.LOSSES, "loss", name)(**arguments)


@pytest.fixture
def waveforms(rng):
    clean = 0.1 * rng.standard_normal((3, 4096, 1)).astype(np.float32)
    return clean, clean + 0.02 * rng.standard_normal(clean.shape).astype(np.float32)


def pointwise(error, name):
    size = np.abs(error)
    return {
        "mse": error**2,
        "mae": size,
        "huber": np.where(size <= 1.0, 0.5 * error**2, size - 0.5),
        "log_cosh": np.log(np.cosh(error)),
    }[name].mean()


@pytest.mark.parametrize("name", registry.POINTWISE)
def test_pointwise_losses_are_their_formulas(name, rng):
    target, output = rng.normal(0.0, 2.0, (2, 4, 16, 16, 1))
    expected = pointwise(target - output, name)
    assert float(make(name)(target, output)) == pytest.approx(expected, rel=1e-4)


def test_the_mask_loss_is_half_the_squared_error_of_the_noise(rng):
    noisy, noise, mask = rng.uniform(0.0, 1.0, (3, 2, 8, 8))
    target = np.stack([noisy, noise], axis=-1)
    expected = 0.5 * ((mask * noisy - noise) ** 2).mean()
    assert float(make("mask")(target, mask[..., None])) == pytest.approx(expected, rel=1e-5)


def numpy_magnitude(waveform, n_fft):
    frames = np.lib.stride_tricks.sliding_window_view(waveform, n_fft, axis=-1)
    frames = frames[:, :: n_fft // 4] * stft_window("sqrt_hann", n_fft)
    return np.sqrt(np.abs(np.fft.rfft(frames)) ** 2 + 1e-7)


def test_multi_resolution_stft_is_its_formula(waveforms):
    clean, output = waveforms
    spectral = 0.0
    for n_fft in (256, 512):
        s, e = (numpy_magnitude(w[..., 0], n_fft) for w in (clean, output))
        convergence = np.linalg.norm(s - e, axis=(1, 2)) / np.linalg.norm(s, axis=(1, 2))
        spectral += (convergence + np.abs(np.log(s / e)).mean(axis=(1, 2))).mean() / 2
    loss = make("multi_res_stft", n_ffts=(256, 512))
    expected = np.abs(clean - output).mean() + spectral
    assert float(loss(clean, output)) == pytest.approx(expected, rel=1e-4)


def test_si_sdr_is_its_formula(waveforms):
    clean, output = waveforms
    gain = (clean * output).sum(axis=1) / (clean**2).sum(axis=1)
    voice = gain[:, None] * clean
    ratio = (voice**2).sum(axis=(1, 2)) / ((output - voice) ** 2).sum(axis=(1, 2))
    expected = (np.abs(1.0 - gain[:, 0]) - 10.0 * np.log10(ratio)).mean()
    assert float(make("si_sdr")(clean, output)) == pytest.approx(expected, rel=1e-4)


def test_si_sdr_ignores_gain_and_sign_but_for_the_level_term(waveforms):
    clean, output = waveforms
    ratio = make("si_sdr", level=0.0)
    assert float(ratio(clean, -3.0 * output)) == pytest.approx(
        float(ratio(clean, output)), rel=1e-4
    )
    assert make("si_sdr")(clean, -output) > make("si_sdr")(clean, output)


def test_the_metric_is_the_signal_to_noise_ratio_in_decibels(rng):
    target = rng.standard_normal((2, 8, 8, 1)).astype(np.float32)
    output = target * np.array([0.9, 0.99], np.float32).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(snr_db(target, output), [20.0, 40.0], atol=1e-2)


@pytest.mark.parametrize("name", WAVEFORM_LOSSES)
def test_a_better_waveform_has_a_lower_loss(name, waveforms):
    clean, output = waveforms
    loss = make(name)
    assert loss(clean, 0.5 * (clean + output)) < loss(clean, output)


@pytest.mark.parametrize("name", WAVEFORM_LOSSES)
def test_silence_gives_a_number_and_a_gradient(name):
    silence = np.zeros((2, 4096, 1), np.float32)
    model = keras.Sequential([keras.Input((4096, 1)), keras.layers.Conv1D(1, 1)])
    model.compile("sgd", make(name), run_eagerly=True)
    assert np.isfinite(model.train_on_batch(silence, silence))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("name", registry.LOSSES)
def test_losses_survive_being_saved(name):
    loss = make(name)
    stored = keras.saving.serialize_keras_object(loss)
    twin = keras.saving.deserialize_keras_object(stored, safe_mode=True)
    assert type(twin) is type(loss)
    assert twin.get_config() == loss.get_config()


@pytest.mark.parametrize("name", WAVEFORM_LOSSES)
def test_losses_of_waveforms_train_where_the_graph_leaves_the_length_open(name, waveforms):
    """The kind: a loss that was only ever called eagerly asks for a shape that `fit` lacks."""
    network = keras.Sequential(
        [keras.Input((None, 1)), keras.layers.Conv1D(1, 3, padding="same", name="filter")]
    )
    network.compile(optimizer="adam", loss=make(name))
    history = network.fit(*waveforms, batch_size=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_noise_left_in_silence_does_not_outweigh_voices(rng):
    loss = make("multi_res_stft")
    voice, noise = 0.1 * rng.standard_normal((2, 4, 4096, 1)).astype(np.float32)
    lost = float(loss(voice, np.zeros_like(voice)))
    left = float(loss(np.zeros_like(voice), 0.1 * noise))
    assert left < lost
    quiet = 10.0 ** (-35.0 / 20.0)
    assert float(loss(quiet * voice, quiet * (voice + noise))) > 0.1


def test_noise_left_in_a_pause_costs_less_than_a_lost_voice(rng):
    loss = make("compressed_spectrum", si_snr=0.0)
    voice = rng.standard_normal((4, 63, 257, 2)).astype(np.float32)
    silence = np.zeros_like(voice)
    assert loss(silence, 0.1 * voice) < loss(voice, silence)


def test_missing_voice_costs_more_than_noise_that_is_left(rng):
    """Half the voice costs half as much again; noise on top of all of it costs what it did."""
    clean = rng.standard_normal((2, 30, 129, 2)).astype(np.float32)
    softer, louder = 0.5 * clean, 1.5 * clean
    plain, asymmetric = (
        make("compressed_spectrum", complex=0.0, si_snr=0.0, over_attenuation=weight)
        for weight in (0.0, 0.5)
    )
    for output, factor in ((softer, 1.5), (louder, 1.0)):
        assert float(asymmetric(clean, output)) == pytest.approx(
            factor * float(plain(clean, output)), rel=1e-4
        )
    assert asymmetric.get_config()["over_attenuation"] == 0.5


def test_the_weight_of_missing_voice_is_a_hyper_parameter():
    hyper_model = registry.resolve(registry.MODELS, "model", "dpcrn")()
    hp = keras_tuner.HyperParameters()
    hp.values["over_attenuation"] = 0.3
    assert hyper_model.loss_options(hp, "compressed_spectrum") == {"over_attenuation": 0.3}


@pytest.mark.parametrize("weights", [None, [1.0, 3.0, 1.0]])
def test_windows_without_a_voice_do_not_count_in_the_ratio(weights, rng):
    voice = rng.normal(0.0, 0.1, (2, 16000, 1)).astype("float32")
    clean = np.concatenate([voice, np.zeros_like(voice[:1])])
    estimate = clean * np.float32([[[0.9]], [[0.99]], [[1.0]]])  # 20 dB, 40 dB
    estimate[2] = 0.1
    metric = SignalToNoiseRatio()
    metric.update_state(clean, estimate, weights)
    assert float(metric.result()) == pytest.approx(30.0 if weights is None else 35.0, abs=1e-2)
