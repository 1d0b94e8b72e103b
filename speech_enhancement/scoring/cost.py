"""What a system costs: start-up, real-time factor on one thread, memory, arithmetic.

Each system is measured in a process of its own, which prints the figures as JSON:
`python -m speech_enhancement.scoring.cost KIND SOURCE RATE`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech_enhancement import places
from speech_enhancement.files import workers
from speech_enhancement.inference import network_files
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.scoring.systems import System

SHORT_S, LONG_S = 5, 15
REPEATS = 3
TIME_LIMIT_S = 300
PROBE_LEVEL = 0.05
# Matrices of a recurrent layer that its input and its state go through.
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Figures of one system; None where they could not be had.

    Args:
        start_up_s: from the start of the process to the first second of denoised sound, s.
        real_time_factor: seconds of one thread for each second of sound, start-up left out.
        peak_memory_mb: highest memory in RAM for 15 s of sound, the interpreter's included, MB.
        parameters: number of weights.
        macs_per_s: multiply-adds of the network for each second of sound.
    """

    start_up_s: float | None = None
    real_time_factor: float | None = None
    peak_memory_mb: float | None = None
    parameters: int | None = None
    macs_per_s: float | None = None


def measure(system: System, rate: int) -> Cost:
    """Cost of a system on sound of `rate` Hz; None where it does not run, or not in time."""
    if system.kind in ("noisy", "folder"):
        return Cost()
    is_network = system.kind == "network"
    source = str(Path(system.source).resolve()) if is_network else system.source
    arguments = [system.kind, source, str(rate), repr(time.monotonic())]
    figures = {}
    with contextlib.suppress(subprocess.SubprocessError):
        process = subprocess.run(
            [sys.executable, "-m", "speech_enhancement.scoring.cost", *arguments],
            env=places.module_environment() | workers.ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=True,
        )
        figures = json.loads(process.stdout.splitlines()[-1])
    return Cost(**figures, **_network_size(system))


def _network_size(system: System) -> dict[str, Any]:
    """Parameters and multiply-adds of a network of this project."""
    if system.kind != "network":
        return {}
    stem = Path(system.source)
    card = ModelCard.beside(stem)
    return {"parameters": card.parameters, "macs_per_s": macs_per_s(stem, card)}


def figures_of(system: System, rate: int, started: float) -> dict[str, float | None]:
    """Start-up, real-time factor and memory of this process.

    Args:
        system: what to run.
        rate: Hz of the sound.
        started: `time.monotonic()` when the process was asked for.
    """
    enhancer = system.make(threads=1)
    rng = np.random.default_rng(0)
    sound = (PROBE_LEVEL * rng.standard_normal(LONG_S * rate)).astype(np.float32)
    enhancer.enhance(sound[:rate], rate)
    start_up = time.monotonic() - started
    short, long = (
        min(_seconds(enhancer, sound[: seconds * rate], rate) for _ in range(REPEATS))
        for seconds in (SHORT_S, LONG_S)
    )
    # the difference leaves out what a call costs whatever its length
    factor = max(long - short, 0.0) / (LONG_S - SHORT_S)
    return {
        "start_up_s": start_up,
        "real_time_factor": factor,
        "peak_memory_mb": peak_memory_mb(),
    }


def _seconds(enhancer: Any, sound: np.ndarray, rate: int) -> float:
    """Processor seconds of a call, which other programs on the machine lengthen least."""
    before = time.process_time()
    enhancer.enhance(sound, rate)
    return time.process_time() - before


def peak_memory_mb() -> float | None:
    """Highest memory that this process had in RAM, MB; None where the system does not say."""
    with contextlib.suppress(OSError):
        # `getrusage` would also count the process that started this one
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def macs_per_s(stem: Path, card: ModelCard) -> float | None:
    """Multiply-adds of a network for each second of sound, counted while ONNX Runtime runs it.

    Counted are convolutions, matrix products and recurrent layers: what the field counts. A
    network that takes windows is counted for windows that do not overlap.

    Args:
        stem: path of the network's files without suffix.
        card: its card.

    Returns:
        None if the network has no ONNX file.
    """
    path = network_files.file_of(stem, network_files.ONNX)
    if not path.is_file():
        return None
    audio = card.audio
    inputs, n_samples = _one_input(path, card)
    total = sum(_macs_of_node(*node) for node in _run_nodes(path, inputs))
    return total * audio.sample_rate / n_samples


def _one_input(path: Path, card: ModelCard) -> tuple[dict[str, np.ndarray], int]:
    """The smallest input that a network takes, and the samples that it stands for."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {
        put.name: np.zeros(
            [size if isinstance(size, int) else 1 for size in put.shape],
            np.int64 if put.type == "tensor(int64)" else np.float32,
        )
        for put in session.get_inputs()
    }
    audio = card.audio
    if card.streaming:
        return inputs, audio.hop_length_fft
    first = session.get_inputs()[0]
    if card.features.representation == "waveform":
        shape = [1, audio.frame_length, 1]
    elif card.features.representation == "complex":
        shape = [1, audio.n_frames, audio.n_bins, 2]
    else:
        shape = [1, *first.shape[1:3], 1]
        shape[1:3] = [
            size if isinstance(size, int) else default
            for size, default in zip(first.shape[1:3], (audio.n_bins, audio.n_frames), strict=True)
        ]
    if "kept" in inputs:  # all frames of the window count
        inputs["kept"] = np.array(audio.n_frames)
    return inputs | {first.name: np.zeros(shape, np.float32)}, audio.frame_length


def _run_nodes(
    path: Path, inputs: dict[str, np.ndarray]
) -> list[tuple[str, list[list[int]], list[list[int]]]]:
    """Operator, input shapes and output shapes of every node that a run executes.

    The runtime's own record of the run counts the bodies of loops as often as they were run, and
    knows shapes that the graph leaves free.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(None, inputs)
        record = json.loads(Path(session.end_profiling()).read_text())
    events = [event["args"] for event in record if event["name"].endswith("_kernel_time")]
    return [
        (event["op_name"], _shapes(event["input_type_shape"]), _shapes(event["output_type_shape"]))
        for event in events
    ]


def _shapes(entries: Sequence[dict[str, list[int]]]) -> list[list[int]]:
    """Shapes in the runtime's record: `[{"float": [1, 2]}, ...]`."""
    return [shape for entry in entries for shape in entry.values()]


def _macs_of_node(operator: str, inputs: list[list[int]], outputs: list[list[int]]) -> int:
    """Multiply-adds of one node."""
    if operator == "Conv":
        return int(np.prod(outputs[0]) * np.prod(inputs[1][1:]))
    if operator == "ConvTranspose":
        return int(np.prod(inputs[0]) * np.prod(inputs[1][1:]))
    if operator == "MatMul":
        return int(np.prod(outputs[0]) * inputs[0][-1])
    if operator == "Gemm":
        return int(np.prod(outputs[0]) * (np.prod(inputs[0]) // outputs[0][0]))
    if operator in GATES:
        # The record leaves out weights that the runtime has packed for itself.
        (steps, batch, n_inputs), units = inputs[0], outputs[0][-1]
        directions = outputs[0][1]
        return steps * batch * directions * GATES[operator] * units * (n_inputs + units)
    return 0


def main(arguments: Sequence[str]) -> None:
    """Print the figures of the system that the command line names."""
    kind, source, rate, started = arguments
    print(json.dumps(figures_of(System(source, kind, source), int(rate), float(started))))


if __name__ == "__main__":
    main(sys.argv[1:])
