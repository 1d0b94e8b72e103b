"""--mode training: fit a network to stored windows or to mixtures drawn on the fly."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import itertools
import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_tuner
import numpy as np

from speech_enhancement import places
from speech_enhancement.cli import training_data
from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic
from speech_enhancement.models import base
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.scoring import scorer
from speech_enhancement.signal.features import Features
from speech_enhancement.training import (
    backups,
    callbacks,
    continuing,
    devices,
    examples,
    hyperparameters,
    run_description,
    run_names,
    saving,
    tracking,
)

DESCRIPTION = "training.json"
MEGA = 1e6
MOST_EPOCHS = 10**6  # of a training that is limited in time


def run(options: argparse.Namespace) -> int:
    """Train, keep the best network, and save it with its twin and its card."""
    with run_names.claimed(options) as options.name_model:
        return train_network(options)


def train_network(options: argparse.Namespace) -> int:
    """Train under a name that is this process's."""
    tracking.check(options.track)
    logging.getLogger("absl").setLevel(logging.ERROR)
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy("mixed_float16" if options.mixed_precision else "float32")

    origin = origin_of(options)
    hyper_model, hp = choose_network(options, origin)
    train, validation = training_data.make_datasets(options, hyper_model)
    model = build(hyper_model, hp, options, len(train))
    # An earlier run of the name makes way only when nothing stands in the way of this one.
    run_folder = options.run_dir / options.name_model
    if origin.continued and not options.resume:
        set_aside(run_folder)
    same = identity(options, hyper_model, hp)
    first_epoch = prepare_run_folder(run_folder, same, options.resume, origin)
    train.start_epoch(first_epoch)
    describe(model, train, validation, options, first_epoch)
    with tracking.tracked(
        options.track, run_folder, run_description.load(run_folder / DESCRIPTION, "training")
    ) as trackers:
        fit(model, train, validation, options, run_folder, first_epoch, trackers)

    # A variable of several devices is no number by itself.
    steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    stem = options.weights_folder / options.name_model
    saving.save_network(
        stem,
        saving.load_keras(run_folder / callbacks.BEST, compile=options.save_optimizer),
        hyper_model,
        hyperparameters=hp.values,
        training=summary(train, validation, options, run_folder, origin, steps),
    )
    # Until here, the training can be resumed.
    backups.remove(run_folder)
    print(f"Saved {stem}.keras, {stem.name}.onnx and {stem.name}.json")
    network = f"--weights_folder {stem.parent} --name_model {stem.name}"
    print(f"Denoise with it: {places.COMMAND} RECORDING {network}")
    return 0


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a training began with.

    Args:
        continued: whether it goes on with a network, or from random weights.
        hours_before: hours of sound that the network had heard.
    """

    continued: bool = False
    hours_before: float = 0.0


def origin_of(options: argparse.Namespace) -> Origin:
    """What a training begins with, or began with if it is resumed.

    Raises:
        UserError: there is no such network, or nothing to resume.
    """
    if options.resume:
        run_folder = options.run_dir / options.name_model
        if callbacks.interrupted_epoch(run_folder) is None:
            raise UserError(f"No interrupted training to resume in {run_folder}")
        before = run_description.load(run_folder / DESCRIPTION, "training")
        hours = before.get("hours_before")
        hours = float(hours) if isinstance(hours, int | float) else 0.0
        return Origin(bool(before.get("continued")), hours)
    if options.training_from_scratch:
        return Origin()
    return Origin(True, continuing.hours_heard(continuing.card_of(options)))


def choose_network(
    options: argparse.Namespace, origin: Origin
) -> tuple[DenoisingHyperModel, keras_tuner.HyperParameters]:
    """The network to train, which is that of the card if it goes on.

    Raises:
        UserError: there is no network to go on with.
        UsageError: the options do not fit the model, or not the network that goes on.
    """
    card = continuing.card_of(options) if origin.continued else None
    audio = training_data.audio_of_data(options, card.audio if card else None)
    hyper_model = base.make(options, audio)
    hp = hyperparameters.choose(hyper_model, options.hyperparameters, options.hyperparameter)
    if card:
        stem = continuing.stem_of(options)
        continuing.check(card, stem, hyper_model)
        hp = continuing.choose(card, stem, hyper_model, hp.values)
    return hyper_model, hp


def identity(
    options: argparse.Namespace,
    hyper_model: DenoisingHyperModel,
    hp: keras_tuner.HyperParameters,
) -> dict[str, Any]:
    """What makes a training the same training when it is resumed."""
    return {
        "model": options.model,
        "hyperparameters": hp.values,
        "features": hyper_model.features.to_dict(),
        "audio": hyper_model.audio.to_dict(),
        "evaluate_every": options.evaluate_every,
        **training_data.identity(options),
    }


def set_aside(run_folder: Path) -> None:
    """Give the folder of an earlier training another name, NAME.1 and so on.

    Raises:
        UserError: the folder cannot be written.
    """
    names = (run_folder.with_name(f"{run_folder.name}.{number}") for number in itertools.count(1))
    try:
        if run_folder.exists():
            run_folder.rename(next(name for name in names if not name.exists()))
    except OSError as error:
        raise UserError(f"Cannot write {run_folder}: {error.strerror}") from error


def prepare_run_folder(
    run_folder: Path, description: dict[str, Any], resume: bool, origin: Origin = Origin()
) -> int:
    """Clear the folder of a new training, or find the epoch at which an old one goes on.

    Raises:
        UserError: there is none to resume, or the folder cannot be written.
        UsageError: the one that is there is another.
    """
    backup = backups.newest(run_folder) if resume else None
    if resume and backup is None:
        raise UserError(f"No interrupted training to resume in {run_folder}")
    if backup:
        run_description.check(run_folder / DESCRIPTION, description, "training")
        report_damage(backup)
    epoch = backup.epoch if backup else 0
    try:
        if not resume:
            atomic.remove_folder(run_folder)
        run_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {run_folder}: {error.strerror}") from error
    run_description.save(run_folder / DESCRIPTION, description | dataclasses.asdict(origin))
    callbacks.forget_epochs(run_folder / callbacks.LOG, epoch)
    return epoch


def report_damage(backup: backups.Backup) -> None:
    """Say which backups were passed over."""
    for folder in backup.damaged:
        print(
            f"note: the backup {folder} is damaged: going on from the one before it, at epoch "
            f"{backup.epoch + 1}",
            file=sys.stderr,
        )


def build(
    hyper_model: DenoisingHyperModel,
    hp: keras_tuner.HyperParameters,
    options: argparse.Namespace,
    steps_per_epoch: int,
) -> keras.Model:
    """The compiled network, on all GPUs of this machine, as an earlier one left off if asked."""
    if options.learning_rate is not None:
        hp.values["learning_rate"] = options.learning_rate
    if options.schedule == "cosine" and options.max_seconds is None:
        hyper_model.decay_steps = options.epochs * steps_per_epoch
    with devices.mirrored_scope():
        model = hyper_model.build(hp)
        if not options.training_from_scratch and not options.resume:
            path = options.weights_folder / f"{options.name_model}.keras"
            saving.load_weights_into(model, path)
    return model


def describe(
    model: keras.Model, train: Any, validation: Any, options: argparse.Namespace, epoch: int
) -> None:
    """Say what the training will do."""
    span = f"epochs {epoch + 1} to {options.epochs}"
    if options.max_seconds is not None:
        span = f"up to {callbacks.duration(options.max_seconds)}"
    print(
        f"{options.model}: {model.count_params() / MEGA:.2f} M parameters, "
        f"{train.n_windows} training and {validation.n_windows} validation windows of "
        f"{train.audio.frame_length / train.audio.sample_rate:.3f} s, batches of "
        f"{options.batch_size}, {span}, "
        f"{devices.device_summary()}",
        flush=True,
    )


def fit(
    model: keras.Model,
    train: Any,
    validation: Any,
    options: argparse.Namespace,
    run_folder: Path,
    first_epoch: int,
    trackers: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train to the last epoch, or until a loss is no number.

    Raises:
        UserError: the loss diverged before a first network could be kept.
    """
    limit = time_limit(model, options, run_folder)
    epochs = options.epochs
    if limit:
        epochs = first_epoch + (0 if limit.used >= limit.seconds else MOST_EPOCHS)
    begin, waited = time.perf_counter(), getattr(train, "waited_s", 0.0)
    model.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        initial_epoch=first_epoch,
        # Data sets shuffle themselves, each epoch by its own seed.
        shuffle=False,
        verbose="auto" if sys.stdout.isatty() else 2,
        callbacks=callbacks.training_callbacks(
            run_folder,
            options.resume,
            scoring_callback(train.features, validation, options),
            options.backup_every,
            len(train) + callbacks.COST_OF_VALIDATION * len(validation),
            [*([limit] if limit else []), *examples_callback(validation, options), *trackers],
        ),
    )
    if options.data == "dynamic":
        train.close()
        share = (train.waited_s - waited) / (time.perf_counter() - begin)
        print(f"Waited for mixtures {share:.1%} of the time")
    if not (run_folder / callbacks.BEST).is_file():
        backups.remove(run_folder)
        raise UserError("The loss became NaN in the first epoch; try a lower --learning_rate")


