"""The batches that training and tuning learn from, as the options describe them."""

from __future__ import annotations

import argparse
from typing import Any

import dataset
import dataset_dynamic
from config import AudioConfig
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
    """
    if options.data == "dynamic":
        return dataset_dynamic.open_mixtures(options, hyper_model.features, hyper_model.audio)
    shared = (hyper_model.features, options.batch_size)
    folder = options.path_save_spectrogram
    return (
        dataset.StoredWindows(
            folder, "train", *shared, limit=options.max_windows, shuffle_seed=options.seed
        ),
        dataset.StoredWindows(folder, "validation", *shared, limit=options.max_validation_windows),
    )
