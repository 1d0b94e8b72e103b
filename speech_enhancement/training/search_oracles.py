"""What chooses the trials of a search, kept in files that are whole, and read if some are not.

Keras Tuner's oracles write their state and each trial in place, and take nothing that is damaged.
Reference: https://keras.io/keras_tuner/api/oracles/
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as trials
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle
from keras_tuner.src.engine import stateful

from speech_enhancement.files import locks
from speech_enhancement.files.atomic import replacing

ENDED = (trials.TrialStatus.COMPLETED, trials.TrialStatus.FAILED)


def worker_lock(folder: Path, worker: str) -> Path:
    """The lock that a worker holds while it lives, in the folder of the search."""
    return folder / f".{worker}.lock"


class WholeFiles(keras_tuner.Oracle):
    """An oracle that a kill at any moment leaves in order."""

    ongoing_trials: dict[str, trials.Trial]

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> trials.Trial:
        """Hand out a trial, those of workers that have died first.

        Nobody is sent away while others train, since one of them may die.
        """
        self._take_back(tuner_id)
        trial = super().create_trial(tuner_id)
        if trial.status == trials.TrialStatus.STOPPED and self.ongoing_trials:
            self.tuner_ids.add(tuner_id)
            trial.status = trials.TrialStatus.IDLE
        return trial

    def _take_back(self, asking: str) -> None:
        """Have trials of workers that have died run again."""
        for worker, trial in list(self.ongoing_trials.items()):
            if worker != asking and locks.is_free(worker_lock(Path(self._project_dir), worker)):
                print(f"note: {worker} has died: trial {trial.trial_id} is given to another worker")
                del self.ongoing_trials[worker]
                self.tuner_ids.discard(worker)
                self._retry_queue.append(trial.trial_id)

    def save(self) -> None:
        """Write the state of the search."""
        with replacing(Path(self._get_oracle_fname())) as temporary:
            stateful.Stateful.save(self, str(temporary))

    def _save_trial(self, trial: trials.Trial) -> None:
        """Write the file of a trial."""
        with replacing(Path(self._get_trial_dir(trial.trial_id), "trial.json")) as temporary:
            trial.save(str(temporary))

    def reload(self) -> None:
        """Read state and trials, and go on with those that are whole."""
        path = Path(self._get_oracle_fname())
        damaged = self._load_trials(path.parent)
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            lost = set(state["start_order"]) - set(self.trials)
            ongoing = state["ongoing_trials"].items()
            state["ongoing_trials"] = {k: v for k, v in ongoing if v not in lost}
            state["retry_queue"] = [v for v in state["retry_queue"] if v not in lost]
            self.set_state(state)
        except Exception:  # a damaged file raises whatever its damage causes
            if path.exists():
                print(f"note: {path} is damaged: continuing from the trials", file=sys.stderr)
            self._rebuild(sorted({*self.trials, *damaged}))
        for name in set(self.trials) - set(self.start_order):
            del self.trials[name]  # ended before the state knew of it, to be drawn again
        for name in self.start_order:
            if name not in self.trials:
                self._give_up(name, damaged)
        self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
        self.ongoing_trials = {}

    def _load_trials(self, folder: Path) -> dict[str, Path]:
        """Read the trials; the files of those that are damaged by their names."""
        damaged = {}
        for path in sorted(folder.glob("trial_*/trial.json")):
            try:
                trial = trials.Trial.load(str(path))
                self.trials[trial.trial_id] = trial
            except Exception:  # as above
                damaged[path.parent.name.removeprefix("trial_")] = path
        return damaged

    def _give_up(self, name: str, damaged: dict[str, Path]) -> None:
        """Count a trial whose file is damaged as a failed one."""
        file = damaged.get(name, f"the file of trial {name}")
        print(f"note: {file} is damaged: continuing with the other trials", file=sys.stderr)
        hp = self.hyperparameters.copy()
        hp.values = {}
        trial = trials.Trial(hp, trial_id=name, status=trials.TrialStatus.FAILED)
        trial.message = "its file was damaged"
        self.trials[name] = trial
        if name not in self.end_order:
            self.end_order.append(name)
        self._save_trial(trial)

    def _rebuild(self, names: list[str]) -> None:
        """Make a state of what the trials say."""
        whole = [self.trials[name] for name in names if name in self.trials]
        self.start_order = names
        self.end_order = [trial.trial_id for trial in whole if trial.status in ENDED]
        # The last one is taken first.
        running = [trial.trial_id for trial in whole if trial.status not in ENDED]
        self._retry_queue = running[::-1]
        for trial in whole:
            self.update_space(trial.hyperparameters)
            self._record_values(trial)
            self._seed_state += len(trial.hyperparameters.space)


class Random(WholeFiles, RandomSearchOracle):
    """Draws each trial by itself."""


class Bayesian(WholeFiles, BayesianOptimizationOracle):
    """Draws trials where a Gaussian process expects the best."""


class Hyperband(WholeFiles, HyperbandOracle):
    """Begins many short trials, and goes on with the better ones."""

    def most_trials(self) -> int:
        """Trials until no more are begun."""
        return sum(
            self._get_size(bracket, number)
            for bracket in range(self._get_num_brackets())
            for number in range(self._get_num_rounds(bracket))
        )

    def _rebuild(self, names: list[str]) -> None:
        """Make a state of the trials, whose values name their brackets."""
        super()._rebuild(names)
        values: dict[str, dict[str, Any]] = {
            name: self.trials[name].hyperparameters.values for name in names if name in self.trials
        }
        if not values:
            return
        first = max(v["tuner/bracket"] for v in values.values())
        self._current_bracket = min(v["tuner/bracket"] for v in values.values())
        self._brackets = [
            {"bracket_num": number, "rounds": [[] for _ in range(self._get_num_rounds(number))]}
            for number in range(first, self._current_bracket - 1, -1)
        ]
        for name, trial in values.items():
            rounds = self._brackets[first - trial["tuner/bracket"]]["rounds"]
            past = trial.get("tuner/trial_id")
            rounds[trial["tuner/round"]].append({"past_id": past, "id": name})
        self._remove_completed_brackets()
