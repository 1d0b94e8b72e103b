"""The package is installed into an environment of its own and used there, far from the checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
import soundfile

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
FIVE_LINES = """
import sys, soundfile
from speech_enhancement import Enhancer
samples, rate = soundfile.read(sys.argv[1])
clean = Enhancer.load().enhance(samples, rate)
assert clean.shape == samples.shape
"""


def requirements(name):
    """The requirements that a file lists itself."""
    lines = (REPOSITORY / name).read_text().splitlines()
    return sorted(line for line in lines if line and not line.startswith(("#", "-r")))


@pytest.mark.parametrize(
    ("extra", "file"),
    [
        (None, "requirements-predict.txt"),
        ("train", "requirements.txt"),
        ("evaluation", "requirements-evaluation.txt"),
        ("extra", "requirements-extra.txt"),
        ("jax", "requirements-jax.txt"),
        ("cluster", "requirements-cluster.txt"),
        ("peers", "requirements-peers.txt"),
        ("share", "requirements-share.txt"),
    ],
)
def test_the_package_requires_what_the_requirements_files_list(extra, file):
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    assert sorted(listed) == requirements(file)


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("requirements*.txt")), ids=lambda p: p.name)
def test_every_requirement_ends_before_the_version_that_may_break_it(path):
    for requirement in requirements(path.name):
        assert re.fullmatch(r"[\w-]+>=[\d.]+,<\d[\d.]*", requirement)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A function that runs a program of an environment with the package, in an empty folder.

    The packages that it requires are those of this environment.
    """
    folder = tmp_path_factory.mktemp("installed")
    copy = folder / "copy"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for path in map(Path, filter(None, tracked)):
        if path.parts[0] in ("speech_enhancement", "weights") or len(path.parts) == 1:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / path, copy / path)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", copy],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    work = folder / "work"
    work.mkdir()
    (work / "config.py").write_text("BATCH = 3\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(program, *arguments):
        return subprocess.run(
            [folder / "env" / "bin" / program, *map(str, arguments)],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    run.folder = work
    return run


def test_the_command_denoises_with_the_networks_in_the_package(installed, demo_data, tmp_path):
    for options in ((), ("--name_model", "dpcrn")):
        target = tmp_path / f"{len(options)}.wav"
        noisy = demo_data / "noisy" / "alarm.wav"
        done = installed("speech-enhancement", noisy, "--audio_output_prediction", target, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert soundfile.info(target).frames == soundfile.info(noisy).frames
    assert [path.name for path in installed.folder.iterdir()] == ["config.py"]


def test_five_lines_of_python_denoise_beside_a_config_of_ones_own(installed, demo_data):
    code = FIVE_LINES + "import config\nassert config.BATCH == 3"
    done = installed("python", "-c", code, demo_data / "noisy" / "alarm.wav")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_without_a_recording_says_how_to_give_one(installed):
    done = installed("speech-enhancement")
    assert done.returncode == 2
    assert re.fullmatch("error: .*speech-enhancement recording.wav.*\n", done.stderr)


def test_help_names_the_command_that_was_typed(installed):
    done = installed("speech-enhancement", "--help")
    assert done.returncode == 0
    assert "speech-enhancement" in done.stdout
    assert "main.py" not in done.stdout


def test_another_network_is_looked_for_in_the_current_folder(installed, demo_data):
    done = installed(
        "speech-enhancement", demo_data / "noisy" / "alarm.wav", "--name_model", "mine"
    )
    assert done.returncode == 1
    assert "No network at weights/mine.onnx" in done.stderr
    assert "dpcrn_offline" in done.stderr
