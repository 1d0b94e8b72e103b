"""A saved network in the formats of other programs: written, and read back to be run.

| format | file | its batch | made by |
|---|---|---|---|
| `onnx` | `NAME.onnx` | open | tf2onnx, or the model itself |
| `int8` | `NAME_int8.onnx` | open | ONNX Runtime's quantisation |
| `litert` | `NAME.tflite` | 1 | TensorFlow's converter, of LiteRT's own operators only |
| `saved_model` | `NAME_saved_model/` | open | TensorFlow |

A network that streams takes its state beside its input, and gives it back beside its output, in
every format (see `DenoisingHyperModel.step_network`): a frame at a time in LiteRT, any number of
them in the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

import keras
import keras_tuner
import numpy as np

from speech_enhancement import places, registry
from speech_enhancement.errors import UserError
from speech_enhancement.inference import keras_archive, network_files, runtime
from speech_enhancement.inference.card import ModelCard, file_sha256
from speech_enhancement.inference.runtime import State
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.signal.features import Network
from speech_enhancement.training import saving

RECURRENT_OPERATORS = {"LSTM", "GRU", "RNN", "Loop", "Scan"}


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network read back in Keras, with what built it.

    Args:
        card: its card.
        hyper_model: what built it.
        model: the network.
        saved: its `.keras` file.
    """

    card: ModelCard
    hyper_model: DenoisingHyperModel
    model: keras.Model
    saved: Path

    @classmethod
    def load(cls, stem: Path) -> TrainedNetwork:
        """Read a saved network.

        Args:
            stem: path of the network's files without suffix.

        Raises:
            UserError: there is none, or its files do not belong together.
        """
        saved = runtime.network_path(stem, "keras")
        card = ModelCard.beside(stem)
        card.check_file(saved)
        model_class = registry.resolve(registry.MODELS, "model", card.model)
        hyper_model = model_class(audio=card.audio, features=card.features)
        return cls(card, hyper_model, keras_archive.load(saved), saved)

    def step(self, n_frames: int | None) -> keras.Model:
        """The network with its state as inputs and outputs, for `n_frames` frames a call."""
        hp = keras_tuner.HyperParameters()
        hp.values = dict(self.card.hyperparameters)
        step = self.hyper_model.step_network(hp, n_frames)
        saving.copy_weights(self.model, step)
        return step

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The output of the Keras network."""
        if self.card.streaming:
            # A graph of a whole recording, frame after frame, takes longer to make than to run.
            return keras.ops.convert_to_numpy(self.model(batch, training=False))
        return np.asarray(self.model.predict_on_batch(batch))


class Exporter(Protocol):
    """A format to which networks are exported.

    Class attributes:
        suffix: what follows the network's name.
        packages: what is needed beside requirements.txt.
        least_si_sdr_db, largest_difference: how near the sound must come to that of Keras, dB and
            full scale.
    """

    suffix: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    least_si_sdr_db: ClassVar[float] = 60.0
    largest_difference: ClassVar[float] = 1e-3

    def write(self, trained: TrainedNetwork, path: Path, examples: np.ndarray) -> None:
        """Write the network; `examples` are network inputs of real recordings."""

    def read(self, path: Path, card: ModelCard) -> Network:
        """Read it as a function of network inputs, on one thread, that carries the state."""


class Onnx(Exporter):
    """ONNX in 32 bits; see `Exporter`."""

    suffix = network_files.ONNX

    def write(self, trained: TrainedNetwork, path: Path, examples: np.ndarray) -> None:
        """See `Exporter.write`; the twin that was saved with the network will do."""
        twin = trained.saved.with_suffix(network_files.ONNX)
        if twin.is_file() and trained.card.sha256.get(network_files.ONNX) == file_sha256(twin):
            shutil.copyfile(twin, path)
        else:
            saving.export_onnx(trained.hyper_model, trained.model, trained.saved, path)

    def read(self, path: Path, card: ModelCard) -> Network:
        """See `Exporter.read`."""
        card = dataclasses.replace(card, sha256={network_files.ONNX: file_sha256(path)})
        network = runtime.load_network(path.with_suffix(""), card, "onnx", threads=1)
        if card.any_length:
            return one_by_one(network)
        return frame_by_frame(network.step, network.initial_state()) if card.streaming else network


class Int8(Onnx):
    """ONNX in 8 bits; see `Exporter`.

    Networks without recurrence are quantised statically: weights, and activations in ranges that
    were seen on `examples`. A recurrent network's state has no such range, so its weights alone
    are quantised beforehand, and activations while it runs. Weights use 7 of the 8 bits: on
    processors without VNNI instructions the sums of products of 8 bits overflow.
    """

    suffix = "_int8.onnx"
    least_si_sdr_db = 20.0
    largest_difference = 0.1

    def write(self, trained: TrainedNetwork, path: Path, examples: np.ndarray) -> None:
        """See `Exporter.write`."""
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        kinds = {"weight_type": quantization.QuantType.QInt8, "reduce_range": True}
        with tempfile.TemporaryDirectory() as folder, quiet():
            whole, prepared = Path(folder, "whole.onnx"), Path(folder, "prepared.onnx")
            super().write(trained, whole, examples)
            quant_pre_process(whole, prepared, skip_symbolic_shape=True)
            graph = onnx.load(prepared).graph
            if any(node.op_type in RECURRENT_OPERATORS for node in graph.node):
                quantization.quantize_dynamic(prepared, path, **kinds)
                return
            quantization.quantize_static(
                prepared,
                path,
                Examples(graph.input[0].name, examples),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                **kinds,
            )


class Examples:
    """Network inputs one by one, as ONNX Runtime's `CalibrationDataReader` wants them."""

    def __init__(self, name: str, examples: np.ndarray) -> None:
        self._batches = iter([{name: example[np.newaxis]} for example in examples])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or none."""
        return next(self._batches, None)


class LiteRT(Exporter):
    """LiteRT, once TensorFlow Lite, in 32 bits; see `Exporter`.

    A network that takes any length takes windows of its card's length here: LiteRT has no loops
    over a number of frames that is not known beforehand.
    """

    suffix = ".tflite"
    packages = ("ai_edge_litert",)

    def write(self, trained: TrainedNetwork, path: Path, examples: np.ndarray) -> None:
        """See `Exporter.write`."""
        tensorflow = require_tensorflow("litert")
        model = trained.step(1) if trained.card.streaming else trained.model
        window = trained.card.features.input_shape(trained.card.audio)
        any_length = trained.card.any_length
        shapes = [(1, *(window if any_length else each.shape[1:])) for each in model.inputs]
        signature = [
            keras.InputSpec(shape=shape, dtype="float32", name=each.name)
            for shape, each in zip(shapes, model.inputs, strict=True)
        ]
        operators = {"supported_ops": [tensorflow.lite.OpsSet.TFLITE_BUILTINS]}
        with quiet():
            model.export(
                path,
                format="litert",
                verbose=False,
                input_signature=[signature] if len(signature) > 1 else signature,
                target_spec=operators,
            )

    def read(self, path: Path, card: ModelCard) -> Network:
        """See `Exporter.read`."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
        run = interpreter.get_signature_runner()
        names = list(run.get_input_details())
        if card.streaming:
            states = {
                name: np.zeros(details["shape"], np.float32)
                for name, details in run.get_input_details().items()
                if name.startswith("state_")
            }
            return frame_by_frame(stepper(run), states)
        return lambda batch: np.concatenate(
            [only_value(run(**{names[0]: window[np.newaxis]})) for window in batch]
        )


