"""Trains a network, keeps the best epoch's, and saves it with its twin and its card."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from speech_enhancement.datasets import device
from speech_enhancement.errors import UserError
from speech_enhancement.inference import keras_archive, network_files
from speech_enhancement.inference.card import ModelCard
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.training import (
    backups,
    callbacks,
    continuing,
    devices,
    machines,
    observation,
    run_description,
    run_folder,
    run_names,
    saving,
    tracking,
)
from speech_enhancement.training.data import TrainingData
from speech_enhancement.training.design import Design
from speech_enhancement.training.machines import Machines
from speech_enhancement.training.run_folder import Origin
from speech_enhancement.training.run_names import Run

MEGA = 1e6
MOST_EPOCHS = 10**6  # of a training that is limited in time


@dataclasses.dataclass(frozen=True)
class Learning:
    """How a network is trained.

    Args:
        epochs: passes over the training windows; `max_seconds` takes its place.
        batch_size: windows in a training step.
        learning_rate: step size of the optimizer; the model's own by default.
        schedule: course of the learning rate over the training, `constant` or `cosine`.
        max_seconds: time to train for, s; a training that is resumed has what is left of it.
        mixed_precision: compute in 16 bits where that is safe.
        seed: of the first weights, and of all that is drawn.
        save_optimizer: keep the optimizer's state in the network's file.
        evaluate_every: epochs from one scoring of validation mixtures to the next; 0 for none.
        evaluate_mixtures: validation mixtures to score each time.
        examples_every: epochs from one time that examples go to TensorBoard to the next; 0 for
            never.
        track: some of `registry.TRACKERS`.
        backup_every: steps after which there is a backup, beside the one after each epoch; from
            such a backup, a training that is resumed repeats the epoch.
    """

    epochs: int = 10
    batch_size: int = 20
    learning_rate: float | None = None
    schedule: str = "constant"
    max_seconds: float | None = None
    mixed_precision: bool = False
    seed: int = 0
    save_optimizer: bool = False
    evaluate_every: int = 0
    evaluate_mixtures: int = 32
    examples_every: int = 5
    track: Sequence[str] = ()
    backup_every: int | None = None


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training.

    Args:
        stem: path of the network's files, without a suffix.
        card: its card.
        folder: of the logs.
        saved_here: whether this machine wrote all of that; of several, only the first one does.
    """

    stem: Path
    card: ModelCard
    folder: Path
    saved_here: bool = True

    @property
    def has_twin(self) -> bool:
        """Whether the network has its ONNX twin, which needs packages that may not be there."""
        return network_files.ONNX in self.card.sha256


def train(
    data: TrainingData,
    design: Design | None = None,
    learning: Learning | None = None,
    run: Run | None = None,
    others: Machines | None = None,
) -> Trained:
    """Train a network, and save the one of the epoch with the lowest validation loss.

    The course of the training is printed. Keras's seed and its precision stay as they are set here.

    Args:
        data: what it learns from, `StoredData` or `MixedData`.
        design: what it is; the published U-Net by default.
        learning: how it is trained.
        run: its name, and where its files lie; by default a new name, in the default folders.
        others: the machines that train it together, each of which makes this call; `DeviceData`
            only.

    Raises:
        UserError: data are missing, another process trains under the name, the loss became NaN, a
            folder cannot be written, or another machine is gone.
        UsageError: arguments do not go together, or the name is that of what is there.
    """
    design, learning, run = design or Design(), learning or Learning(), run or Run()
    if others is not None:
        device.require_jax()
        return others.run(_train_together, data, design, learning, run)
    return _train_together(data, design, learning, run)


def _train_together(data: TrainingData, design: Design, learning: Learning, run: Run) -> Trained:
    """Train under a name that only the first machine claims, if there are several."""
    with contextlib.ExitStack() as stack:
        if machines.is_first():
            run = stack.enter_context(run_names.claimed(run, design.model))
        name = machines.from_first("name", lambda: run.name)
        return _train(data, design, learning, run.named(str(name)))


