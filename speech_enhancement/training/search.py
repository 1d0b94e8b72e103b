"""Searches of hyper-parameters: the tuners, their table of trials, and what a search leaves.

A search lives in a folder of its own: Keras Tuner's state, from which it goes on after an
interruption, and `search.json`, which says what is searched.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine import trial as trials
from keras_tuner.src import config as keras_tuner_config

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files.atomic import replacing
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.training import devices, run_description, search_oracles

# Why a trial failed is a line of the table; its traceback is in the trial's own file.
keras_tuner_config.DEBUG = False

DESCRIPTION = "search.json"
COLUMN = 15
PAUSE_S = 0.2
# Hyperband keeps its own books among the hyper-parameters.
BOOKKEEPING = "tuner/"
INITIAL_EPOCH = f"{BOOKKEEPING}initial_epoch"
CHIEF = "chief"
ADDRESS = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")


class TrialTable(keras_tuner.Tuner):
    """A search whose trials all begin with the same windows, and print a row as they end."""

    seed = 0
    reloaded = False

    def __init__(self, oracle: keras_tuner.Oracle, model: Any, folder: Path) -> None:
        keras_tuner.Tuner.__init__(
            self,
            oracle,
            model,
            directory=str(folder.parent),
            project_name=folder.name,
            distribution_strategy=devices.mirrored_strategy(),
        )

    def reload(self) -> None:
        """Go on with the trials that are there; nothing else of a tuner has to be known."""
        self.reloaded = True
        self.oracle.reload()
        if not self.oracle.get_space().space:
            self._populate_initial_space()

    def pre_create_trial(self) -> None:
        """Pause before each trial, since a worker without one asks for it again and again."""
        time.sleep(PAUSE_S)

    def on_search_begin(self) -> None:
        """Print the head of the table."""
        names = [p.name for p in self.oracle.get_space().space if not is_bookkeeping(p.name)]
        self.names = sorted(names)
        print(cells("trial", self.oracle.objective.name, "seconds", *self.names), flush=True)

    def on_trial_begin(self, trial: trials.Trial) -> None:
        """Remember when the trial begins."""
        self.begin = time.monotonic()

    def run_trial(self, trial: trials.Trial, train: Any, *args: Any, **arguments: Any) -> Any:
        """Train a trial, which draws the same whenever it is run.

        One that goes on where a shorter one ended goes on with its windows.
        """
        keras.utils.set_random_seed(seed_of(self.seed, values_of(trial)))
        train.start_epoch(trial.hyperparameters.values.get(INITIAL_EPOCH, 0))
        return super().run_trial(trial, train, *args, **arguments)

    def on_trial_end(self, trial: trials.Trial) -> None:
        """Print the row of a trial, and why it failed if it did."""
        super().on_trial_end(trial)
        ended = self.oracle.get_trial(trial.trial_id)
        score = "failed" if score_of(ended) is None else f"{ended.score:.5g}"
        seconds = f"{time.monotonic() - self.begin:.1f}"
        values = [ended.hyperparameters.values.get(name, "") for name in self.names]
        print(cells(ended.trial_id, score, seconds, *values), flush=True)
        if trial.message:
            print(f"  {last_line(trial.message)}", flush=True)


class HyperbandTable(TrialTable, keras_tuner.Hyperband):
    """Many short trials, of which the better ones are trained longer (Li et al. 2018)."""

    def __init__(self, oracle: keras_tuner.Oracle, model: Any, folder: Path) -> None:
        # Keras Tuner's own would make an oracle that is not `search_oracles`'s.
        TrialTable.__init__(self, oracle, model, folder)


# A Gaussian process chooses the next trial (Snoek, Larochelle, Adams 2012), or every trial is drawn
# by itself (Bergstra, Bengio 2012).
KINDS = {
    "hyperband": (search_oracles.Hyperband, HyperbandTable),
    "bayesian": (search_oracles.Bayesian, TrialTable),
    "random": (search_oracles.Random, TrialTable),
}


def make_tuner(
    kind: str,
    hyper_model: DenoisingHyperModel,
    fixed: dict[str, Any],
    folder: Path,
    max_trials: int,
    epochs: int,
    seed: int,
) -> keras_tuner.Tuner:
    """A tuner that goes on with the search in `folder`, if there is one.

    Args:
        kind: `hyperband`, `bayesian` or `random`.
        hyper_model: what to search.
        fixed: hyper-parameters that keep a value.
        folder: where the search lives.
        max_trials: trials in all; Hyperband may end before.
        epochs: the longest training of a trial.
        seed: seed of the search.
    """
    hp = keras_tuner.HyperParameters()
    for name, value in fixed.items():
        hp.Fixed(name, value)
    oracle_class, tuner_class = KINDS[kind]
    limit = {"max_epochs": epochs} if kind == "hyperband" else {"max_trials": max_trials}
    oracle = oracle_class(
        **limit,
        objective=keras_tuner.Objective(*hyper_model.objective),
        hyperparameters=hp,
        # Keras Tuner takes a seed of 0 for none.
        seed=seed + 1,
        # A failed trial is a row of the table, not the end of the search.
        max_consecutive_failed_trials=max_trials + 1,
    )
    oracle.max_trials = max_trials
    # It says by itself from which file it goes on; the table says it better.
    with contextlib.redirect_stdout(io.StringIO()):
        tuner = tuner_class(oracle, hyper_model, folder)
    tuner.seed = seed
    # Keras Tuner asks for a file that it writes last.
    if not (is_worker() or tuner.reloaded) and any(folder.glob("trial_*")):
        tuner.reload()
    return tuner


def seed_of(seed: int, values: dict[str, Any]) -> int:
    """The seed of a trial, made of that of the search and of the trial's values."""
    content = json.dumps([seed, values], sort_keys=True)
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:4])


