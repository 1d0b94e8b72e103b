"""Every registered model, from its hyper-parameters to the sound that its saved files give."""

import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_tuner
import numpy as np
import pytest
from small_dataset import AUDIO

from speech_enhancement import registry
from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.inference import keras_archive
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.signal.features import Features
from speech_enhancement.training import saving

N_WINDOWS = 2
SMALL = {
    "unet": {"base_filters": 8, "depth": 2},
    "dncnn": {"filters": 16, "depth": 3},
    "resunet": {"backbone": "mobilenetv2", "decoder_width": 0.25},
    "resnet": {"filters": 16, "blocks": 2, "dilated": True},
    "lstm": {"units": 64, "layers": 1},
    "conv1d": {"filters": 16, "skip_connections": True, "multi_scale": True},
    "dpcrn": {"channels": 16, "core_channels": 16, "core_bands": 16, "core_blocks": 1},
}


class Toy(DenoisingHyperModel):
    """One convolution: what the smallest new model has to say of itself."""

    def network(self, hp):
        inputs = keras.Input(self.input_shape)
        return keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same")(inputs))


def make(name, **features):
    """A HyperModel on windows as short as it takes."""
    model_class = registry.resolve(registry.MODELS, "model", name)
    own = model_class.default_audio
    audio = AUDIO if own == AudioConfig() else dataclasses.replace(own, frame_length=4096)
    own_features = model_class.default_features
    return model_class(audio=audio, features=dataclasses.replace(own_features, **features))


