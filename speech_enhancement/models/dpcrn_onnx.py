"""The ONNX graph of a trained DPCRN, drawn layer by layer.

Keras's own export would turn each GRU into a loop over frames; here it is ONNX's GRU.

In: `spectrum` (1, frames, bins, 2), of any number of frames. Out: `enhanced`, of the same shape.
The frames can be given in parts: the graph has a `state_K` (1, bands, units) for each GRU as a
further input, zeros at first, and the `next_state_K` to hand in with what follows as an output.

In a network that is bidirectional in time, the states are those of the forward direction, and the
frames that follow a part are given with it, for the backward direction. `kept` is the number of
frames before those: all of them where a whole recording is given at once.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from speech_enhancement.models.spectral_ops import COMPRESSION, EPSILON

OPSET = 17
# The oldest file format with that operator set, so that older runtimes read the graph too.
IR_VERSION = 8
GRU_PARTS = 4


class Graph:
    """Collects the nodes and constants of an ONNX graph; values are passed around by name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Name of a constant."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def run(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node and name its output, or its outputs."""
        names = [f"{operator}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def rename(self, name: str, new_name: str) -> None:
        """Give a value the name of a graph output."""
        self.nodes.append(helper.make_node("Identity", [name], [new_name]))

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        """Reshape; -1 stands for the frames."""
        return self.run("Reshape", x, self.constant(shape, np.int64))

    def transpose(self, x: str, *order: int) -> str:
        """Reorder the axes."""
        return self.run("Transpose", x, perm=order)

    def take(self, x: str, index: int, axis: int) -> str:
        """Select one index of an axis, which is removed."""
        return self.run("Gather", x, self.constant(index, np.int64), axis=axis)

    def stack(self, values: list[str], axis: int) -> str:
        """Join values along a new axis."""
        new_axis = self.constant([axis], np.int64)
        return self.run(
            "Concat", *(self.run("Unsqueeze", value, new_axis) for value in values), axis=axis
        )

    def cut(self, x: str, begin: int, end: int, axis: int) -> str:
        """A slice of an axis."""
        bounds = [self.constant([value], np.int64) for value in (begin, end, axis)]
        return self.run("Slice", x, *bounds)

    def dense(self, x: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        """A dense layer on the last axis, (frames * bands, channels) out.

        Gemm adds the bias as it goes; a separate Add takes nearly as long as the product.
        """
        return self.gemm(self.reshape(x, (-1, len(kernel))), kernel, bias)

    def gemm(self, rows: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        """A dense layer on (rows, channels)."""
        return self.run("Gemm", rows, self.constant(kernel), self.constant(bias))

    def power(self, x: str, exponent: float) -> str:
        """A positive value to a power; Exp and Log are several times faster than Pow."""
        scaled = self.run("Mul", self.run("Log", x), self.constant(exponent))
        return self.run("Exp", scaled)

    def convolution(self, x: str, layer: Any, stride: int) -> str:
        """A convolution over frequency and its ReLU, on (frames, channels, bands)."""
        kernel, bias = layer.get_weights()
        size = kernel.shape[1]
        weights = self.constant(kernel[0].transpose(2, 1, 0))  # (out, in, kernel)
        padding = [(size - stride) // 2] * 2
        x = self.run("Conv", x, weights, self.constant(bias), strides=[stride], pads=padding)
        return self.run("Relu", x)


def onnx_graph(model: keras.Model) -> onnx.ModelProto:
    """The graph of a network that `dpcrn.DPCRN` built.

    Args:
        model: the trained network.
    """
    graph, layer = Graph(), model.get_layer
    n_bins = model.input_shape[2]
    names = [each.name for each in model.layers]
    conv_blocks = sum(name.startswith("encoder_") for name in names) // 2
    core_blocks = sum(name.startswith("time_") for name in names) // 4

    spectrum = graph.reshape("spectrum", (-1, n_bins, 2))
    # (frames, bins) each: apart, they need no broadcasting, which is slow.
    parts = [graph.take(spectrum, part, 2) for part in range(2)]
    magnitude, *scaled = _compress(graph, parts)
    x = graph.stack([magnitude, *scaled], axis=1)
    x = graph.cut(x, 1, n_bins, 2)  # (frames, 3, bins - 1)
    x = graph.convolution(x, layer("fold"), layer("fold").strides[1])
    skips = []
    for index in range(conv_blocks):
        skips.append(x)
        x = graph.run("Add", x, graph.convolution(x, layer(f"encoder_{index}"), 1))
    skips.append(x)

    x = _core(graph, x, model, core_blocks)

    for index in reversed(range(conv_blocks)):
        x = graph.run("Add", x, skips.pop())
        x = graph.run("Add", x, graph.convolution(x, layer(f"decoder_{index}"), 1))
    x = graph.run("Add", x, skips.pop())
    mask = _unfold(graph, x, layer("unfold"))
    enhanced = _apply_mask(graph, scaled, mask)
    graph.rename(graph.reshape(enhanced, (1, -1, n_bins, 2)), "enhanced")

    gru = layer("time_0")
    bands = layer("band_embedding").get_weights()[0].shape[0]
    return _model_proto(graph, n_bins, core_blocks, (1, bands, gru.units), gru.bidirectional)


def _core(graph: Graph, x: str, model: keras.Model, blocks: int) -> str:
    """See `dpcrn.core`; (frames, channels, bands) in and out."""
    layer = model.get_layer
    to_core = graph.constant(layer("to_core").get_weights()[0].T)
    x = graph.transpose(graph.run("MatMul", x, to_core), 0, 2, 1)  # (frames, bands, channels)
    kernel, bias = layer("core_in").get_weights()
    embedding = layer("band_embedding").get_weights()[0]  # (bands, channels)
    x = graph.run("MatMul", x, graph.constant(kernel))
    x = graph.run("Add", x, graph.constant(embedding + bias))
    for index in range(blocks):
        x = _residual(graph, x, model, f"time_{index}", index)
        x = _residual(graph, x, model, f"frequency_{index}")
    kernel, bias = layer("core_out").get_weights()
    x = graph.reshape(graph.dense(x, kernel, bias), (-1, len(embedding), len(bias)))
    from_core = graph.constant(layer("from_core").get_weights()[0].T)
    return graph.run("MatMul", graph.transpose(x, 0, 2, 1), from_core)


def _compress(graph: Graph, parts: list[str]) -> tuple[str, str, str]:
    """See `dpcrn.Compress`; compressed magnitude, real and imaginary part."""
    power = _power(graph, parts)
    magnitude = graph.power(power, 0.5 * COMPRESSION)
    factor = graph.power(power, 0.5 * (COMPRESSION - 1.0))
    real, imaginary = (graph.run("Mul", part, factor) for part in parts)
    return magnitude, real, imaginary


def _power(graph: Graph, parts: list[str]) -> str:
    """Squared magnitude of a real and an imaginary part."""
    squares = [graph.run("Mul", part, part) for part in parts]
    return graph.run("Add", graph.run("Add", *squares), graph.constant(EPSILON))


def _residual(graph: Graph, x: str, model: keras.Model, name: str, state: int | None = None) -> str:
    """See `dpcrn.residual`; with a GRU where a state is given, else with attention."""
    norm, path = model.get_layer(f"{name}_norm"), model.get_layer(name)
    scale, offset = norm.get_weights()
    y = graph.run(
        "LayerNormalization",
        x,
        graph.constant(scale),
        graph.constant(offset),
        epsilon=norm.epsilon,
    )
    y = _attention(graph, y, path) if state is None else _gru(graph, y, path, state)
    kernel, bias = model.get_layer(f"{name}_out").get_weights()
    y = graph.reshape(graph.dense(y, kernel, bias), (-1, *norm.input.shape[2:]))
    return graph.run("Add", x, y)


def _gru(graph: Graph, x: str, layer: Any, state: int) -> str:
    """See `dpcrn.TimeGRU`; frames are the sequence and bands the batch."""
    weights = layer.get_weights()  # kernel, recurrent kernel and bias of each direction
    constants = [
        graph.constant(np.stack([w.T for w in weights[0::3]])),
        graph.constant(np.stack([w.T for w in weights[1::3]])),
        graph.constant(np.stack([w.reshape(-1) for w in weights[2::3]])),
    ]
    shared = {"hidden_size": layer.units, "linear_before_reset": 1}
    if layer.bidirectional:
        return _bidirectional(graph, x, layer, constants, shared, state)
    y, last = graph.run("GRU", x, *constants, "", f"state_{state}", outputs=2, **shared)
    graph.rename(last, f"next_state_{state}")
    return y


def _bidirectional(
    graph: Graph,
    x: str,
    layer: Any,
    constants: list[str],
    shared: dict[str, Any],
    state: int,
) -> str:
    """A GRU both ways; some bands at a time, for a runtime keeps the gates of all frames."""
    n_bands = layer.input.shape[2]
    outputs, states = [], []
    for bands in np.array_split(np.arange(n_bands), GRU_PARTS):
        part = (int(bands[0]), int(bands[-1]) + 1)
        backward = graph.constant(np.zeros((1, len(bands), layer.units)))
        first = graph.run("Concat", graph.cut(f"state_{state}", *part, 1), backward, axis=0)
        y = graph.run(
            *("GRU", graph.cut(x, *part, 1), *constants, "", first),
            direction="bidirectional",
            **shared,
        )  # (frames, directions, bands, units)
        states.append(_state_after(graph, y))
        outputs.append(graph.transpose(y, 0, 2, 1, 3))
    graph.rename(graph.run("Concat", *states, axis=1), f"next_state_{state}")
    return graph.run("Concat", *outputs, axis=1)


def _state_after(graph: Graph, y: str) -> str:
    """The forward state (1, bands, units) after the last frame that is kept."""
    zero = graph.constant([0], np.int64)
    kept = graph.run("Slice", y, zero, graph.run("Unsqueeze", "kept", zero), zero)
    return graph.cut(graph.take(kept, -1, 0), 0, 1, 0)


def _attention(graph: Graph, x: str, layer: Any) -> str:
    """See `dpcrn.BandAttention`; head by head, which needs a fraction of the memory."""
    kernel, bias = layer.get_weights()
    channels = kernel.shape[0]
    size = channels // layer.heads
    # Of query, key and value.
    scale = np.repeat(np.array([size**-0.5, 1.0, 1.0], np.float32), channels)
    kernel, bias = kernel * scale, bias * scale
    rows = graph.reshape(x, (-1, channels))  # once: what has several readers is copied to reshape

    def project(part: int, head: int) -> str:
        own = slice(part * channels + head * size, part * channels + (head + 1) * size)
        return graph.reshape(graph.gemm(rows, kernel[:, own], bias[own]), (-1, layer.bands, size))

    heads = []
    for head in range(layer.heads):
        query, key, value = (project(part, head) for part in range(3))
        scores = graph.run("MatMul", query, graph.transpose(key, 0, 2, 1))
        heads.append(graph.run("MatMul", graph.run("Softmax", scores, axis=-1), value))
    return graph.run("Concat", *heads, axis=2)


def _unfold(graph: Graph, x: str, layer: Any) -> str:
    """The mask (frames, 2, bins) of (frames, channels, bands)."""
    kernel, bias = layer.get_weights()
    weights = graph.constant(kernel[0].transpose(2, 1, 0))  # (in, out, kernel)
    stride = layer.strides[1]
    padding = [(layer.kernel_size[1] - stride) // 2] * 2
    mask = graph.run(
        "ConvTranspose", x, weights, graph.constant(bias), strides=[stride], pads=padding
    )
    return graph.run("Concat", graph.cut(mask, 0, 1, 2), mask, axis=2)


def _apply_mask(graph: Graph, scaled: list[str], mask: str) -> str:
    """See `dpcrn.ApplyMask`; (frames, bins, 2)."""
    real, imaginary = scaled
    mask_real, mask_imaginary = (graph.take(mask, part, 1) for part in range(2))

    def product(a: str, b: str) -> str:
        return graph.run("Mul", a, b)

    masked = [
        graph.run("Sub", product(real, mask_real), product(imaginary, mask_imaginary)),
        graph.run("Add", product(real, mask_imaginary), product(imaginary, mask_real)),
    ]
    factor = graph.power(_power(graph, masked), 0.5 * (1.0 / COMPRESSION - 1.0))
    return graph.stack([product(part, factor) for part in masked], axis=2)


def _model_proto(
    graph: Graph, n_bins: int, n_states: int, state_shape: tuple[int, ...], bidirectional: bool
) -> onnx.ModelProto:
    """Inputs, outputs and nodes as a checked model."""

    def value(name: str, shape: tuple[Any, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    spectrum = (1, "frames", n_bins, 2)
    inputs = [value("spectrum", spectrum)]
    outputs = [value("enhanced", spectrum)]
    for k in range(n_states):
        inputs.append(value(f"state_{k}", state_shape))
        outputs.append(value(f"next_state_{k}", state_shape))
    if bidirectional:
        inputs.append(helper.make_tensor_value_info("kept", TensorProto.INT64, ()))
    body = helper.make_graph(graph.nodes, "dpcrn", inputs, outputs, graph.constants)
    proto = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto
