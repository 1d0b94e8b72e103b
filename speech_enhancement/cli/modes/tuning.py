"""--mode tuning: search the hyper-parameters of a model with Keras Tuner."""

from __future__ import annotations

import argparse
import dataclasses

from speech_enhancement import places
from speech_enhancement.cli import learning_options
from speech_enhancement.training import tuning
from speech_enhancement.training.design import Design
from speech_enhancement.training.tuning import Searching, SearchInterrupted, Tuned


def run(options: argparse.Namespace) -> int:
    """Search, and say how to train what came best."""
    design = learning_options.design_of(options)
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(Searching)}
    try:
        tuned = tuning.tune(learning_options.data_of(options), design, Searching(**values))
    except SearchInterrupted as stop:
        report(stop.tuned, design)
        raise
    if tuned:
        report(tuned, design)
    return 0


def report(tuned: Tuned, design: Design) -> None:
    """Show the best trial, and the command that trains it."""
    print(f"Best: trial {tuned.trial}, {tuned.objective} {tuned.score:.5g}")
    print(f"Saved {tuned.best}, {tuning.TABLE} and {tuning.PICTURE}; train it with")
    chosen = [f"--{name} {value}" for name, value in design.given.items()]
    command = [places.COMMAND, "--mode training --model", design.model, *chosen]
    print(f"  {' '.join(command)} --hyperparameters {tuned.best}")
