"""--mode tuning: search the hyper-parameters of a model with Keras Tuner.

Several processes share one search when Keras Tuner's variables are set: KERASTUNER_ORACLE_IP and
KERASTUNER_ORACLE_PORT to the same address for all, KERASTUNER_TUNER_ID to `chief` for the one that
hands out the trials and to another name for each that trains them.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_tuner

from speech_enhancement import places
from speech_enhancement.cli import training_data
from speech_enhancement.files import locks
from speech_enhancement.inference import pictures
from speech_enhancement.models import base
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.training import hyperparameters, search, search_oracles, trial_figures

BEST = "best_hyperparameters.json"
TABLE = "trials.csv"
PICTURE = "trials.png"


def run(options: argparse.Namespace) -> int:
    """Search in a folder, or as a worker under a name, that no other process has meanwhile."""
    folder = options.dir_tuning / options.model
    lock, subject = options.dir_tuning / f".{options.model}.lock", f"The search in {folder}"
    if search.is_worker():
        worker = str(search.role())
        lock, subject = search_oracles.worker_lock(folder, worker), f"The worker's name {worker}"
    with locks.holding(lock, subject):
        return search_model(options)


def search_model(options: argparse.Namespace) -> int:
    """Run the trials, show each as it ends, and keep the best one's hyper-parameters."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    keras.utils.set_random_seed(options.seed)
    keras.config.set_dtype_policy("mixed_float16" if options.mixed_precision else "float32")

    hyper_model = base.make(options, training_data.audio_of_data(options))
    fixed = hyperparameters.choose(hyper_model, options.hyperparameters, options.hyperparameter)
    if options.learning_rate is not None:
        fixed.values["learning_rate"] = options.learning_rate
    # A network that cannot be made leaves no search behind.
    hyper_model.build(fixed.copy())
    data = None if search.is_chief() else training_data.make_datasets(options, hyper_model)
    folder = options.dir_tuning / options.model
    if not search.is_worker():
        search.open_folder(folder, identity(options, hyper_model, fixed.values), options.resume)
    tuner = search.make_tuner(
        options.tuner,
        hyper_model,
        fixed.values,
        folder,
        options.max_trials,
        options.epochs,
        options.seed,
    )
    try:
        run_trials(tuner, options, data)
    except KeyboardInterrupt:
        if not search.is_worker() and search.has_score(tuner.oracle):
            report(tuner, hyper_model, folder, options)
        raise
    if not search.is_worker():
        report(tuner, hyper_model, folder, options)
    return 0


def identity(
    options: argparse.Namespace, hyper_model: DenoisingHyperModel, fixed: dict[str, Any]
) -> dict[str, Any]:
    """What makes a search the same search when it is resumed."""
    return {
        "model": options.model,
        "tuner": options.tuner,
        "epochs": options.epochs,
        "loss": hyper_model.loss,
        "fixed": fixed,
        "features": hyper_model.features.to_dict(),
        "audio": hyper_model.audio.to_dict(),
        "mixed_precision": options.mixed_precision,
        **training_data.identity(options),
    }


def run_trials(
    tuner: keras_tuner.Tuner, options: argparse.Namespace, data: tuple[Any, Any] | None
) -> None:
    """Train the trials, or as the chief, without data, wait until the workers have."""
    if data is None:
        print(f"Handing out {options.max_trials} trials of {options.model}", flush=True)
        tuner.search(verbose=0)
        return
    train, validation = data
    ahead = search.trials_ahead(tuner, options.max_trials)
    noun = "trial" if ahead == 1 else "trials"
    if ahead < options.max_trials:
        print(
            f"note: Hyperband with --epochs {options.epochs} ends after {ahead} of the "
            f"{options.max_trials} trials: more of them need more --epochs, or --tuner random",
            file=sys.stderr,
        )
    print(
        f"{options.tuner} search of {options.model}: {ahead} {noun} of up to "
        f"{options.epochs} epochs, {train.n_windows} training and {validation.n_windows} "
        "validation windows",
        flush=True,
    )
    tuner.search(
        train,
        validation_data=validation,
        epochs=options.epochs,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        verbose=0,
    )


def report(
    tuner: keras_tuner.Tuner,
    hyper_model: DenoisingHyperModel,
    folder: Path,
    options: argparse.Namespace,
) -> None:
    """Write the table of trials, its picture, and the best trial for training."""
    objective = tuner.oracle.objective.name
    table = search.rows(tuner.oracle)
    search.save_rows(folder / TABLE, table)
    best = search.best_trial(tuner.oracle)
    pictures.save_figure(trial_figures.parallel_coordinates(table, objective), folder / PICTURE)
    hyperparameters.save(
        folder / BEST,
        hyper_model,
        search.values_of(best),
        trial=best.trial_id,
        trials=len(table),
        **{objective: best.score},
    )
    print(f"Best: trial {best.trial_id}, {objective} {best.score:.5g}")
    print(f"Saved {folder / BEST}, {TABLE} and {PICTURE}; train it with")
    command = [f"{places.COMMAND} --mode training --model", hyper_model.name]
    for name in base.OPTIONS:
        if getattr(options, name) is not None:
            command.append(f"--{name} {getattr(options, name)}")
    print(f"  {' '.join(command)} --hyperparameters {folder / BEST}")