def _train(data: TrainingData, design: Design, learning: Learning, run: Run) -> Trained:
    """Train under a name that is this process's."""
    tracking.check(learning.track)
    prepare_keras(learning.seed, learning.mixed_precision)
    devices.share_batches(learning.batch_size)
    origin = run_folder.origin_of(run, design.model)
    hyper_model, hp = choose_network(data, design, run, origin)
    opened = data.open(hyper_model.features, hyper_model.audio, learning.batch_size, learning.seed)
    batches = devices.in_equal_parts(opened[0]), devices.in_equal_parts(opened[1])
    model = build(hyper_model, hp, learning, run, len(batches[0]))
    same = identity(data, design, learning, hyper_model, hp)

    def prepare() -> int:
        # An earlier run of the name makes way only when nothing stands in the way of this one.
        if origin.continued and not run.resume:
            run_folder.set_aside(run.folder)
        return run_folder.prepare(run.folder, same, run.resume, origin)

    first_epoch = machines.from_first("epoch", prepare)
    batches[0].start_epoch(first_epoch)
    if not machines.is_first():
        fit(model, *batches, learning, run, first_epoch)
        card = ModelCard(hyper_model.name, hyper_model.audio, hyper_model.features)
        return Trained(run.stem, card, run.folder, saved_here=False)
    print(description(model, *batches, design, learning, first_epoch), flush=True)
    about = run_description.load(run.folder / run_folder.DESCRIPTION, "training")
    with tracking.tracked(learning.track, run.folder, about) as trackers:
        fit(model, *batches, learning, run, first_epoch, trackers)

    # A variable of several devices is no number by itself.
    steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    with machines.alone():
        card = saving.save_network(
            run.stem,
            best_network(run, learning, hyper_model, hp),
            hyper_model,
            hyperparameters=hp.values,
            training=summary(*batches, learning, run, origin, steps),
        )
    # Until here, the training can be resumed.
    backups.remove(run.folder)
    return Trained(run.stem, card, run.folder)


def prepare_keras(seed: int, mixed_precision: bool) -> None:
    """Set the seeds and the precision of Keras for the whole process.

    Args:
        seed: of Python, numpy and the backend.
        mixed_precision: compute in 16 bits where that is safe.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(devices.half_precision() if mixed_precision else "float32")


def choose_network(
    data: TrainingData, design: Design, run: Run, origin: Origin
) -> tuple[DenoisingHyperModel, keras_tuner.HyperParameters]:
    """The network to train, which is that of the card if it goes on.

    Raises:
        UserError: there is no network to go on with.
        UsageError: the design does not fit the model, or not the network that goes on.
    """
    if not origin.continued:
        hyper_model = design.make(data.audio(design.audio, design.default_audio))
        return hyper_model, design.choose_hyperparameters(hyper_model)
    card = continuing.card_of(run.stem, design.model)
    design = design.with_features_of(card)
    hyper_model = design.make(data.audio(design.audio, card.audio))
    hp = design.choose_hyperparameters(hyper_model)
    continuing.check(card, run.stem, hyper_model)
    return hyper_model, continuing.choose(card, run.stem, hyper_model, hp.values)


def identity(
    data: TrainingData,
    design: Design,
    learning: Learning,
    hyper_model: DenoisingHyperModel,
    hp: keras_tuner.HyperParameters,
) -> dict[str, Any]:
    """What makes a training the same training when it is resumed."""
    return {
        "model": design.model,
        "hyperparameters": hp.values | ({"loss": design.loss} if design.loss else {}),
        "features": hyper_model.features.to_dict(),
        "audio": hyper_model.audio.to_dict(),
        "schedule": learning.schedule,
        "mixed_precision": learning.mixed_precision,
        "evaluate_every": learning.evaluate_every,
        **data.identity(learning.batch_size, learning.seed),
    }


def build(
    hyper_model: DenoisingHyperModel,
    hp: keras_tuner.HyperParameters,
    learning: Learning,
    run: Run,
    steps_per_epoch: int,
) -> keras.Model:
    """The compiled network, on all GPUs of this machine, as an earlier one left off if asked."""
    if learning.learning_rate is not None:
        hp.values["learning_rate"] = learning.learning_rate
    if learning.schedule == "cosine" and learning.max_seconds is None:
        hyper_model.decay_steps = learning.epochs * steps_per_epoch
    with devices.mirrored_scope():
        model = hyper_model.build(hp)
        if not run.from_scratch and not run.resume:
            saving.load_weights_into(model, network_files.file_of(run.stem, network_files.KERAS))
    return model


def description(
    model: keras.Model,
    train: Any,
    validation: Any,
    design: Design,
    learning: Learning,
    first_epoch: int,
) -> str:
    """What the training will do, in a sentence."""
    span = f"epochs {first_epoch + 1} to {learning.epochs}"
    if learning.max_seconds is not None:
        span = f"up to {callbacks.duration(learning.max_seconds)}"
    return (
        f"{design.model}: {model.count_params() / MEGA:.2f} M parameters, "
        f"{train.n_windows} training and {validation.n_windows} validation windows of "
        f"{train.audio.frame_length / train.audio.sample_rate:.3f} s, batches of "
        f"{learning.batch_size}, {span}, {devices.device_summary()}"
    )


def fit(
    model: keras.Model,
    train: Any,
    validation: Any,
    learning: Learning,
    run: Run,
    first_epoch: int,
    trackers: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train to the last epoch, or until a loss is no number.

    Of several machines, only the first one writes and prints.

    Raises:
        UserError: the loss diverged before a first network could be kept.
    """
    limit = time_limit(model, learning, run.folder)
    epochs = learning.epochs
    if limit:
        epochs = first_epoch + (0 if limit.used >= limit.seconds else MOST_EPOCHS)
    begin, waited = time.perf_counter(), getattr(train, "waited_s", 0.0)
    if hasattr(train, "attach"):
        train.attach(model, validation)
    model.fit(
        train,
        validation_data=validation,
        epochs=epochs,
        initial_epoch=first_epoch,
        # Data sets shuffle themselves, each epoch by its own seed.
        shuffle=False,
        verbose=("auto" if sys.stdout.isatty() else 2) if machines.is_first() else 0,
        callbacks=callbacks_of(
            train, validation, learning, run, [*([limit] if limit else []), *trackers]
        ),
    )
    if not machines.is_first():
        return
    if hasattr(train, "waited_s"):
        train.close()
        share = (train.waited_s - waited) / (time.perf_counter() - begin)
        print(f"Waited for mixtures {share:.1%} of the time")
    if not (run.folder / callbacks.BEST).is_file():
        backups.remove(run.folder)
        raise UserError("The loss became NaN in the first epoch; try a lower --learning_rate")


