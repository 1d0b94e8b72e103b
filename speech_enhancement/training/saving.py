"""Network, its ONNX file and card, written together and read back with the same care."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from speech_enhancement import places
from speech_enhancement.errors import UserError
from speech_enhancement.inference import keras_archive, network_files
from speech_enhancement.inference.card import ModelCard, file_sha256
from speech_enhancement.inference.network_files import replacing_network
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.training import onnx_metadata


def save_network(
    stem: Path, model: keras.Model, hyper_model: DenoisingHyperModel, **card_fields: Any
) -> ModelCard:
    """Write `stem.keras`, the card `stem.json`, and the twin `stem.onnx` where that can be written.

    Args:
        stem: path without a suffix.
        model: the trained network.
        hyper_model: what built it.
        card_fields: further fields of `card.ModelCard`.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    with replacing_network(stem) as folder:
        keras_path, onnx_path, card_path = (
            network_files.file_of(folder / Path(stem).name, suffix)
            for suffix in network_files.SUFFIXES
        )
        model.save(keras_path)
        written = [keras_path]
        if not missing_for_twin(hyper_model):
            export_onnx(hyper_model, model, keras_path, onnx_path)
            facts = onnx_metadata.properties(
                *(Path(stem).name, hyper_model.name, hyper_model.audio, hyper_model.features),
                card_fields.get("training", {}),
            )
            onnx_metadata.describe(onnx_path, facts)
            written.append(onnx_path)
        is_streaming = hyper_model.is_streaming(model)
        card = ModelCard(
            model=hyper_model.name,
            audio=hyper_model.audio,
            features=hyper_model.features,
            level_dbfs=hyper_model.level_dbfs,
            streaming=is_streaming,
            any_length=model.input_shape[1] is None and not is_streaming,
            parameters=model.count_params(),
            sha256={path.suffix: file_sha256(path) for path in written},
            **card_fields,
        )
        card.save(card_path)
    if onnx_path not in written:
        # That of the network which had the name before.
        network_files.file_of(Path(stem), network_files.ONNX).unlink(missing_ok=True)
    return card


def missing_for_twin(hyper_model: DenoisingHyperModel) -> list[str]:
    """Packages that are not here and that the ONNX twin of a network is written with."""
    return [name for name in hyper_model.onnx_packages if importlib.util.find_spec(name) is None]


def load_weights_into(model: keras.Model, path: Path) -> None:
    """Copy the weights of a saved network into one of the same shape, and its optimizer's moments.

    Raises:
        UserError: the file is missing or holds another network.
    """
    policy = keras.config.dtype_policy()
    # Else Keras would look for the scale of a loss beside the moments, in float16.
    keras.config.set_dtype_policy("float32")
    try:
        saved = keras_archive.load(path, compile=True)
    finally:
        keras.config.set_dtype_policy(policy)
    weights = saved.get_weights()
    try:
        model.set_weights(weights)
    except ValueError as error:
        raise UserError(
            f"{path} holds {sum(w.size for w in weights)} weights of another network; "
            f"this one has {model.count_params()}"
        ) from error
    copy_moments(saved, model)


def copy_moments(source: keras.Model, target: keras.Model) -> bool:
    """Have the optimizer of a network go on with the moments of another's.

    The count of steps and the learning rate stay as they are, so that a schedule starts anew, and
    an Adam whose count starts anew takes small steps at first.

    Returns:
        Whether the source has an optimizer whose state fits.
    """
    # A network that was saved without being compiled has no such attribute.
    if getattr(source, "optimizer", None) is None:
        return False
    target.optimizer.build(target.trainable_variables)
    given, wanted = _moments(source.optimizer), _moments(target.optimizer)
    if [v.shape for v in given] != [v.shape for v in wanted]:
        return False
    for variable, moment in zip(wanted, given, strict=True):
        variable.assign(moment)
    return True


def _moments(optimizer: keras.optimizers.Optimizer) -> list:
    """What an optimizer remembers of every weight; the scale of a loss in float16 is left out."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return [v for v in optimizer.variables if v.name not in ("iteration", "learning_rate")]


def in_float32(
    trained: keras.Model, hyper_model: DenoisingHyperModel, hp: keras_tuner.HyperParameters
) -> keras.Model:
    """A network that computes in 32 bits, with the weights of one that was trained in 16.

    Files of networks must not depend on the precision of their training: processors run 16 bits
    slowly, and a difference of decibels needs more of them. Keras makes new layers in float32 from
    then on.

    Args:
        trained: the network, with its optimizer or without.
        hyper_model: what built it.
        hp: its hyper-parameters.
    """
    keras.config.set_dtype_policy("float32")
    compiled = getattr(trained, "optimizer", None) is not None
    model = hyper_model.build(hp) if compiled else hyper_model.network(hp)
    model.set_weights(trained.get_weights())
    copy_moments(trained, model)
    return model


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of each layer into the layer of the same name."""
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def export_onnx(
    hyper_model: DenoisingHyperModel, model: keras.Model, saved: Path, path: Path
) -> None:
    """Write the ONNX file of a network; batch and any open dimension stay open.

    Args:
        hyper_model: what built the network.
        model: the network.
        saved: the same as a `.keras` file.
        path: file to write.

    Raises:
        UserError: another backend trained it, and there is no TensorFlow to export it with.
    """
    graph = hyper_model.onnx_graph(model)
    if graph is not None:
        path.write_bytes(graph.SerializeToString())
    elif keras.backend.backend() == "tensorflow":
        export_with_tensorflow(model, path)
    else:
        _export_in_tensorflow_process(hyper_model.name, saved, path)


def export_with_tensorflow(model: keras.Model, path: Path) -> None:
    """Write the ONNX file of a network that TensorFlow runs."""
    # An uncalled network is refused by the exporter.
    blank = keras.tree.map_structure(
        lambda x: np.zeros([n or 1 for n in x.shape], x.dtype), model.input
    )
    model(blank)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        _freeing_graphs_at_once(),
    ):
        warnings.simplefilter("ignore")
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        model.export(str(path), format="onnx", verbose=False)


@contextlib.contextmanager
def _freeing_graphs_at_once() -> Iterator[None]:
    """Let tf2onnx forget each copy of the graph before it makes the next one.

    It copies the graph for each of its optimizers. What a copy consists of refers to each other, so
    that it stays until Python looks for such circles, which is rarely: 14 GB were in use for a
    network of 50 M parameters, and 5 GB with this.
    """
    from tf2onnx import optimizer

    def collecting(factory: Callable[[], Any]) -> Callable[[], Any]:
        def make() -> Any:
            gc.collect()
            return factory()

        return make

    usual = dict(optimizer._optimizers)
    optimizer._optimizers.update({name: collecting(make) for name, make in usual.items()})
    gc.freeze()  # what was there before is not looked through each time
    try:
        yield
    finally:
        gc.unfreeze()
        optimizer._optimizers.update(usual)


def _export_in_tensorflow_process(model_name: str, saved: Path, path: Path) -> None:
    """Have a process of the one backend that tf2onnx reads write the twin of a saved network."""
    command = [sys.executable, "-m", __name__, model_name, str(saved), str(path)]
    environment = places.module_environment() | {"KERAS_BACKEND": "tensorflow"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = result.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UserError(
            f"The ONNX file of {saved} can only be written with TensorFlow: {reason[0]}"
        )


def _main(model_name: str, saved: str, path: str) -> None:
    """Export a saved network from a process of its own."""
    export_with_tensorflow(keras_archive.load(Path(saved), model_name), Path(path))


if __name__ == "__main__":
    _main(*sys.argv[1:])
