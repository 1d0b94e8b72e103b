"""Training in 16 bits: what is computed in them, and what the network's files hold afterwards."""

from types import SimpleNamespace

import keras
import keras_tuner
import numpy as np
import onnxruntime
import pytest
import small_dataset

from speech_enhancement.inference import keras_archive
from speech_enhancement.models import base
from speech_enhancement.training import devices

SMALL = {
    "conv1d": {"filters": 16},
    "dncnn": {"filters": 16, "depth": 3},
    "dpcrn": {"channels": 16, "core_channels": 16, "core_blocks": 1},
    "lstm": {"units": 64},
    "unet": {"base_filters": 8, "depth": 2},
}


@pytest.fixture(autouse=True)
def single_precision():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    return small_dataset.save(tmp_path_factory.mktemp("windows"))


@pytest.mark.parametrize("model", SMALL)
def test_the_output_hardly_depends_on_the_precision(model):
    hyper_model = base.make(model)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(SMALL[model])
    keras.utils.set_random_seed(0)
    exact = hyper_model.network(hp)
    keras.config.set_dtype_policy("mixed_bfloat16")
    rough = hyper_model.network(hp)
    rough.set_weights(exact.get_weights())
    shape = [n or 20 for n in exact.input_shape[1:]]
    # Levels of 100 dB, of which the lowest would be nothing in float16.
    levels = 10.0 ** np.linspace(-5.0, 0.0, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    noise = np.random.default_rng(0).standard_normal((2, *shape)) * levels
    wanted, given = (
        keras.ops.convert_to_numpy(each(noise.astype(np.float32))) for each in (exact, rough)
    )
    assert given.dtype == np.float32
    assert any(layer.compute_dtype == "bfloat16" for layer in rough.layers)
    assert 0 < np.std(given - wanted) < 0.05 * np.std(wanted)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_files_are_those_of_a_training_in_32_bits(policy, windows, tmp_path, run_main, monkeypatch):
    monkeypatch.setattr(devices, "half_precision", lambda: policy)
    command = [
        *("--mode", "training", "--model", "dncnn", "--name_model", "mine", "--epochs", "1"),
        *("--hyperparameter", "filters=16", "depth=3", "--batch_size", "4", "--mixed_precision"),
        *("--path_save_spectrogram", windows, "--save_optimizer"),
        *("--weights_folder", tmp_path, "--run_dir", tmp_path / "runs"),
    ]
    outcome = run_main(*command)
    assert outcome.code == 0, outcome.err
    network = keras_archive.load(tmp_path / "mine.keras", compile=True)
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
    assert np.abs(network.optimizer.variables[2]).max() > 0  # a moment
    noise = np.random.default_rng(0).random((1, *network.input_shape[1:]), np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx")
    (twin,) = session.run(None, {session.get_inputs()[0].name: noise})
    np.testing.assert_allclose(twin, network(noise), atol=1e-5)

    outcome = run_main(*command, "--no-training_from_scratch", "--learning_rate", "1e-9")
    assert outcome.code == 0, outcome.err
    after = keras_archive.load(tmp_path / "mine.keras").get_weights()
    for a, b in zip(network.get_weights(), after, strict=True):
        np.testing.assert_allclose(a, b, atol=0.05)


@pytest.mark.parametrize(
    ("gpus", "capability", "policy"),
    [
        ([], (0, 0), "mixed_bfloat16"),
        (["T4"], (7, 5), "mixed_float16"),
        (["A100"], (8, 0), "mixed_bfloat16"),
    ],
)
def test_old_gpus_have_another_half_precision(gpus, capability, policy, monkeypatch):
    monkeypatch.setattr(devices, "gpu_names", lambda: gpus)
    monkeypatch.setattr(devices, "_compute_capability", lambda: capability)
    assert devices.half_precision() == policy


@pytest.mark.parametrize(
    ("device", "capability"),
    [
        (SimpleNamespace(compute_capability="7.5"), (7, 5)),
        (SimpleNamespace(compute_capability="gfx90a"), devices.BFLOAT16),  # of another maker
        (SimpleNamespace(), devices.BFLOAT16),  # a TPU
    ],
)
def test_devices_without_a_compute_capability_have_bfloat16(device, capability, monkeypatch):
    jax = pytest.importorskip("jax")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert devices._compute_capability() == capability


def test_dpcrn_trains_with_its_default_loss(demo_data, tmp_path, run_main):
    outcome = run_main(
        *("--mode", "training", "--model", "dpcrn", "--data", "dynamic", "--mixed_precision"),
        *("--voice_dir", demo_data / "voices", "--noise_dir", demo_data / "noises"),
        *("--cache_dir", tmp_path / "cache", "--workers", "1", "--mixing_workers", "0"),
        *("--epochs", "1", "--steps_per_epoch", "2", "--batch_size", "2"),
        *("--validation_mixtures", "2", "--hyperparameter", "channels=16", "core_blocks=1"),
        *("--weights_folder", tmp_path / "weights", "--run_dir", tmp_path / "runs"),
    )
    assert outcome.code == 0, outcome.err
    network = keras_archive.load(tmp_path / "weights/dpcrn_1.keras", "dpcrn")
    assert {layer.dtype_policy.name for layer in network.layers} == {"float32"}
