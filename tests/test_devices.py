"""Several devices, of one machine or of several, train one network together."""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import small_dataset
from conftest import REPOSITORY

from speech_enhancement.errors import UsageError
from speech_enhancement.inference import keras_archive
from speech_enhancement.training import backups, callbacks, devices, machines

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of trainings, in which Python finds no TensorFlow, which takes long to import."""
    folder = tmp_path_factory.mktemp("trainings")
    (folder / "hidden").mkdir()
    code = 'import sys\nsys.modules["tensorflow"] = None\n'
    (folder / "hidden" / "sitecustomize.py").write_text(code)
    return folder


def start(folder, demo_data, name, *arguments, devices=1, **environment):
    """Start a short training on the JAX backend."""
    command = (
        *("main.py", "--mode", "training", "--data", "device", "--model", "dncnn"),
        *("--voice_dir", demo_data / "voices", "--noise_dir", demo_data / "noises"),
        *("--cache_dir", folder / "cache", "--workers", "1", "--frame_length", "2016"),
        *("--mix_n_rooms", "2", "--mix_reverb_rt60_s", "0.1", "0.2", "--batch_size", "4"),
        *("--steps_per_epoch", "10", "--validation_mixtures", "6", "--name_model", name),
        *("--hyperparameter", "filters=16", "depth=3"),
        *("--weights_folder", folder / "weights", "--run_dir", folder / "runs", *arguments),
    )
    environment |= {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(folder / "hidden"),
    }
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(folder, demo_data, name, *arguments):
    """Start the processes of two machines, which meet on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    together = ("--coordinator", f"127.0.0.1:{port}", "--machines", "2", "--machine_index")
    return [start(folder, demo_data, name, *arguments, *together, i) for i in range(2)]


def finished(processes, timeout=200):
    """Exit codes, and what was printed on both streams."""
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def weights(folder, name):
    return keras_archive.load(folder / "weights" / f"{name}.keras").get_weights()


@pytest.fixture(scope="module")
def of_one_device(folder, demo_data):
    """Weights that a training on one device has after its epoch of ten steps."""
    pytest.importorskip("jax")
    codes, outputs = finished([start(folder, demo_data, "one", "--epochs", "1")])
    assert codes == [0], outputs
    assert list((folder / "cache" / "compiled").iterdir())  # the others begin with it
    return weights(folder, "one")


def test_two_devices_that_share_batches_learn_what_one_learns(folder, demo_data, of_one_device):
    codes, outputs = finished([start(folder, demo_data, "two", "--epochs", "1", devices=2)])
    assert codes == [0], outputs
    assert "(2 devices)" in outputs[0][0]
    for a, b in zip(of_one_device, weights(folder, "two"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_two_machines_learn_what_one_learns_and_the_first_one_writes(
    folder, demo_data, of_one_device
):
    codes, outputs = finished(start_two(folder, demo_data, "machines", "--epochs", "1"))
    assert codes == [0, 0], outputs
    assert "(2 devices)" in outputs[0][0] and "Saved" in outputs[0][0]
    assert "loss" not in outputs[1][0] and "Saved" not in outputs[1][0]
    for a, b in zip(of_one_device, weights(folder, "machines"), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_machine_that_dies_ends_the_training_in_a_sentence_and_it_goes_on(folder, demo_data):
    pytest.importorskip("jax")
    processes = start_two(folder, demo_data, "killed", "--epochs", "100000")
    backup = folder / "runs" / "killed" / "backup" / "000000"
    until = time.monotonic() + 150
    while not backup.exists() and time.monotonic() < until:
        time.sleep(0.1)
    processes[1].kill()
    (code, _), ((_, errors), _) = finished(processes)
    assert code == 1
    assert "error: Another machine of the training has ended or can no longer" in errors
    state = backups.newest(folder / "runs" / "killed")
    more = ("--resume", "--epochs", state.epoch + 1)
    codes, outputs = finished(start_two(folder, demo_data, "killed", *more))
    assert codes == [0, 0], outputs
    assert len(callbacks.read_log(folder / "runs" / "killed" / "log.csv")) == state.epoch + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("example.org", 2, 0), "`coordinator` must be ADDRESS:PORT or auto"),
        (("example.org:99", 2, 2), "`machine_index` a number below it. Received: 2 and 2"),
        (("example.org:99",), "`machines` must be the number of machines"),
        (("auto", 2, 0), "must not be given with the coordinator auto"),
    ],
)
def test_machines_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        machines.Machines(*arguments)


def test_several_machines_need_jax_and_mixtures_of_the_device(demo_data, run_main):
    together = ("--mode", "training", "--coordinator", "localhost:99", "--machines", 2)
    outcome = run_main(*together)
    assert outcome.code == 2
    assert "`--coordinator` only has an effect with --data device" in outcome.err
    outcome = run_main(*together, "--machine_index", 0, "--data", "device")
    assert outcome.code == 2
    assert "--data device needs Keras's JAX backend" in outcome.err


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
