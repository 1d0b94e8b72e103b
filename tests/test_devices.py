"""Several devices of one machine train one network together."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import small_dataset
from conftest import REPOSITORY

from speech_enhancement.inference import keras_archive
from speech_enhancement.training import devices

TWO_DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, ".")
from speech_enhancement.cli import main
sys.exit(main.main(sys.argv[1:]))
"""


def test_two_devices_train_and_search(tmp_path):
    windows = small_dataset.save(tmp_path / "windows", n_train=16)
    data = ("--path_save_spectrogram", windows, "--batch_size", "4", "--model", "dncnn")
    small = ("--hyperparameter", "filters=16", "depth=3", "dropout=0.25")
    commands = [
        (
            *("--mode", "training", *data, *small, "--epochs", "2", "--schedule", "cosine"),
            *("--weights_folder", tmp_path, "--run_dir", tmp_path / "runs"),
        ),
        (
            *("--mode", "tuning", *data, *small, "loss=mse", "--epochs", "1"),
            *("--dir_tuning", tmp_path, "--tuner", "random", "--max_trials", "1"),
        ),
    ]
    outputs = []
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", TWO_DEVICES, *map(str, command)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "on the CPU (2 devices)" in outputs[0]
    assert "Best: trial 0" in outputs[1]
    card = json.loads((tmp_path / "dncnn_1.json").read_text())
    assert card["training"]["epochs"] == 2


def weights_after_ten_steps(folder, demo_data, count):
    """Weights that a training on the JAX backend has after its epoch of ten steps."""
    command = (
        *("main.py", "--mode", "training", "--data", "device", "--model", "dncnn"),
        *("--voice_dir", demo_data / "voices", "--noise_dir", demo_data / "noises"),
        *("--cache_dir", folder / "cache", "--workers", "1", "--frame_length", "2016"),
        *("--mix_n_rooms", "2", "--mix_reverb_rt60_s", "0.1", "0.2", "--batch_size", "4"),
        *("--steps_per_epoch", "10", "--epochs", "1", "--validation_mixtures", "6"),
        *("--hyperparameter", "filters=16", "depth=3", "--name_model", "net"),
        *("--weights_folder", folder / f"{count}", "--run_dir", folder / f"runs{count}"),
    )
    flags = f"--xla_force_host_platform_device_count={count}"
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=REPOSITORY,
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("(2 devices)" in done.stdout) is (count == 2)
    return keras_archive.load(folder / f"{count}" / "net.keras").get_weights()


def test_two_devices_that_share_batches_learn_what_one_learns(tmp_path, demo_data):
    pytest.importorskip("jax")
    one, two = (weights_after_ten_steps(tmp_path, demo_data, count) for count in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_batches_are_cut_into_equal_parts():
    class Batches:
        n_windows, batch_size, name = 9, 4, "windows"

        def __len__(self):
            return 3

        def __getitem__(self, index):
            windows = np.arange(9)[4 * index : 4 * index + 4]
            return windows, windows

    parts = devices.EqualParts(Batches(), 2)
    assert [parts[i][0].tolist() for i in range(len(parts))] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert parts.name == "windows"
