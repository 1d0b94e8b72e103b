"""The loss of networks on stored windows of the test split, which training never reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speech_enhancement import places, registry
from speech_enhancement.errors import UserError
from speech_enhancement.inference import keras_archive, network_files
from speech_enhancement.inference.card import ModelCard

TEST = "test"
BATCH = 20

Losses = dict[str, dict[str, Any]]


def losses_of(networks: Sequence[Path], folder: Path) -> Losses:
    """The loss of each network on the test windows of a data set.

    Args:
        networks: stems of saved networks.
        folder: of the spectrograms and the manifest, as data_creation wrote them with a test split.

    Returns:
        By the name of a network: `loss_function`, `windows`, `test`, and `training` and
        `validation` if its card has them; or the `reason` why there is no loss.

    Raises:
        UserError: there is no such data set, or it has no test split, or Keras is not installed.
    """
    try:
        from speech_enhancement.datasets import stored
    except ImportError as error:
        raise UserError(
            f"The loss on test windows needs Keras: run `{places.install_command('train')}`"
        ) from error
    folder = Path(folder)
    manifest = stored.load_manifest(folder)
    if TEST not in manifest["split"]:
        raise UserError(f"{folder} has no test split: create the windows with --test_split")
    audio = stored.audio_of(manifest)
    losses: Losses = {}
    for stem in networks:
        card = ModelCard.beside(stem)
        if card.audio == audio:
            losses[stem.name] = _loss_of(stem, card, folder)
        else:
            losses[stem.name] = {"reason": "it was made for windows of another geometry"}
    return losses


def _loss_of(stem: Path, card: ModelCard, folder: Path) -> dict[str, Any]:
    """The entry of one network."""
    from speech_enhancement.datasets.stored import StoredWindows

    path = network_files.file_of(stem, network_files.KERAS)
    if not path.is_file():
        return {"reason": f"there is no {path.name}"}
    card.check_file(path)
    name, loss = _loss_function(card)
    windows = StoredWindows(folder, TEST, card.features, BATCH)
    model = keras_archive.load(path, card.model)
    model.compile(loss=loss)
    value = float(model.evaluate(windows, verbose=0))
    known = card.training.get("losses", {})
    earlier = {"training": known.get("loss"), "validation": known.get("val_loss")}
    return {
        "loss_function": name,
        "windows": windows.n_windows,
        **{key: value for key, value in earlier.items() if value is not None},
        **({"test": value} if math.isfinite(value) else {"reason": "the loss is not finite"}),
    }


def _loss_function(card: ModelCard) -> tuple[str, Any]:
    """The loss that a network was trained with, and its name."""
    import keras_tuner

    model_class = registry.resolve(registry.MODELS, "model", card.model)
    name = card.hyperparameters.get("loss", model_class.default_loss)
    hp = keras_tuner.HyperParameters()
    hp.values.update(card.hyperparameters)
    hyper_model = model_class(audio=card.audio, features=card.features)
    options = hyper_model.loss_options(hp, name)
    return name, registry.resolve(registry.LOSSES, "loss", name)(**options)
