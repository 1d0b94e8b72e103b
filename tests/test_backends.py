"""Models and losses on another backend than TensorFlow, in a process of its own."""

import importlib.util
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

# One each of the convolutional, recurrent and waveform networks: JAX compiles for seconds.
NAMES = ("dncnn", "lstm", "conv1d")
CODE = """
import sys
import keras, numpy, pytest
import test_models

for name in sys.argv[1:]:
    hyper_model = test_models.make(name)
    model = test_models.build(hyper_model, name)
    test_models.train_one_step(hyper_model, model, numpy.random.default_rng(0))
    print("trained", name, "with", keras.backend.backend(), flush=True)
options = ["-n", "0", "-p", "no:cacheprovider", "-k", "formula or of_jax"]
files = [f"tests/test_{name}.py" for name in ("losses", "jax_recurrence", "gru_kernel")]
sys.exit(pytest.main([*options, *files]))
"""


@pytest.mark.parametrize("backend", ["jax"])
def test_models_and_losses_do_not_depend_on_the_backend(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    paths = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", CODE, *NAMES],
        cwd=REPOSITORY,
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("trained")] == [
        f"trained {name} with {backend}" for name in NAMES
    ]
