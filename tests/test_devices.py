"""Several devices of one machine train one network together."""

import json
import subprocess
import sys

import small_dataset
from conftest import REPOSITORY

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
