"""The batches that training and tuning learn from, as the options describe them."""

from __future__ import annotations

import argparse
from typing import Any

import dataset
import dataset_dynamic
from config import AudioConfig
from errors import UsageError
from features import Features
from model_base import DenoisingHyperModel


def audio_of_data(options: argparse.Namespace) -> AudioConfig | None:
    """The geometry of the stored windows; none, for the model's own, for mixtures on the fly.

    Raises:
        UserError: data_creation has not finished.
    """
    if options.data == "dynamic":
        return None
    return dataset.audio_of(dataset.load_manifest(options.path_save_spectrogram))


def make_datasets(options: argparse.Namespace, hyper_model: DenoisingHyperModel) -> tuple[Any, Any]:
    """Training and validation batches.

    Raises:
        UserError: the data set is unfinished, or voices or noises are missing.
        UsageError: `loud_weight` does not fit.
    """
    check_loud_weight(options, hyper_model.features)
    if options.data == "dynamic":
        return dataset_dynamic.open_mixtures(options, hyper_model.features, hyper_model.audio)
    shared = (hyper_model.features, options.batch_size)
    folder = options.path_save_spectrogram
    return (
        dataset.StoredWindows(
            folder,
            "train",
            *shared,
            limit=options.max_windows,
            shuffle_seed=options.seed,
            loud_weight=options.loud_weight,
        ),
        dataset.StoredWindows(folder, "validation", *shared, limit=options.max_validation_windows),
    )


def check_loud_weight(options: argparse.Namespace, features: Features) -> None:
    """Weights of bins need stored magnitudes and an output for each of them."""
    if not 0.0 <= options.loud_weight <= 1.0:
        raise UsageError(f"`loud_weight` must be in 0..1. Received: {options.loud_weight}")
    weighable = features.representation not in ("complex", "waveform") and not features.n_mels
    if options.loud_weight and not (weighable and options.data == "stored"):
        raise UsageError(
            "`loud_weight` must be 0 but for --data stored and a model of magnitudes without mel "
            f"bands. Received: {options.loud_weight}"
        )
