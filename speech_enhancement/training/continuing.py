"""A training that goes on with a network: what it takes over of it, and what it must share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_tuner

from speech_enhancement.errors import UsageError
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.training import hyperparameters

# What may be another in each training of a network: all that does not change what it computes.
FREE = ("learning_rate", "loss", "dropout", "l2")
SHARED_AUDIO = ("sample_rate", "n_fft", "hop_length_fft", "window")


def card_of(stem: Path, model: str) -> ModelCard:
    """The card of the network that goes on.

    Args:
        stem: where the network lies, without a suffix.
        model: name in `registry.MODELS` of what it must be.

    Raises:
        UserError: there is none.
        UsageError: it is another model's.
    """
    card = ModelCard.beside(stem)
    _require(stem, "model", card.model, model)
    return card


def check(card: ModelCard, stem: Path, hyper_model: DenoisingHyperModel) -> None:
    """Refuse a geometry or features for which the network was not made.

    Raises:
        UsageError: geometry or features are others.
    """
    for name in SHARED_AUDIO:
        _require(stem, name, getattr(card.audio, name), getattr(hyper_model.audio, name))
    features = hyper_model.features.to_dict()
    for name, value in card.features.to_dict().items():
        _require(stem, name, value, features[name])


def choose(
    card: ModelCard, stem: Path, hyper_model: DenoisingHyperModel, given: dict[str, Any]
) -> keras_tuner.HyperParameters:
    """The hyper-parameters of the network, and those given for its training.

    Raises:
        UsageError: some that were given are not the network's, or it cannot have its own.
    """
    kept = {name: value for name, value in card.hyperparameters.items() if name not in FREE}
    for name, value in given.items():
        _require(stem, name, kept.get(name, value), value)
    return hyperparameters.of_values(hyper_model, kept | given)


def hours_heard(card: ModelCard) -> float:
    """Hours of sound that a network has learned from."""
    hours = card.training.get("hours_heard")
    return float(hours) if isinstance(hours, int | float) else 0.0


def curve(card: ModelCard) -> list[dict[str, float]]:
    """The losses of the epochs that a network was trained for; see `pictures.plot_losses`."""
    rows = card.training.get("curve")
    return rows if isinstance(rows, list) else []


def _require(stem: Path, name: str, wanted: Any, received: Any) -> None:
    """Refuse a value that is not the network's."""
    if wanted != received:
        raise UsageError(f"`{name}` of the network {stem} is {wanted}. Received: {received}")
