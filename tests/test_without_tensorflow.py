"""Training on the JAX backend where there is no TensorFlow, in a process of its own."""

import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

pytest.importorskip("jax")

# Every model; the twin of the last one alone is written without TensorFlow.
SMALL = {
    "dncnn": ["filters=16", "depth=3"],
    "unet": ["base_filters=8", "depth=2"],
    "resnet": ["filters=16", "blocks=2"],
    "lstm": ["units=64", "layers=1"],
    "conv1d": ["filters=16"],
    "resunet": ["backbone=mobilenetv2", "decoder_width=0.25"],
    "dpcrn": ["channels=16", "core_channels=16", "core_bands=16", "core_blocks=1"],
}
CODE = """
import sys

for name in ("tensorflow", "tf2onnx", "tf_keras"):
    sys.modules[name] = None
from speech_enhancement.cli import main

folder, models = sys.argv[1], sys.argv[2:]
for model in models:
    name, *values = model.split(",")
    length = "8192" if name == "dpcrn" else "2016"
    arguments = [
        "--mode", "training", "--data", "device", "--model", name, "--name_model", name,
        "--voice_dir", "demo_data/voices", "--noise_dir", "demo_data/noises", "--workers", "1",
        "--cache_dir", f"{folder}/cache", "--weights_folder", f"{folder}/weights",
        "--run_dir", f"{folder}/runs", "--frame_length", length, "--mix_n_rooms", "2",
        "--mix_reverb_rt60_s", "0.1", "0.2", "--batch_size", "2", "--steps_per_epoch", "2",
        "--epochs", "1", "--validation_mixtures", "2", "--hyperparameter", *values,
    ]
    assert main.main(arguments) == 0, name
    if name not in ("dncnn", "dpcrn"):
        continue
    arguments = ["--weights_folder", f"{folder}/weights", "--name_model", name]
    recording = "demo_data/noisy/hum.wav"
    result = ["--dir_save_prediction", f"{folder}/{name}", "--end", "1"]
    assert main.main([recording, *arguments, *result]) == 0, name
"""


def test_networks_are_trained_on_the_device_saved_and_used(tmp_path):
    models = [",".join([name, *values]) for name, values in SMALL.items()]
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path), *models],
        cwd=REPOSITORY,
        env=os.environ
        | {
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": str(REPOSITORY),
            # Two steps are not worth a thorough compilation.
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        },
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    saved = {path.name for path in (tmp_path / "weights").iterdir()}
    for name in SMALL:
        assert {f"{name}.keras", f"{name}.json"} <= saved
    for name in ("dncnn", "dpcrn"):
        assert list((tmp_path / name).glob("*.wav"))
    # That of dpcrn is written without TensorFlow.
    assert {name for name in saved if name.endswith(".onnx")} == {"dpcrn.onnx"}
    assert "note: dncnn.onnx needs packages that are not installed" in done.stderr