def trials_ahead(tuner: keras_tuner.Tuner, max_trials: int) -> int:
    """Trials that a search has at most, of those that are asked for."""
    most = getattr(tuner.oracle, "most_trials", None)
    return min(max_trials, most()) if most else max_trials


def role() -> str | None:
    """This process's name in a distributed search, `chief...` for the one that hands out trials.

    Raises:
        UsageError: some of Keras Tuner's variables are missing.
    """
    given = {name: os.environ[name] for name in ADDRESS if name in os.environ}
    if given and len(given) < len(ADDRESS):
        raise UsageError(f"{', '.join(ADDRESS)} must be set together. Received: {', '.join(given)}")
    return given.get("KERASTUNER_TUNER_ID")


def is_chief() -> bool:
    """Whether this process hands out the trials of a distributed search and trains none."""
    return CHIEF in (role() or "")


def is_worker() -> bool:
    """Whether this process trains trials that a chief hands out."""
    return role() is not None and not is_chief()


def open_folder(folder: Path, description: dict[str, Any], resume: bool) -> None:
    """Prepare the folder of a new search, or check that an old one is the same search.

    Raises:
        UserError: there is a search already, or none to resume, or the folder cannot be written.
        UsageError: the search there is another one.
    """
    path = folder / DESCRIPTION
    if not resume:
        if path.exists():
            raise UserError(f"{folder} holds a search: go on with --resume or give --dir_tuning")
        run_description.save(path, description)
        return
    run_description.check(path, description, "search")


def best_trial(oracle: Any) -> trials.Trial:
    """The trial with the best score.

    Raises:
        UserError: every trial failed, or none was run.
    """
    ended = list(oracle.trials.values())
    if not has_score(oracle):
        reasons = [last_line(trial.message) for trial in ended if trial.message]
        reason = reasons[0] if reasons else f"no {oracle.objective.name} was a number"
        raise UserError(f"All {len(ended)} trials failed: {reason}")
    return oracle.get_best_trials(1)[0]


def has_score(oracle: Any) -> bool:
    """Whether any trial has ended well."""
    return any(score_of(trial) is not None for trial in oracle.trials.values())


def score_of(trial: trials.Trial) -> float | None:
    """What a trial reached, if it ended well; Keras Tuner keeps a NaN of others."""
    return trial.score if trial.status == trials.TrialStatus.COMPLETED else None


def rows(oracle: Any) -> list[dict[str, Any]]:
    """Every trial as a flat row: `trial`, `status`, the objective, and its hyper-parameters."""
    return [
        {
            "trial": trial.trial_id,
            "status": trial.status.lower(),
            oracle.objective.name: score_of(trial),
            **values_of(trial),
        }
        for trial in sorted(oracle.trials.values(), key=lambda trial: trial.trial_id)
    ]


def values_of(trial: trials.Trial) -> dict[str, Any]:
    """The hyper-parameters of a trial, without the tuner's own."""
    values = trial.hyperparameters.values
    return {name: value for name, value in values.items() if not is_bookkeeping(name)}


def save_rows(path: Path, table: list[dict[str, Any]]) -> None:
    """Write rows as CSV."""
    names = list(dict.fromkeys(name for row in table for name in row))
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(table)


def is_bookkeeping(name: str) -> bool:
    """Whether a hyper-parameter is the tuner's own and not the network's."""
    return name.startswith(BOOKKEEPING)


def cells(*values: Any) -> str:
    """A row of the table."""
    texts = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values]
    return " ".join(text[:COLUMN].ljust(COLUMN) for text in texts).rstrip()


def last_line(message: str) -> str:
    """The last line of a traceback, which says what went wrong."""
    return message.strip().splitlines()[-1]
