"""What happens between the epochs of a training: checkpoints, resuming, logs, a loss curve."""

from __future__ import annotations

import csv
import datetime
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from speech_enhancement.errors import UserError
from speech_enhancement.files.atomic import replacing, write_text
from speech_enhancement.training import backups, machines

LOG = "log.csv"
BEST = "best.keras"
TENSORBOARD = "tensorboard"
DRAWS_OF_EPOCH = 2**16
STEPS_OF_ESTIMATE = 10
AGREED_EVERY = 8  # steps
# A step without gradients takes about a third.
COST_OF_VALIDATION = 1 / 3

Scorer = Callable[[keras.Model], dict[str, float]]


class ScoreNetwork(keras.callbacks.Callback):
    """Score the network on held-out mixtures every few epochs, into the same logs as the loss.

    Must stand before the callbacks that write logs. Between two scorings the values are NaN.

    Args:
        scorer: gives the scores of a network by name.
        names: names of those scores.
        every: epochs from one scoring to the next.
    """

    def __init__(self, scorer: Scorer, names: tuple[str, ...], every: int) -> None:
        super().__init__()
        self.scorer = scorer
        self.names = names
        self.every = every

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add `val_NAME` for each score."""
        due = (epoch + 1) % self.every == 0
        scores = self.scorer(self.model) if due else dict.fromkeys(self.names, math.nan)
        if logs is not None:
            logs.update({f"val_{name}": scores[name] for name in self.names})


class SeedOfEpoch(keras.callbacks.Callback):
    """Give dropout a state of its own in each epoch, since backups do not keep that state.

    A training that was interrupted then draws what it would have drawn.
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Remember the states that the seed of the training gave."""
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        self.first = [(v, keras.ops.convert_to_numpy(v).copy()) for v in states]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set each counter to a value that no other epoch reaches."""
        for variable, (seed, counter) in self.first:
            variable.assign([seed, counter + epoch * DRAWS_OF_EPOCH])


class StepsOfEpoch(keras.callbacks.Callback):
    """Begin each epoch with the step count that a training without interruptions has there.

    An epoch that was interrupted is trained again from its beginning, with the weights of the last
    backup. Its steps must not count twice, or a schedule of the learning rate ends too early.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the optimizer's count, which the schedule looks at."""
        self.model.optimizer.iterations.assign(epoch * self.params["steps"])


class Restore(keras.callbacks.Callback):
    """Begin with the last state of a training that is kept, if there is one.

    Args:
        run_folder: of the training.
    """

    def __init__(self, run_folder: Path) -> None:
        super().__init__()
        self.run_folder = run_folder
        self.seconds = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take the weights and the optimizer's state of the last backup."""
        found = backups.newest(self.run_folder)
        if found:
            self.model.optimizer.build(self.model.trainable_variables)
            self.model.load_weights(found.weights)
            self.seconds = found.seconds
        self.begin = time.monotonic()


class Backup(Restore):
    """Keep the state of a training, and begin with the last one that is kept.

    Must be the last of the callbacks, since what others wrote belongs to the state.

    Args:
        run_folder: of the training.
        every: steps after which there is one, beside the one at the end of each epoch.
    """

    def __init__(self, run_folder: Path, every: int | None) -> None:
        super().__init__(run_folder)
        self.every = every
        self.steps = self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember the number of the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the state within an epoch, if that is wanted; the epoch begins anew from it."""
        self.steps += 1
        if self.every and self.steps % self.every == 0:
            self._save(self.epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the state after an epoch."""
        self._save(epoch + 1)

    def _save(self, epoch: int) -> None:
        """Keep a state that goes on with `epoch`."""
        seconds = self.seconds + time.monotonic() - self.begin
        with machines.alone():
            backups.save(self.run_folder, self.model.save, epoch, seconds)


class KeepBest(keras.callbacks.Callback):
    """Keep the network of the lowest validation loss, as a file that is always whole.

    Args:
        path: of the `.keras` file.
        best: the lowest loss so far; none at first.
    """

    def __init__(self, path: Path, best: float | None) -> None:
        super().__init__()
        self.path = path
        self.best = math.inf if best is None else best

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the network if it is better; a loss that is no number never is."""
        loss = (logs or {}).get("val_loss", math.nan)
        if loss < self.best:
            self.best = loss
            with machines.alone(), replacing(self.path) as temporary:
                self.model.save(temporary)


class Log(keras.callbacks.CSVLogger):
    """Keras's log of the losses, whose failures say which file cannot be written."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write a row."""
        try:
            super().on_epoch_end(epoch, logs)
        except OSError as error:
            raise UserError(f"Cannot write {self.filename}: {error.strerror or error}") from error


