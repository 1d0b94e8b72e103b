"""Other formats and narrower numbers for a saved network, to measure them.

| variant | numbers | runs in |
|---|---|---|
| `onnx_float32` | 32 bits: what is shipped | ONNX Runtime |
| `onnx_float16` | 16 bits, where there are operators for it | ONNX Runtime |
| `onnx_int8_weights` | weights in 8 bits, activations quantised as they come | ONNX Runtime |
| `onnx_int8` | weights and activations in 8 bits, ranges from speech | ONNX Runtime |
| `keras_float32` | 32 bits | Keras |
| `keras_bfloat16` | products in 16 bits, if the processor has them | Keras, oneDNN |
| `litert_float32` | 32 bits | LiteRT |
| `litert_float16` | weights in 16 bits | LiteRT |
| `litert_int8_weights` | weights in 8 bits | LiteRT |

A network that carries a state is tried in ONNX Runtime only, and with ranges as they come.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from speech_enhancement.files import audio_io
from speech_enhancement.inference.card import ModelCard, file_sha256
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.signal import dsp
from speech_enhancement.signal.features import Network

STREAMING = ("onnx_float32", "onnx_float16", "onnx_int8_weights")
WINDOWS = (
    *("onnx_float32", "onnx_float16", "onnx_int8_weights", "onnx_int8"),
    *("keras_float32", "keras_bfloat16"),
    *("litert_float32", "litert_float16", "litert_int8_weights"),
)
LITERT_TYPES = {"litert_float32": None, "litert_float16": ["float16"], "litert_int8_weights": []}
CALIBRATION_WINDOWS = 16


def names(stem: Path) -> tuple[str, ...]:
    """The variants of a network."""
    return STREAMING if card_of(stem).streaming else WINDOWS


def card_of(stem: Path) -> ModelCard:
    """The card of a network."""
    return ModelCard.load(stem.with_suffix(".json"))


def convert(stem: Path, folder: Path) -> None:
    """Write the variants into a folder, as far as they can be converted.

    Args:
        stem: path of the network without suffix.
        folder: an empty folder.
    """
    writers: list[Callable[[Path, Path], None]] = [to_float16, to_int8_weights]
    if not card_of(stem).streaming:
        writers += [to_int8, to_litert]
    for write in writers:
        with contextlib.suppress(Exception):  # what is missing afterwards, failed: see `load`
            write(stem, folder)


def to_float16(stem: Path, folder: Path) -> None:
    """16 bits throughout, but inputs and outputs."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(stem.with_suffix(".onnx")), keep_io_types=True)
    onnx.save(model, folder / "onnx_float16.onnx")


def to_int8_weights(stem: Path, folder: Path) -> None:
    """Weights in 8 bits."""
    from onnxruntime import quantization

    kinds = {"weight_type": quantization.QuantType.QInt8, "reduce_range": True}
    path = folder / "onnx_int8_weights.onnx"
    quantization.quantize_dynamic(prepared(stem, folder), path, **kinds)


def to_int8(stem: Path, folder: Path) -> None:
    """Weights and activations in 8 bits."""
    import onnx
    from onnxruntime import quantization

    class Windows(quantization.CalibrationDataReader):
        """Windows of noisy speech, one by one."""

        def __init__(self, name: str) -> None:
            self._inputs = iter([{name: window[np.newaxis]} for window in speech_windows(stem)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next one, or none."""
            return next(self._inputs, None)

    source = prepared(stem, folder)
    quantization.quantize_static(
        source,
        folder / "onnx_int8.onnx",
        Windows(onnx.load(source).graph.input[0].name),
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def prepared(stem: Path, folder: Path) -> Path:
    """The network with the shapes that quantisation asks for."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = folder / "prepared.onnx"
    quant_pre_process(stem.with_suffix(".onnx"), path, skip_symbolic_shape=True)
    return path


def speech_windows(stem: Path) -> np.ndarray:
    """Network inputs of noisy speech at the level that the network knows."""
    card = card_of(stem)
    rate, length = card.audio.sample_rate, card.audio.frame_length
    folder = Path(__file__).resolve().parents[1] / "demo_data" / "noisy"
    sounds = [audio_io.load_audio(path, rate)[0] for path in sorted(folder.glob("*.wav"))]
    sound = np.resize(np.concatenate(sounds), CALIBRATION_WINDOWS * length)
    if card.level_dbfs is not None:
        sound *= 10 ** (card.level_dbfs / 20) / dsp.active_rms(sound, rate)
    windows = dsp.frame(sound, length, length)
    return card.features.encode(dsp.stft(windows, card.audio))


def to_litert(stem: Path, folder: Path) -> None:
    """LiteRT in 32 bits, and with narrower weights."""
    import keras
    import tensorflow

    model = keras.saving.load_model(stem.with_suffix(".keras"), compile=False)
    model.export(folder / "saved", verbose=False)
    for name, types in LITERT_TYPES.items():
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        if types is not None:
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [getattr(tensorflow, t) for t in types]
        (folder / f"{name}.tflite").write_bytes(converter.convert())


def load(name: str, stem: Path, folder: Path, threads: int) -> Enhancer:
    """A variant, ready to denoise; in a process of its own, for some set it up for good.

    Args:
        name: one of `names`.
        stem: path of the network without suffix.
        folder: where `convert` wrote.
        threads: processor threads to use.
    """
    if name == "onnx_float32":
        return Enhancer.load(stem, "onnx", threads)
    if name.startswith("keras"):
        os.environ["TF_SET_ONEDNN_FPMATH_MODE"] = "BF16" if name == "keras_bfloat16" else "STRICT"
        return Enhancer.load(stem, "keras", threads)
    if name.startswith("litert"):
        return Enhancer(litert_network(folder / f"{name}.tflite", threads), card_of(stem))
    path = folder / f"{name}.onnx"
    card = dataclasses.replace(card_of(stem), sha256={".onnx": file_sha256(path)})
    card.save(path.with_suffix(".json"))
    return Enhancer.load(path, "onnx", threads)


def litert_network(path: Path, threads: int) -> Network:
    """A LiteRT file as a function on batches of any size."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(batch: np.ndarray) -> np.ndarray:
        nonlocal shape
        if batch.shape != shape:
            interpreter.resize_tensor_input(source, batch.shape)
            interpreter.allocate_tensors()
            shape = batch.shape
        interpreter.set_tensor(source, np.ascontiguousarray(batch, np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(result).copy()

    return run
