"""Saved networks of a few nodes, for tests of everything that runs networks.

Each is written as a real one is: `NAME.onnx` and its card. None needs TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from speech_enhancement.config import AudioConfig
from speech_enhancement.inference.card import ModelCard, file_sha256
from speech_enhancement.signal.features import Features

WINDOW_AUDIO = AudioConfig()
STREAM_AUDIO = AudioConfig(16000, 512, 256, 32000, "sqrt_hann")
FEATURES = Features()


def save_gain(folder: Path, attenuation_db: float, audio: AudioConfig = WINDOW_AUDIO) -> Path:
    """A network that finds the same noise everywhere: an attenuation of `attenuation_db`."""
    value = (attenuation_db - FEATURES.noise_offset_db) / FEATURES.noise_scale_db
    nodes = [
        helper.make_node("Mul", ["noisy_db", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "value"], ["noise"]),
    ]
    constants = {"zero": np.float32(0.0), "value": np.float32(value)}
    return _save_window_network(folder / f"gain_{attenuation_db}", nodes, constants, audio)


def save_gate(folder: Path, audio: AudioConfig = WINDOW_AUDIO) -> Path:
    """A network that takes what is quiet around it for noise: its output depends on context."""
    slope = FEATURES.input_scale_db / FEATURES.noise_scale_db
    nodes = [
        helper.make_node("Transpose", ["noisy_db"], ["image"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image", "kernel"], ["smooth"], pads=[1, 2, 1, 2]),
        helper.make_node("Transpose", ["smooth"], ["mean_db"], perm=[0, 2, 3, 1]),
        helper.make_node("Sub", ["threshold", "mean_db"], ["below"]),
        helper.make_node("Mul", ["below", "slope"], ["steep"]),
        helper.make_node("Clip", ["steep", "least", "most"], ["noise"]),
    ]
    constants = {
        "kernel": np.full((1, 1, 3, 5), 1 / 15, np.float32),
        "threshold": np.float32(0.0),
        "slope": np.float32(slope),
        "least": np.float32(-FEATURES.noise_offset_db / FEATURES.noise_scale_db),
        "most": np.float32(0.4),
    }
    return _save_window_network(folder / "gate", nodes, constants, audio)


def save_stream(folder: Path, previous: float = 0.5) -> Path:
    """A causal network that mixes each frame with the one before it, which is its state."""
    audio = STREAM_AUDIO
    nodes = [
        helper.make_node("Concat", ["state_frame", "spectrum"], ["both"], axis=1),
        helper.make_node("Slice", ["both", "from_0", "to_last", "axis"], ["before"]),
        helper.make_node("Slice", ["both", "from_last", "to_end", "axis"], ["next_state_frame"]),
        helper.make_node("Mul", ["before", "previous"], ["old"]),
        helper.make_node("Mul", ["spectrum", "current"], ["new"]),
        helper.make_node("Add", ["old", "new"], ["enhanced"]),
    ]
    constants = {
        "from_0": np.array([0]),
        "to_last": np.array([-1]),
        "from_last": np.array([-1]),
        "to_end": np.array([2**31 - 1]),
        "axis": np.array([1]),
        "previous": np.float32(previous),
        "current": np.float32(1.0 - previous),
    }
    frames, frame = [1, "frames", audio.n_bins, 2], [1, 1, audio.n_bins, 2]
    inputs = {"spectrum": frames, "state_frame": frame}
    outputs = {"enhanced": frames, "next_state_frame": frame}
    graph = _graph(nodes, constants, inputs, outputs)
    features = Features("complex", "clean")
    card = ModelCard("dpcrn", audio, features, level_dbfs=None, streaming=True)
    return _save(folder / f"stream_{previous}", graph, card)


def _save_window_network(stem: Path, nodes: list, constants: dict, audio: AudioConfig) -> Path:
    """A network from scaled decibels to the scaled noise model, and its card."""
    shape = ["batch", audio.n_bins, audio.n_frames, 1]
    graph = _graph(nodes, constants, {"noisy_db": shape}, {"noise": shape})
    return _save(stem, graph, ModelCard("unet", audio, FEATURES))


def _graph(nodes: list, constants: dict, inputs: dict, outputs: dict) -> onnx.ModelProto:
    """A model of float inputs and outputs of the given shapes."""
    sources, results = (
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in group.items()]
        for group in (inputs, outputs)
    )
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "small", sources, results, tensors)
    return helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)], producer_name="tests"
    )


def _save(stem: Path, graph: onnx.ModelProto, card: ModelCard) -> Path:
    """Write the network and its card; gives the stem."""
    onnx.checker.check_model(graph)
    path = stem.with_name(stem.name + ".onnx")
    path.write_bytes(graph.SerializeToString())
    fields = {**vars(card), "sha256": {".onnx": file_sha256(path)}}
    ModelCard(**fields).save(stem.with_name(stem.name + ".json"))
    return stem