def time_limit(
    model: keras.Model, options: argparse.Namespace, run_folder: Path
) -> callbacks.TimeLimit | None:
    """The limit of the time, if there is one, less what an interrupted training has had."""
    if options.max_seconds is None:
        return None
    backup = backups.newest(run_folder)
    rate = float(model.optimizer.learning_rate) if options.schedule == "cosine" else None
    return callbacks.TimeLimit(options.max_seconds, backup.seconds if backup else 0.0, rate)


def scoring_callback(
    features: Features, validation: Any, options: argparse.Namespace
) -> callbacks.ScoreNetwork | None:
    """Scores of validation mixtures every `--evaluate_every` epochs, if asked."""
    if not options.evaluate_every:
        return None
    noisy, clean = validation.waveforms(options.evaluate_mixtures)
    audio = validation.audio
    # What scores need shall be missed now, not after the first epoch.
    scorer.score_pairs(lambda sound: sound, [(clean[0], noisy[0])], audio.sample_rate)

    def scores(model: keras.Model) -> dict[str, float]:
        def enhance(waveform: np.ndarray) -> np.ndarray:
            return denoised(model, waveform, features, audio)

        return scorer.score_pairs(enhance, zip(clean, noisy, strict=True), audio.sample_rate)

    return callbacks.ScoreNetwork(scores, ("si_sdr", "pesq"), options.evaluate_every)


