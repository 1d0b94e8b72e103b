"""The changes that CONTRIBUTING.md shows are applied to a copy of the project, and work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

BUILD = """
import numpy as np, keras_tuner
from speech_enhancement import registry
gains = registry.resolve(registry.MODELS, "model", "gains")
model = gains(loss="charbonnier").build(keras_tuner.HyperParameters())
windows = np.ones((2, 128, 128, 1), np.float32)
print(model.train_on_batch(windows, windows)[0])
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of the project with every change of CONTRIBUTING.md."""
    copy = tmp_path_factory.mktemp("project")
    for path in [REPOSITORY / "main.py", *REPOSITORY.glob("speech_enhancement/**/*.py")]:
        target = copy / path.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for diff in re.findall(
        r"```diff\n(.*?)```", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.DOTALL
    ):
        subprocess.run(["git", "apply"], cwd=copy, input=diff, text=True, check=True)
    return copy


def run(folder, *command):
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def test_the_mode_runs_and_help_names_mode_model_and_loss(changed, demo_data):
    recording = demo_data / "clean" / "alarm.wav"
    assert run(changed, "main.py", "--mode", "length", recording) == f"3.26 s  {recording}\n"
    assert "length  " in run(changed, "main.py", "--help")
    options = run(changed, "main.py", "--mode", "training", "--help")
    assert {"gains", "charbonnier"} <= set(re.findall(r"\w+", options))


def test_the_model_trains_with_the_loss(changed):
    assert float(run(changed, "-c", BUILD)) > 0