class TimeLimit(keras.callbacks.Callback):
    """End a training when its time is over.

    Args:
        seconds: the time.
        used: what an interrupted training has had of it, s.
        learning_rate: at first, if it is to fall to zero over the time as a cosine does
            (Loshchilov, Hutter 2017); it stays as it is if none.
    """

    def __init__(self, seconds: float, used: float, learning_rate: float | None) -> None:
        super().__init__()
        self.seconds = seconds
        self.used = used
        self.learning_rate = learning_rate

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self.begin = time.monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the learning rate for the time that has passed."""
        if self.learning_rate is not None:
            share = (1.0 + math.cos(math.pi * min(1.0, self._past()))) / 2.0
            self.model.optimizer.learning_rate = self.learning_rate * share

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Let the epoch end here if the time is over."""
        if self._past() >= 1.0:
            self.model.stop_training = True

    def _past(self) -> float:
        """The share of the time limit that has passed."""
        return (self.used + time.monotonic() - self.begin) / self.seconds


class AgreedTimeLimit(TimeLimit):
    """A limit of the time by the clock of the first machine, at which all look every few steps."""

    steps = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """See `TimeLimit`."""
        if self.steps % AGREED_EVERY == 0:
            self.agreed = machines.from_first(f"time {self.steps}", super()._past)
            super().on_train_batch_begin(batch, logs)
        self.steps += 1

    def _past(self) -> float:
        """See `TimeLimit`."""
        return self.agreed


class TimeOfEpoch(keras.callbacks.Callback):
    """Say how long an epoch takes, once some steps of the first one are done.

    Args:
        steps: what an epoch costs, in steps of training.
    """

    def __init__(self, steps: float) -> None:
        super().__init__()
        self.steps = steps

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget the times of an earlier training."""
        self.said = False
        self.ends: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the time; the first steps take longer, since they are compiled."""
        if self.said:
            return
        self.ends.append(time.monotonic())
        if len(self.ends) > STEPS_OF_ESTIMATE:
            self.said = True
            steps = self.ends[-STEPS_OF_ESTIMATE // 2 :]
            seconds = (steps[-1] - steps[0]) / (len(steps) - 1) * self.steps
            print(f"An epoch takes about {duration(seconds)}", flush=True)


def duration(seconds: float) -> str:
    """A time in words: `0.3 s`, or `1:02:03` from a minute on."""
    if seconds < 60.0:
        return f"{seconds:.2g} s"
    return str(datetime.timedelta(seconds=round(seconds)))


class LossCurve(keras.callbacks.Callback):
    """Redraw the picture of the losses after each epoch."""

    def __init__(self, log: Path, picture: Path) -> None:
        super().__init__()
        self.log = log
        self.picture = picture

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Draw all epochs of the log."""
        from speech_enhancement.inference.pictures import plot_losses, save_figure

        save_figure(plot_losses(read_log(self.log)), self.picture)


def training_callbacks(
    run_folder: Path,
    resume: bool,
    scoring: ScoreNetwork | None,
    save_every: int | None,
    steps: float,
    others: Sequence[keras.callbacks.Callback] = (),
) -> list[keras.callbacks.Callback]:
    """All callbacks of a training, in the order in which they must run.

    Args:
        run_folder: where logs, pictures and checkpoints go.
        resume: whether an interrupted training goes on there.
        scoring: scores beside the loss, if wanted.
        save_every: steps from one backup to the next; none for one after each epoch.
        steps: what an epoch costs, in steps of training.
        others: further ones, which see the scores.
    """
    log = run_folder / LOG
    # A network that is not there, as after a copy that was not finished, was not the best.
    best = best_loss(log) if resume and (run_folder / BEST).is_file() else None
    return [
        SeedOfEpoch(),
        StepsOfEpoch(),
        TimeOfEpoch(steps),
        *([scoring] if scoring else []),
        *others,
        KeepBest(run_folder / BEST, best),
        Log(log, append=resume),
        *_tensorboard(run_folder / TENSORBOARD),
        LossCurve(log, run_folder / "loss.png"),
        keras.callbacks.TerminateOnNaN(),
        Backup(run_folder, save_every),
    ]


def following_callbacks(
    run_folder: Path, others: Sequence[keras.callbacks.Callback] = ()
) -> list[keras.callbacks.Callback]:
    """The callbacks of a training whose files another machine writes; see `training_callbacks`."""
    return [
        SeedOfEpoch(),
        StepsOfEpoch(),
        *others,
        keras.callbacks.TerminateOnNaN(),
        Restore(run_folder),
    ]


def _tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    """The TensorBoard log, which Keras writes with TensorFlow only."""
    if keras.backend.backend() != "tensorflow":
        return []
    return [keras.callbacks.TensorBoard(folder, write_graph=False)]


def interrupted_epoch(run_folder: Path) -> int | None:
    """Epoch, from zero, at which a training in `run_folder` was interrupted; none if none was."""
    found = backups.newest(run_folder)
    return found.epoch if found else None


def read_log(log: Path) -> list[dict[str, float]]:
    """Rows of a CSV log as numbers."""
    with log.open(encoding="utf-8", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def forget_epochs(log: Path, epoch: int) -> None:
    """Leave out the rows of a log from `epoch` on, which will be trained again."""
    if not log.is_file():
        return
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    write_text(log, "".join(lines[: epoch + 1]))


def best_loss(log: Path) -> float | None:
    """Lowest validation loss in a log; none without one."""
    losses = [row["val_loss"] for row in read_log(log)] if log.is_file() else []
    return min(filter(math.isfinite, losses), default=None)