def best_network(
    run: Run,
    learning: Learning,
    hyper_model: DenoisingHyperModel,
    hp: keras_tuner.HyperParameters,
) -> keras.Model:
    """The network of the best epoch, in 32 bits, and with its optimizer if that is to be kept."""
    best = keras_archive.load(run.folder / callbacks.BEST, compile=learning.save_optimizer)
    return saving.in_float32(best, hyper_model, hp) if learning.mixed_precision else best


def callbacks_of(
    train: Any,
    validation: Any,
    learning: Learning,
    run: Run,
    others: Sequence[keras.callbacks.Callback],
) -> list[keras.callbacks.Callback]:
    """All callbacks of a training on this machine, with others among them."""
    if not machines.is_first():
        return callbacks.following_callbacks(run.folder, others)
    examples = observation.examples_callback(validation, learning.examples_every, run.folder)
    return callbacks.training_callbacks(
        run.folder,
        run.resume,
        observation.scoring_callback(
            validation, learning.evaluate_every, learning.evaluate_mixtures
        ),
        learning.backup_every,
        len(train) + callbacks.COST_OF_VALIDATION * len(validation),
        [*examples, *others],
    )


def time_limit(model: keras.Model, learning: Learning, folder: Path) -> callbacks.TimeLimit | None:
    """The limit of the time, if there is one, less what an interrupted training has had."""
    if learning.max_seconds is None:
        return None
    backup = backups.newest(folder)
    rate = float(model.optimizer.learning_rate) if learning.schedule == "cosine" else None
    kind = callbacks.AgreedTimeLimit if machines.are_several() else callbacks.TimeLimit
    return kind(learning.max_seconds, backup.seconds if backup else 0.0, rate)


def summary(
    train: Any, validation: Any, learning: Learning, run: Run, origin: Origin, steps: int
) -> dict[str, Any]:
    """What the card says of this training."""
    log = callbacks.read_log(run.folder / callbacks.LOG)
    best = min(
        (row for row in log if math.isfinite(row["val_loss"])), key=lambda row: row["val_loss"]
    )
    # The time may have been over within an epoch.
    windows = steps / len(train) * train.n_windows
    seconds = windows * train.audio.frame_length / train.audio.sample_rate
    return {
        "seed": learning.seed,
        "training_windows": train.n_windows,
        "validation_windows": validation.n_windows,
        "batch_size": learning.batch_size,
        "epochs": len(log),
        "hours_heard": round(origin.hours_before + seconds / 3600, 2),
        "best_epoch": int(best["epoch"]) + 1,
        "losses": {n: v for n, v in best.items() if n != "epoch" and math.isfinite(v)},
        "curve": [*origin.curve_before, *curve(log, len(origin.curve_before))],
        "backend": f"keras {keras.__version__}, {keras.backend.backend()}",
        "date": datetime.date.today().isoformat(),
    }


def curve(log: Sequence[dict[str, float]], first_epoch: int) -> list[dict[str, float]]:
    """The losses of a log's epochs, as a card keeps them.

    Args:
        log: rows of `callbacks.read_log`.
        first_epoch: number that the first one has.
    """
    rows = [{name: float(f"{row[name]:.4g}") for name in ("loss", "val_loss")} for row in log]
    finite = [row for row in rows if all(map(math.isfinite, row.values()))]
    return [{"epoch": first_epoch + number, **row} for number, row in enumerate(finite)]