def examples_callback(
    validation: Any, options: argparse.Namespace
) -> list[keras.callbacks.Callback]:
    """Examples of validation mixtures every `--examples_every` epochs, where TensorBoard is."""
    if not options.examples_every or keras.backend.backend() != "tensorflow":
        return []
    try:
        waveforms = validation.waveforms(examples.SHOWN)
    except UserError as error:  # only the spectrograms of the windows were kept
        print(f"note: no examples in TensorBoard: {error}", file=sys.stderr)
        return []

    def enhance(model: keras.Model, waveform: np.ndarray) -> np.ndarray:
        return denoised(model, waveform, validation.features, validation.audio)

    folder = options.run_dir / options.name_model / callbacks.TENSORBOARD / "examples"
    every = options.examples_every
    return [
        examples.Examples(folder, waveforms, validation.audio.sample_rate, enhance, every),
    ]


def denoised(
    model: keras.Model, waveform: np.ndarray, features: Features, audio: AudioConfig
) -> np.ndarray:
    """What a network makes of a waveform (samples,)."""

    def network(batch: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(model(batch, training=False))

    return features.denoise(waveform[np.newaxis], network, audio)[0]


def summary(
    train: Any,
    validation: Any,
    options: argparse.Namespace,
    run_folder: Path,
    origin: Origin,
    steps: int,
) -> dict[str, Any]:
    """What the card says of this training."""
    log = callbacks.read_log(run_folder / callbacks.LOG)
    best = min(
        (row for row in log if math.isfinite(row["val_loss"])), key=lambda row: row["val_loss"]
    )
    # The time may have been over within an epoch.
    windows = steps / len(train) * train.n_windows
    seconds = windows * train.audio.frame_length / train.audio.sample_rate
    return {
        "seed": options.seed,
        "training_windows": train.n_windows,
        "validation_windows": validation.n_windows,
        "batch_size": options.batch_size,
        "epochs": len(log),
        "hours_heard": round(origin.hours_before + seconds / 3600, 2),
        "best_epoch": int(best["epoch"]) + 1,
        "losses": {n: v for n, v in best.items() if n != "epoch" and math.isfinite(v)},
        "backend": f"keras {keras.__version__}, {keras.backend.backend()}",
        "date": datetime.date.today().isoformat(),
    }
