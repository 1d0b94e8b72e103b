"""Runs a saved network on a batch: ONNX Runtime where it can, Keras where it must.

A saved network is `NAME.onnx` and `NAME.keras` beside their card `NAME.json`. ONNX Runtime starts
in a fraction of a second and never imports TensorFlow.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from speech_enhancement import registry
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.inference import keras_archive, network_files
from speech_enhancement.inference.card import ModelCard

# ONNX Runtime would otherwise report to its maker, from its import on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

SUFFIXES = {"onnx": network_files.ONNX, "keras": network_files.KERAS}
CONTEXT_FRAMES = 313  # 5 s of the shipped networks' frames

State = dict[str, np.ndarray]


class StreamingNetwork(Protocol):
    """A causal network on spectrogram frames that carries a state from call to call."""

    def initial_state(self) -> State:
        """The state before the first frame."""

    def step(
        self, spectrum: np.ndarray, state: State, kept: int | None = None
    ) -> tuple[np.ndarray, State]:
        """Enhance (1, frames, bins, 2); also gives the state for the frames that follow.

        Args:
            spectrum: frames.
            state: the state before the first of them.
            kept: how many of them the state goes past; the others are a look ahead, and are given
                again with the frames that follow. All by default, and always in a network that
                streams.
        """


def load_network(stem: Path, card: ModelCard, runtime: str = "auto", threads: int = 1) -> Any:
    """Load the network that belongs to a card.

    Args:
        stem: path of the network's files without suffix.
        card: its card.
        runtime: `onnx`, `keras`, or `auto`: the first of them that is there.
        threads: processor threads that one call may use; a network that streams or takes any
            length takes one.

    Returns:
        A function from float32 batch to float32 batch, or a `StreamingNetwork` if the card says
        that the network streams or takes any length.

    Raises:
        UsageError: `runtime` is not one of those.
        UserError: there is no network, or it is not the one that the card describes.
    """
    path = network_path(stem, runtime)
    card.check_file(path)
    if path.suffix == network_files.KERAS:
        return _load_keras(path, card, threads)
    return _load_onnx(path, card, threads)


def network_path(stem: Path, runtime: str = "auto") -> Path:
    """The file that `load_network` reads.

    Raises:
        UsageError: `runtime` is not one of `registry.RUNTIMES`.
        UserError: there is no such file.
    """
    if runtime not in registry.RUNTIMES:
        raise UsageError(
            f"`runtime` must be one of {', '.join(registry.RUNTIMES)}. Received: {runtime}"
        )
    network_files.complete_for_reading(stem)
    names = SUFFIXES if runtime == "auto" else [runtime]
    paths = [network_files.file_of(stem, SUFFIXES[name]) for name in names]
    for path in paths:
        if path.is_file():
            return path
    raise UserError(f"No network at {' or '.join(map(str, paths))}{_known_networks(stem.parent)}")


def _known_networks(folder: Path) -> str:
    """The names that a weights folder does hold, for the error."""
    names = network_files.names_in(folder)
    held = f"; {network_files.folder_of_networks(folder)} has {', '.join(names)}"
    return held if names else ""


def available_threads() -> int:
    """Processor threads that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def input_shape(card: ModelCard) -> tuple[int | None, ...]:
    """Shape of one network input that a card stands for; None where it is free."""
    shape = card.features.input_shape(card.audio)
    return (None, None, *shape[1:]) if card.streaming or card.any_length else (None, *shape)


def _check_shape(path: Path, shape: list[Any], card: ModelCard) -> None:
    """Refuse a network whose input is not what its card says; free sides fit anything."""
    wanted = input_shape(card)
    fits = len(shape) == len(wanted) and all(
        want is None or not isinstance(size, int) or size == want
        for size, want in zip(shape, wanted, strict=True)
    )
    if not fits:
        raise UserError(
            f"{path} takes {_show(shape)} and its card describes {_show(wanted)}; "
            "they do not belong together"
        )


