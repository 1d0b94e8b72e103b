"""The streaming network: its loss, its causality, and its ONNX graph against Keras."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_tuner
import numpy as np
import onnxruntime
import pytest

from speech_enhancement import errors
from speech_enhancement.inference import keras_archive
from speech_enhancement.models import dpcrn, losses, spectral_ops
from speech_enhancement.signal import dsp, features
from speech_enhancement.training import saving

SMALL = {"channels": 16, "core_channels": 16, "core_bands": 16, "core_blocks": 2}
N_FRAMES = 14


@pytest.fixture(scope="module")
def hyper_model():
    return dpcrn.DPCRN()


@pytest.fixture(scope="module")
def network(hyper_model):
    keras.utils.set_random_seed(0)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(SMALL)
    model = hyper_model.network(hp)
    rng = np.random.default_rng(0)
    # Biases are zero in a new network, which would hide a mistake in them.
    model.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def session(hyper_model, network):
    graph = hyper_model.onnx_graph(network).SerializeToString()
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def spectrum(hyper_model):
    rng = np.random.default_rng(1)
    waveform = 0.05 * rng.standard_normal((1, (N_FRAMES - 1) * hyper_model.audio.hop_length_fft))
    return features.complex_to_channels(dsp.stft(waveform, hyper_model.audio))


def state_of(session):
    return {
        value.name: np.zeros(value.shape, np.float32)
        for value in session.get_inputs()
        if value.name.startswith("state_")
    }


def run(session, spectrum, state):
    names = [value.name for value in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"spectrum": spectrum, **state}), strict=True))
    enhanced = outputs.pop("enhanced")
    return enhanced, {name.removeprefix("next_"): value for name, value in outputs.items()}


def error_db(estimate, reference):
    return 20 * np.log10(np.linalg.norm(estimate - reference) / np.linalg.norm(reference) + 1e-20)


def test_default_network_keeps_to_its_size(hyper_model):
    assert hyper_model.network(keras_tuner.HyperParameters()).count_params() <= 250_000


def test_onnx_graph_equals_keras(network, session, spectrum):
    expected = keras.ops.convert_to_numpy(network(spectrum))
    enhanced, _ = run(session, spectrum, state_of(session))
    assert enhanced.shape == spectrum.shape
    assert error_db(enhanced, expected) < -100


@pytest.mark.parametrize("chunk", [1, 7])
def test_streaming_equals_batch(session, spectrum, chunk):
    whole, _ = run(session, spectrum, state_of(session))
    state, parts = state_of(session), []
    for begin in range(0, N_FRAMES, chunk):
        part, state = run(session, spectrum[:, begin : begin + chunk], state)
        parts.append(part)
    assert error_db(np.concatenate(parts, axis=1), whole) < -100


def test_network_is_causal(network, spectrum):
    changed = spectrum.copy()
    changed[:, 8:] *= -3.0
    before = keras.ops.convert_to_numpy(network(spectrum))
    after = keras.ops.convert_to_numpy(network(changed))
    np.testing.assert_allclose(after[:, :8], before[:, :8], atol=1e-6)
    assert np.abs(after[:, 8:] - before[:, 8:]).max() > 1e-3


def test_a_new_network_lets_everything_through(hyper_model, spectrum):
    new = hyper_model.network(keras_tuner.HyperParameters())
    noise = np.linalg.norm(np.asarray(new(spectrum)) - spectrum) / np.linalg.norm(spectrum)
    assert noise < 0.5  # a random mask makes it more than 1


def test_a_few_steps_of_training_lower_the_loss(hyper_model, spectrum):
    spectrum = np.tile(spectrum, (1, 3, 1, 1))
    hp = keras_tuner.HyperParameters()
    hp.values = dict(SMALL)
    model = hyper_model.build(hp)
    clean = np.where(np.arange(257)[:, np.newaxis] < 64, spectrum, 0.0)
    first = model.train_on_batch(spectrum, clean)
    for _ in range(4):
        last = model.train_on_batch(spectrum, clean)
    assert last < first


def test_spectral_ops_invert_each_other_and_agree_with_numpy(hyper_model, rng):
    waveform = rng.standard_normal((2, 20 * 256)).astype(np.float32)
    spectrogram = dsp.stft(waveform, hyper_model.audio)
    channels = features.complex_to_channels(spectrogram)
    resynthesised = keras.ops.convert_to_numpy(spectral_ops.istft(channels, 256))
    np.testing.assert_allclose(resynthesised[:, 256:-256], waveform, atol=1e-5)
    again = keras.ops.convert_to_numpy(spectral_ops.stft(resynthesised, 512, 256))
    np.testing.assert_allclose(again[:, 1:-1], channels[:, 1:-1], atol=1e-3)


def test_loss_is_lowest_for_the_truth_and_ignores_the_common_level(hyper_model, rng):
    waveform = 0.1 * rng.standard_normal((1, 40 * 256))
    clean = features.complex_to_channels(dsp.stft(waveform, hyper_model.audio))
    noisy = clean + 0.3 * np.std(clean) * rng.standard_normal(clean.shape).astype(np.float32)
    loss = losses.CompressedSpectrum()
    assert float(loss(clean, clean)) < float(loss(clean, noisy))
    assert float(loss(clean, noisy)) == pytest.approx(float(loss(4 * clean, 4 * noisy)), rel=1e-3)


def test_si_snr_is_that_of_its_definition(rng):
    clean = rng.standard_normal((1, 4000)).astype(np.float32)
    estimate = clean + 0.1 * rng.standard_normal((1, 4000)).astype(np.float32)
    target = (clean @ estimate.T) / (clean @ clean.T) * clean
    expected = 10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2))
    value = keras.ops.convert_to_numpy(losses.si_snr_db(clean, estimate))
    np.testing.assert_allclose(value, [expected], rtol=1e-4)
    assert float(losses.si_snr_db(np.zeros((1, 400), "float32"), estimate[:, :400])[0]) == 0.0


@pytest.mark.parametrize("n_frames", [1, None])
def test_step_with_its_state_is_the_network(hyper_model, network, spectrum, n_frames):
    hp = keras_tuner.HyperParameters()
    hp.values = dict(SMALL)
    step = hyper_model.step_network(hp, n_frames)
    saving.copy_weights(network, step)
    states = {x.name: np.zeros(x.shape, np.float32) for x in step.inputs[1:]}
    enhanced = []
    for frames in np.split(spectrum, N_FRAMES // (n_frames or 2), axis=1):
        outputs = step.predict_on_batch([frames, *states.values()])
        enhanced.append(outputs["enhanced"])
        states = {name: outputs[f"next_{name}"] for name in states}
    expected = network.predict_on_batch(spectrum)
    np.testing.assert_allclose(np.concatenate(enhanced, axis=1), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def offline(hyper_model):
    keras.utils.set_random_seed(0)
    hp = keras_tuner.HyperParameters()
    hp.values = {**SMALL, "time_units": 32, "bidirectional": True}
    model = hyper_model.network(hp)
    rng = np.random.default_rng(0)
    model.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model


class TestBidirectional:
    """The network for recordings: the same layers, with GRUs that run both ways."""

    def test_its_layers_have_the_names_of_the_causal_ones(self, offline, network):
        assert {layer.name for layer in offline.layers} == {layer.name for layer in network.layers}

    def test_it_hears_what_is_to_come_and_the_causal_one_does_not(self, offline, network, spectrum):
        later = spectrum.copy()
        later[:, -1] += 1.0
        for model, changes in ((offline, True), (network, False)):
            before, after = (np.asarray(model(x))[:, 0] for x in (spectrum, later))
            assert (np.abs(after - before).max() > 1e-6) == changes

    def test_its_onnx_twin_is_the_same(self, hyper_model, offline, spectrum):
        graph = hyper_model.onnx_graph(offline).SerializeToString()
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        kept = {"kept": np.array(spectrum.shape[1], np.int64)}
        enhanced, _ = run(session, spectrum, {**state_of(session), **kept})
        assert error_db(enhanced, np.asarray(offline(spectrum))) < -80

    def test_scanned_frames_equal_unrolled_ones(self, offline, spectrum, monkeypatch):
        scanned = np.asarray(offline(spectrum))
        monkeypatch.setattr(dpcrn, "MOST_UNROLLED_FRAMES", 10 * N_FRAMES)
        assert error_db(np.asarray(offline(spectrum)), scanned) < -80

    def test_its_card_says_that_it_takes_any_length_and_does_not_stream(
        self, hyper_model, offline, tmp_path
    ):
        card = saving.save_network(tmp_path / "offline", offline, hyper_model)
        assert card.any_length and not card.streaming
        loaded = keras_archive.load(tmp_path / "offline.keras")
        for a, b in zip(loaded.get_weights(), offline.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_it_has_no_state_to_carry(self, hyper_model):
        hp = keras_tuner.HyperParameters()
        hp.values = {**SMALL, "bidirectional": True}
        with pytest.raises(errors.UsageError, match="cannot stream"):
            hyper_model.step_network(hp)