def values(chosen):
    """Hyper-parameters with some values chosen."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(chosen)
    return hp


def build(hyper_model, name):
    """Its network, compiled for single steps: to TensorFlow, tracing would cost more than they."""
    model = hyper_model.build(values(SMALL.get(name, {})))
    model.run_eagerly = keras.backend.backend() == "tensorflow"
    return model


def windows(hyper_model, rng):
    """Noisy and clean waveforms (windows, samples)."""
    shape = (N_WINDOWS, hyper_model.audio.frame_length)
    clean = 0.05 * rng.standard_normal(shape).astype(np.float32)
    return clean + 0.02 * rng.standard_normal(shape).astype(np.float32), clean


def train_one_step(hyper_model, model, rng):
    noisy, clean = windows(hyper_model, rng)
    batch = hyper_model.features.pair_of_waveforms(noisy, clean, hyper_model.audio)
    before = [np.array(w) for w in model.get_weights()]
    loss = model.train_on_batch(*batch, return_dict=True)["loss"]
    assert np.isfinite(loss)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    assert all(np.isfinite(w).all() for w in model.get_weights())


def denoise(hyper_model, model, noisy):
    def network(batch):
        return np.asarray(model(batch, training=False))

    return hyper_model.features.denoise(noisy, network, hyper_model.audio)


@pytest.mark.parametrize("name", [*registry.MODELS, "toy"])
def test_it_trains_saves_reloads_and_denoises(name, tmp_path, rng, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "toy", f"{__name__}:Toy")
    hyper_model = make(name)
    model = build(hyper_model, name)
    train_one_step(hyper_model, model, rng)

    model.save(tmp_path / "net.keras")
    reloaded = keras_archive.load(tmp_path / "net.keras")
    noisy, _ = windows(hyper_model, rng)
    expected = denoise(hyper_model, model, noisy)
    assert expected.shape == noisy.shape
    np.testing.assert_array_equal(denoise(hyper_model, reloaded, noisy), expected)

    card = saving.save_network(tmp_path / "net", model, hyper_model)
    assert card.model == hyper_model.name == name
    enhancer = Enhancer.load(tmp_path / "net", runtime="onnx", threads=1)
    assert enhancer.enhance(noisy[0], card.audio.sample_rate).shape == noisy[0].shape
    if not card.streaming:
        actual = card.features.denoise(noisy, enhancer.network, card.audio)
        np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize("representation", ["magnitude_db", "magnitude"])
@pytest.mark.parametrize("target", ["noise_db", "clean", "mask", "noise_mask"])
@pytest.mark.parametrize("n_mels", [0, 12])
def test_every_target_of_magnitudes_trains_and_denoises(representation, target, n_mels, rng):
    hyper_model = make("dncnn", representation=representation, target=target, n_mels=n_mels)
    model = build(hyper_model, "dncnn")
    train_one_step(hyper_model, model, rng)
    noisy, _ = windows(hyper_model, rng)
    clean = hyper_model.features.denoise(noisy, model.predict_on_batch, hyper_model.audio)
    assert clean.shape == noisy.shape
    assert np.isfinite(clean).all()


def test_sides_need_not_be_multiples_of_the_stride():
    hyper_model = registry.resolve(registry.MODELS, "model", "unet")(
        audio=AudioConfig(8000, 69, 16, 700)
    )
    network = hyper_model.network(keras_tuner.HyperParameters())
    assert network.output_shape == (None, 35, 44, 1)


@pytest.mark.parametrize("base_filters", [8, 32])
def test_a_unet_of_any_size_begins_where_its_output_can_move(base_filters):
    keras.utils.set_random_seed(0)
    hyper_model = registry.resolve(registry.MODELS, "model", "unet")(AudioConfig(frame_length=2016))
    hp = keras_tuner.HyperParameters()
    hp.Fixed("base_filters", base_filters)
    noisy = np.random.default_rng(0).standard_normal((1, *hyper_model.input_shape))
    assert np.abs(hyper_model.network(hp)(noisy.astype("float32"))).max() < 0.5


@pytest.mark.parametrize("name", ["unet", "resunet"])
def test_a_patch_smaller_than_the_stride_is_refused(name):
    model_class = registry.resolve(registry.MODELS, "model", name)
    with pytest.raises(UsageError, match=r"at least (16 x 16|32 x 32)\. Received: 8 x 39"):
        model_class(audio=AudioConfig(8000, 15, 4, 156)).build(keras_tuner.HyperParameters())


class TestConv1D:
    def network(self, rng, time, **options):
        hyper_model = make("conv1d")
        noisy, _ = windows(hyper_model, rng)
        network = hyper_model.network(values({"filters": 16, "time": time, **options}))
        return network, noisy[..., np.newaxis]

    def test_the_default_is_the_network_of_the_article(self):
        model_class = registry.resolve(registry.MODELS, "model", "conv1d")
        convolutions = 32 * 9 + 32 + 32 * 32 * 9 + 32 + 32 * 9 + 1
        mlp = 2 * (32 * 32 + 32)
        network = model_class().network(keras_tuner.HyperParameters())
        weights = sum(w.shape.num_elements() for w in network.trainable_weights)
        assert weights == convolutions + mlp
        assert network.input_shape == (None, 16000, 1)

    @pytest.mark.parametrize("time", ["position", "random"])
    def test_prediction_gives_the_same_result_each_time(self, time, rng):
        network, noisy = self.network(rng, time)
        first, second = network(noisy, training=False), network(noisy, training=False)
        np.testing.assert_array_equal(first, second)

    def test_a_drawn_time_is_another_in_each_training_step(self, rng):
        network, noisy = self.network(rng, "random")
        assert np.abs(network(noisy, training=True) - network(noisy, training=True)).max() > 0.0

    def test_with_skip_connections_it_starts_as_the_identity(self, rng):
        network, noisy = self.network(rng, "position", depth=6, skip_connections=True)
        np.testing.assert_array_equal(network(noisy, training=False), noisy)

    def test_the_position_is_told_to_each_sample(self, rng):
        network, noisy = self.network(rng, "position")
        output = np.asarray(network(np.ones_like(noisy[:1]), training=False))[0, 20:-20, 0]
        assert np.ptp(output) > 0.0


class TestResUNet:
    def make(self, pretrained):
        model_class = registry.resolve(registry.MODELS, "model", "resunet")
        return model_class(audio=AUDIO, backbone="resnet50", pretrained=pretrained)

    def test_a_file_of_weights_starts_the_encoder(self, tmp_path):
        path = tmp_path / "encoder.weights.h5"
        encoder = keras.applications.ResNet50(
            include_top=False, weights=None, input_shape=(32, 64, 3)
        )
        encoder.save_weights(path)
        network = self.make(str(path)).network(keras_tuner.HyperParameters())
        loaded = network.get_layer("resnet50").get_weights()
        assert all((a == b).all() for a, b in zip(encoder.get_weights(), loaded, strict=True))

    def test_a_missing_file_is_one_sentence(self, tmp_path):
        with pytest.raises(UserError, match=r"`pretrained` must be imagenet.*none\.h5"):
            self.make(str(tmp_path / "none.h5")).network(keras_tuner.HyperParameters())

    def test_no_network_to_download_from_is_one_sentence(self, monkeypatch):
        def unreachable(*args, **kwargs):
            raise Exception("URL fetch failure on https://example: None -- unreachable")

        monkeypatch.setattr(keras.utils, "get_file", unreachable)
        monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
        with pytest.raises(UserError, match=r"Received: imagenet \(URL fetch failure") as raised:
            self.make("imagenet").network(keras_tuner.HyperParameters())
        assert "\n" not in str(raised.value)

    def test_an_unknown_backbone_is_refused(self):
        with pytest.raises(UsageError, match=r"resnet101, mobilenetv2\. Received: vgg"):
            registry.resolve(registry.MODELS, "model", "resunet")(backbone="vgg")


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("unet", {"loss": "si_sdr"}, "must be one of huber, log_cosh, mse, mae"),
        ("unet", {"loss": "mask"}, "target `noise_db`"),
        ("unet", {"features": Features(target="noise_mask"), "loss": "mse"}, "one of mask"),
        ("conv1d", {"loss": "mask"}, "multi_res_stft, si_sdr"),
        ("conv1d", {"features": Features()}, "`representation` of `conv1d`"),
        ("dncnn", {"features": Features(n_mels=129)}, "128 bins"),
    ],
)
def test_what_does_not_fit_a_model_is_refused(name, arguments, words):
    with pytest.raises(UsageError, match=words):
        registry.resolve(registry.MODELS, "model", name)(**arguments)