def _show(shape: Any) -> str:
    """A shape for people: free sides as a question mark."""
    return "x".join(str(size) if isinstance(size, int) else "?" for size in shape)


def _load_onnx(path: Path, card: ModelCard, threads: int) -> Any:
    """The network in ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("--runtime onnx needs `pip install onnxruntime`") from error
    onnxruntime.disable_telemetry_events()  # for Windows, which has no such variable
    options = onnxruntime.SessionOptions()
    # How a recurrent layer is shared out among threads decides how its sums are rounded.
    options.intra_op_num_threads = 1 if card.streaming or card.any_length else threads
    options.inter_op_num_threads = 1
    # A plan of the memory for each length would keep that of the longest beside what is in use.
    options.enable_mem_pattern = not card.any_length
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own errors share no public base class
        raise UserError(f"ONNX Runtime cannot read {path}: {error}") from error
    _check_shape(path, session.get_inputs()[0].shape, card)
    if card.streaming:
        return OnnxStreamingNetwork(session)
    network = _onnx_function(session)
    if not card.any_length:
        return network
    has_states = any(value.name == "kept" for value in session.get_inputs())
    return OnnxStreamingNetwork(session) if has_states else ContextNetwork(network)


def _onnx_function(session: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A session of one input and one output as a function."""
    name = session.get_inputs()[0].name

    def network(batch: np.ndarray) -> np.ndarray:
        return session.run(None, {name: np.ascontiguousarray(batch, np.float32)})[0]

    return network


class ContextNetwork:
    """A network of any length without states, given the frames before once more instead.

    Args:
        network: batch of spectrograms of any number of frames in, batch out.
    """

    def __init__(self, network: Callable[[np.ndarray], np.ndarray]) -> None:
        self._network = network

    def initial_state(self) -> State:
        """See `StreamingNetwork.initial_state`: no frames."""
        return {}

    def step(
        self, spectrum: np.ndarray, state: State, kept: int | None = None
    ) -> tuple[np.ndarray, State]:
        """See `StreamingNetwork.step`."""
        context = state.get("context", spectrum[:, :0])
        whole = np.concatenate([context, spectrum], axis=1)
        before = context.shape[1]
        passed = whole[:, : before + (kept or spectrum.shape[1])]
        context = passed[:, max(0, passed.shape[1] - CONTEXT_FRAMES) :]
        return self._network(whole)[:, before:], {"context": context}


class OnnxStreamingNetwork:
    """A graph from `spectrum` and `state_*` to `enhanced` and `next_state_*`.

    Args:
        session: the loaded graph; `kept`, if it has that, is how many frames its states go past.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        values = session.get_inputs()
        self._shapes = {v.name: v.shape for v in values if v.name.startswith("state_")}
        self._looks_ahead = any(value.name == "kept" for value in values)
        self._outputs = ["enhanced", *(f"next_{name}" for name in self._shapes)]

    def initial_state(self) -> State:
        """See `StreamingNetwork.initial_state`: zeros."""
        return {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}

    def step(
        self, spectrum: np.ndarray, state: State, kept: int | None = None
    ) -> tuple[np.ndarray, State]:
        """See `StreamingNetwork.step`."""
        inputs = {"spectrum": np.ascontiguousarray(spectrum, np.float32), **state}
        if self._looks_ahead:
            inputs["kept"] = np.array(kept or spectrum.shape[1], np.int64)
        enhanced, *states = self._session.run(self._outputs, inputs)
        return enhanced, dict(zip(self._shapes, states, strict=True))


def _load_keras(path: Path, card: ModelCard, threads: int) -> Any:
    """The network in Keras, whatever its backend."""
    if card.streaming:
        raise UserError(
            f"{path} carries a state from frame to frame, which its .onnx file supports: use "
            "--runtime onnx"
        )
    model = keras_archive.load(path, card.model, threads)
    _check_shape(path, list(model.input_shape), card)

    def network(batch: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_on_batch(batch))

    return ContextNetwork(network) if card.any_length else network
