"""The options that training and tuning share, as the values that their stages take."""

from __future__ import annotations

import argparse

from speech_enhancement.cli import args
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.mixing.recipe import MixingConfig
from speech_enhancement.models import base
from speech_enhancement.training import hyperparameters, run_folder
from speech_enhancement.training.data import DeviceData, MixedData, StoredData, TrainingData
from speech_enhancement.training.design import Design
from speech_enhancement.training.machines import Machines

MIXED = (
    *("voice_dir", "noise_dir", "voice_dir_validation", "noise_dir_validation"),
    *("validation_split", "noise_classes", "split_noises_by", "min_duration"),
    *("workers", "cache_dir"),
    *("steps_per_epoch", "validation_mixtures", "mixing_workers", "prefetch"),
)
STORED = ("max_windows", "max_validation_windows", "loud_weight")


def data_of(options: argparse.Namespace) -> TrainingData:
    """The training data that `--data` and its options describe.

    Raises:
        UsageError: a value of the recipe is out of its range.
    """
    if options.data == "stored":
        values = {name: getattr(options, name) for name in STORED}
        return StoredData(options.path_save_spectrogram, **values)
    values = {name: getattr(options, name) for name in MIXED}
    kind = DeviceData if options.data == "device" else MixedData
    return kind(**values, recipe=MixingConfig(**args.recipe_values(options)))


def design_of(options: argparse.Namespace) -> Design:
    """The network that the options describe.

    Raises:
        UsageError: a hyper-parameter is not written as NAME=VALUE.
        UserError: there is no network to go on with.
    """
    audio = {name: getattr(options, name) for name in args.AUDIO_OPTIONS}
    return Design(
        model_of(options),
        audio={name: value for name, value in audio.items() if value is not None},
        hyperparameters=dict(map(hyperparameters.parse, options.hyperparameter)),
        hyperparameters_file=options.hyperparameters,
        **{name: getattr(options, name) for name in base.OPTIONS},
    )


def model_of(options: argparse.Namespace) -> str:
    """The kind of network: the given one, that of what goes on, or the default.

    Raises:
        UserError: there is nothing to go on with.
    """
    if options.model is not None:
        return options.model
    if options.mode == "training" and options.name_model is not None:
        if options.resume:
            return run_folder.model_in(options.run_dir / options.name_model)
        if not options.training_from_scratch:
            return ModelCard.beside(options.weights_folder / options.name_model).model
    return Design.model


def machines_of(options: argparse.Namespace) -> Machines | None:
    """The machines that train together; none if there is only this one.

    Raises:
        UsageError: what is given of them does not go together.
    """
    if options.coordinator is None:
        return None
    return Machines(options.coordinator, options.machines, options.machine_index)
