"""The Dockerfile: its files exist, its commands are the README's, and what is in it denoises."""

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile

from speech_enhancement import registry
from speech_enhancement.cli import args

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
# What requirements-predict.txt does not install.
NOT_INSTALLED = ("tensorflow", "keras", "keras_tuner", "librosa", "sklearn", "onnx", "pesq")
RUN = """
import runpy, sys
sys.modules.update(dict.fromkeys({modules}))
sys.argv[0] = "main.py"
sys.path.insert(0, ".")
runpy.run_path("main.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def instructions():
    """Keyword and value of every instruction."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def values(instructions, keyword):
    return [value for name, value in instructions if name == keyword]


def copied(instructions):
    """Pairs of a file of the repository and its folder in the image."""
    for value in values(instructions, "COPY"):
        *sources, target = value.split()
        for pattern in sources:
            found = sorted(REPOSITORY.glob(pattern))
            assert found, f"nothing to copy is called {pattern}"
            for path in found:
                if path.is_file():
                    yield path, Path(target)
                for file in path.rglob("*.py") if path.is_dir() else ():
                    yield file, Path(target) / file.parent.relative_to(path)


def readme_commands(program):
    """Arguments of a program in the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(f"{program} ")]


def is_in_context(path):
    """Whether the .dockerignore lets a file into the build."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    return "*" in lines and any(fnmatch.fnmatch(path, pattern) for pattern in let_in)


def test_linter_finds_nothing():
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_let_into_the_build(instructions):
    files = [str(path.relative_to(REPOSITORY)) for path, _ in copied(instructions)]
    assert "main.py" in files
    assert not [file for file in files if not is_in_context(file) and "__pycache__" not in file]
    assert not is_in_context("weights/model_unet.keras")
    assert not is_in_context(".git/config")


def test_python_is_one_that_the_project_runs_on(instructions):
    (image,) = values(instructions, "FROM")
    version = tuple(map(int, re.fullmatch(r"python:(\d+\.\d+)-slim", image)[1].split(".")))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert version >= tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))


def test_install_command_is_that_of_the_readme(instructions):
    (install,) = [value for value in values(instructions, "RUN") if value.startswith("pip")]
    assert shlex.split(install.replace(" --no-cache-dir", ""))[1:] in readme_commands("pip")


def test_nobody_in_particular_runs_the_command_line_of_the_readme(instructions):
    assert values(instructions, "USER") == ["1000"]
    (entry,) = values(instructions, "ENTRYPOINT")
    assert json.loads(entry) == ["python", "/app/main.py"]
    assert values(instructions, "WORKDIR") == ["/app", "/sound"]
    runs = [words for words in readme_commands("docker") if words[0] == "run"]
    assert len(runs) == 2
    for words in runs:
        options, arguments = words[1 : words.index("denoise")], words[words.index("denoise") + 1 :]
        assert "--rm" in options
        assert args.parse(arguments).mode in registry.MODES
    assert ["build", "-t", "denoise", "."] in readme_commands("docker")


def test_what_is_in_the_image_denoises(instructions, tmp_path):
    for path, folder in copied(instructions):
        target = tmp_path / "app" / folder / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    code = RUN.format(modules=NOT_INSTALLED)
    recording = REPOSITORY / "demo_data" / "noisy" / "alarm.wav"
    result = tmp_path / "alarm.wav"
    subprocess.run(
        [sys.executable, "-c", code, recording, "--audio_output_prediction", result],
        cwd=tmp_path / "app",
        check=True,
        capture_output=True,
    )
    assert soundfile.info(result).frames == soundfile.info(recording).frames