class SavedModel(Exporter):
    """TensorFlow's own format; see `Exporter`."""

    suffix = "_saved_model"

    def write(self, trained: TrainedNetwork, path: Path, examples: np.ndarray) -> None:
        """See `Exporter.write`."""
        require_tensorflow("saved_model")
        model = trained.step(None) if trained.card.streaming else trained.model
        with quiet():
            model.export(path, format="tf_saved_model", verbose=False)

    def read(self, path: Path, card: ModelCard) -> Network:
        """See `Exporter.read`."""
        tensorflow = require_tensorflow("saved_model")
        loaded = tensorflow.saved_model.load(str(path))
        run = loaded.signatures["serving_default"]
        inputs = run.structured_input_signature[1]

        def call(**values: np.ndarray) -> dict[str, np.ndarray]:
            tensors = {name: tensorflow.constant(value) for name, value in values.items()}
            return {name: value.numpy() for name, value in run(**tensors).items()}

        if card.streaming:
            states = {
                name: np.zeros([side or 1 for side in spec.shape], np.float32)
                for name, spec in inputs.items()
                if name.startswith("state_")
            }
            return frame_by_frame(stepper(call), states)
        return lambda batch: only_value(call(**{next(iter(inputs)): batch}))


def one_by_one(network: runtime.StreamingNetwork) -> Network:
    """A network of any length as a function of a batch of whole recordings."""
    return lambda batch: np.concatenate(
        [network.step(each[np.newaxis], network.initial_state())[0] for each in batch]
    )


def frame_by_frame(step: Any, initial_state: State) -> Network:
    """A function of whole spectrograms (1, frames, bins, 2) that hands in one frame at a time."""

    def run(spectrum: np.ndarray) -> np.ndarray:
        state, enhanced = initial_state, []
        for frame in np.split(spectrum, spectrum.shape[1], axis=1):
            output, state = step(frame, state)
            enhanced.append(output)
        return np.concatenate(enhanced, axis=1)

    return run


def stepper(run: Any) -> Any:
    """A function of named values as a function `(spectrum, state) -> (enhanced, state)`."""

    def step(spectrum: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        outputs = run(spectrum=spectrum, **state)
        return outputs["enhanced"], {name: outputs[f"next_{name}"] for name in state}

    return step


def only_value(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """The output of a network that has one."""
    return next(iter(outputs.values()))


def check_packages(name: str, exporter: Exporter) -> None:
    """Refuse a format for which something is not installed.

    Raises:
        UserError: a package is missing, or Keras runs on something else than TensorFlow.
    """
    if any(importlib.util.find_spec(package) is None for package in exporter.packages):
        raise UserError(f"The format {name} needs `{places.install_command('extra')}`")
    if name in ("litert", "saved_model"):
        require_tensorflow(name)


def require_tensorflow(name: str) -> Any:
    """TensorFlow, which alone writes some formats.

    Raises:
        UserError: Keras runs on something else.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"The format {name} needs TensorFlow to run Keras: set KERAS_BACKEND=tensorflow. "
            f"Received: {keras.backend.backend()}"
        )
    import tensorflow

    return tensorflow


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what converters print about their own work."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
