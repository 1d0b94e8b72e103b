"""Searches the hyper-parameters of a model with Keras Tuner, and keeps the best.

Several processes share one search when Keras Tuner's variables are set: KERASTUNER_ORACLE_IP and
KERASTUNER_ORACLE_PORT to the same address for all, KERASTUNER_TUNER_ID to `chief` for the one that
hands out the trials and to another name for each that trains them.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from speech_enhancement import places
from speech_enhancement.files import locks
from speech_enhancement.files.paths import PathFields
from speech_enhancement.inference import pictures
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.training import fit, hyperparameters, search, search_oracles, trial_figures
from speech_enhancement.training.data import TrainingData
from speech_enhancement.training.design import Design

BEST = "best_hyperparameters.json"
TABLE = "trials.csv"
PICTURE = "trials.png"


@dataclasses.dataclass(frozen=True)
class Searching(PathFields):
    """How a search is made.

    Args:
        tuner: how trials are chosen, `hyperband`, `bayesian` or `random`.
        max_trials: trials in all; Hyperband may end before.
        epochs: the longest training of a trial.
        batch_size: windows in a training step.
        learning_rate: of all trials; searched by default.
        mixed_precision: compute in 16 bits where that is safe.
        seed: of the search, and of all that is drawn.
        dir_tuning: folder of searches, each in a folder with the name of its model.
        resume: go on with the search that is there.
    """

    tuner: str = "hyperband"
    max_trials: int = 20
    epochs: int = 10
    batch_size: int = 20
    learning_rate: float | None = None
    mixed_precision: bool = False
    seed: int = 0
    dir_tuning: Path = places.WORK / "tuning"
    resume: bool = False


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What `tune` has found.

    Args:
        folder: of the search, with `best_hyperparameters.json`, `trials.csv` and `trials.png`.
        objective: what the trials were compared by.
        trial: name of the best one.
        score: what it reached.
        values: its hyper-parameters.
    """

    folder: Path
    objective: str
    trial: str
    score: float
    values: dict[str, Any]

    @property
    def best(self) -> Path:
        """The file of the best hyper-parameters, which training takes."""
        return self.folder / BEST


class SearchInterrupted(KeyboardInterrupt):
    """The user has ended a search.

    Args:
        tuned: the best of the trials that had ended.
    """

    def __init__(self, tuned: Tuned) -> None:
        super().__init__()
        self.tuned = tuned


def tune(
    data: TrainingData, design: Design | None = None, searching: Searching | None = None
) -> Tuned | None:
    """Run the trials of a search, print a row of a table as each ends, and keep the best.

    Keras's seed and its precision stay as they are set here.

    Args:
        data: what the trials learn from, `StoredData` or `MixedData`.
        design: what is searched; hyper-parameters that it gives stay as they are.
        searching: how.

    Returns:
        The best trial; none in a worker of a distributed search, whose chief has it.

    Raises:
        SearchInterrupted: the user ended the search; the best of its trials is kept.
        UserError: data are missing, another process searches there, there is a search already or
            none to resume, or all trials failed.
        UsageError: arguments do not go together.
    """
    design, searching = design or Design(), searching or Searching()
    folder = searching.dir_tuning / design.model
    lock, subject = searching.dir_tuning / f".{design.model}.lock", f"The search in {folder}"
    if search.is_worker():
        worker = str(search.role())
        lock, subject = search_oracles.worker_lock(folder, worker), f"The worker's name {worker}"
    with locks.holding(lock, subject):
        return _search(data, design, searching, folder)


def _search(data: TrainingData, design: Design, searching: Searching, folder: Path) -> Tuned | None:
    """Search in a folder, or as a worker under a name, that no other process has meanwhile."""
    fit.prepare_keras(searching.seed, searching.mixed_precision)
    hyper_model = design.make(data.audio(design.audio, design.default_audio))
    fixed = design.choose_hyperparameters(hyper_model)
    if searching.learning_rate is not None:
        fixed.values["learning_rate"] = searching.learning_rate
    # A network that cannot be made leaves no search behind.
    hyper_model.build(fixed.copy())
    batches = None
    if not search.is_chief():
        batches = data.open(
            hyper_model.features, hyper_model.audio, searching.batch_size, searching.seed
        )
    if not search.is_worker():
        same = identity(data, design, searching, hyper_model, fixed.values)
        search.open_folder(folder, same, searching.resume)
    tuner = search.make_tuner(
        searching.tuner,
        hyper_model,
        fixed.values,
        folder,
        searching.max_trials,
        searching.epochs,
        searching.seed,
    )
    try:
        run_trials(tuner, design.model, searching, batches)
    except KeyboardInterrupt as stop:
        if search.is_worker() or not search.has_score(tuner.oracle):
            raise
        raise SearchInterrupted(keep_best(tuner, hyper_model, folder)) from stop
    return None if search.is_worker() else keep_best(tuner, hyper_model, folder)


def identity(
    data: TrainingData,
    design: Design,
    searching: Searching,
    hyper_model: DenoisingHyperModel,
    fixed: dict[str, Any],
) -> dict[str, Any]:
    """What makes a search the same search when it is resumed."""
    return {
        "model": design.model,
        "tuner": searching.tuner,
        "epochs": searching.epochs,
        "loss": hyper_model.loss,
        "fixed": fixed,
        "features": hyper_model.features.to_dict(),
        "audio": hyper_model.audio.to_dict(),
        "mixed_precision": searching.mixed_precision,
        **data.identity(searching.batch_size, searching.seed),
    }


def run_trials(
    tuner: keras_tuner.Tuner, model: str, searching: Searching, batches: tuple[Any, Any] | None
) -> None:
    """Train the trials, or as the chief, without batches, wait until the workers have."""
    if batches is None:
        print(f"Handing out {searching.max_trials} trials of {model}", flush=True)
        tuner.search(verbose=0)
        return
    train, validation = batches
    ahead = search.trials_ahead(tuner, searching.max_trials)
    noun = "trial" if ahead == 1 else "trials"
    if ahead < searching.max_trials:
        print(
            f"note: Hyperband with --epochs {searching.epochs} ends after {ahead} of the "
            f"{searching.max_trials} trials: more of them need more --epochs, or --tuner random",
            file=sys.stderr,
        )
    print(
        f"{searching.tuner} search of {model}: {ahead} {noun} of up to "
        f"{searching.epochs} epochs, {train.n_windows} training and {validation.n_windows} "
        "validation windows",
        flush=True,
    )
    tuner.search(
        train,
        validation_data=validation,
        epochs=searching.epochs,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        verbose=0,
    )


def keep_best(tuner: keras_tuner.Tuner, hyper_model: DenoisingHyperModel, folder: Path) -> Tuned:
    """Write the table of trials, its picture, and the best trial for training."""
    objective = tuner.oracle.objective.name
    table = search.rows(tuner.oracle)
    search.save_rows(folder / TABLE, table)
    best = search.best_trial(tuner.oracle)
    tuned = Tuned(folder, objective, best.trial_id, best.score, search.values_of(best))
    pictures.save_figure(trial_figures.parallel_coordinates(table, objective), folder / PICTURE)
    hyperparameters.save(
        tuned.best,
        hyper_model,
        tuned.values,
        trial=best.trial_id,
        trials=len(table),
        **{objective: best.score},
    )
    return tuned
