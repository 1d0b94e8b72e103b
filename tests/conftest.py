"""What the tests share: seeded numbers, real speech, and the command line run in process."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from speech_enhancement.cli import main
from speech_enhancement.files import audio_io

REPOSITORY = Path(__file__).resolve().parent.parent

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")

# A shell has what it starts in the background ignore Ctrl-C, and children inherit that; tests send
# it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts anew for every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def demo_data() -> Path:
    """The folder of demonstration recordings."""
    return REPOSITORY / "demo_data"


@pytest.fixture(scope="session")
def speech(demo_data: Path) -> Callable[[int, float], np.ndarray]:
    """A function (sample rate in Hz, seconds) -> clean speech at -25 dBFS, repeated if need be."""

    def load(sample_rate: int, seconds: float) -> np.ndarray:
        waveform, _ = audio_io.load_audio(demo_data / "clean" / "hum.wav", sample_rate)
        loud = np.flatnonzero(np.abs(waveform) > 1e-3)
        return np.resize(waveform[loud[0] : loud[-1]], round(seconds * sample_rate))

    return load


@pytest.fixture
def run_main(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """A function (arguments...) that runs the command line and returns its `Outcome`."""

    def run(*arguments: object) -> Outcome:
        try:
            code = main.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
