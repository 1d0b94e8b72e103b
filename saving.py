"""Network, ONNX twin and card, written together and read back with the same care."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from card import ModelCard, file_sha256
from data_tools import replacing
from errors import UserError
from model_base import DenoisingHyperModel

NETWORK_SUFFIXES = (".keras", ".onnx")


def save_network(
    stem: Path, model: keras.Model, hyper_model: DenoisingHyperModel, **card_fields: Any
) -> ModelCard:
    """Write `stem.keras`, `stem.onnx` and the card `stem.json`.

    Args:
        stem: path without a suffix.
        model: the trained network.
        hyper_model: what built it.
        card_fields: further fields of `card.ModelCard`.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    stem = Path(stem)
    with replacing(stem.with_suffix(".keras")) as temporary:
        model.save(temporary)
    with replacing(stem.with_suffix(".onnx")) as temporary:
        export_onnx(hyper_model, model, temporary)
    card = ModelCard(
        model=hyper_model.name,
        audio=hyper_model.audio,
        features=hyper_model.features,
        level_dbfs=hyper_model.level_dbfs,
        streaming=hyper_model.streaming,
        parameters=model.count_params(),
        sha256={s: file_sha256(stem.with_suffix(s)) for s in NETWORK_SUFFIXES},
        **card_fields,
    )
    card.save(stem.with_suffix(".json"))
    return card


def load_keras(path: Path) -> keras.Model:
    """A saved network, without running any code that the file may carry.

    Raises:
        UserError: the file is missing or is not a network.
    """
    if not Path(path).is_file():
        raise UserError(f"No network at {path}")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Cannot read {path} as a Keras network: {reason}") from error


def load_weights_into(model: keras.Model, path: Path) -> None:
    """Copy the weights of a saved network into one of the same shape.

    Raises:
        UserError: the file is missing or holds another network.
    """
    weights = load_keras(path).get_weights()
    try:
        model.set_weights(weights)
    except ValueError as error:
        raise UserError(
            f"{path} holds {sum(w.size for w in weights)} weights of another network; "
            f"this one has {model.count_params()}"
        ) from error


def export_onnx(hyper_model: DenoisingHyperModel, model: keras.Model, path: Path) -> None:
    """Write the ONNX twin of a network; batch and any open dimension stay open."""
    graph = hyper_model.onnx_graph(model)
    if graph is not None:
        path.write_bytes(graph.SerializeToString())
        return
    # An uncalled network is refused by the exporter.
    blank = keras.tree.map_structure(
        lambda x: np.zeros([n or 1 for n in x.shape], x.dtype), model.input
    )
    model(blank)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        model.export(str(path), format="onnx", verbose=False)


def _zeros_of(tensor: keras.KerasTensor) -> np.ndarray:
    """Silence in the shape of a network's input, every open dimension 1."""
    return np.zeros([1 if side is None else side for side in tensor.shape], tensor.dtype)
