"""Programs that keep the curves of many trainings, through the callbacks that they have for Keras.

Neither is needed, and neither is installed with the requirements.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from speech_enhancement.errors import UserError

PROJECT = "speech_enhancement"


def check(names: Sequence[str]) -> None:
    """Refuse trackers that are not installed, before the training begins.

    Raises:
        UserError: something is not installed.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"--track {name} needs the package {name}: pip install {name}")


@contextlib.contextmanager
def tracked(
    names: Sequence[str], run_folder: Path, description: dict[str, Any]
) -> Iterator[list[keras.callbacks.Callback]]:
    """Callbacks that report a training while the block runs.

    Args:
        names: some of `registry.TRACKERS`.
        run_folder: of the training, whose name the reports have.
        description: what the training is, as JSON can hold it.
    """
    with contextlib.ExitStack() as stack:
        callbacks: list[keras.callbacks.Callback] = []
        if "wandb" in names:
            import wandb
            from wandb.integration.keras import WandbMetricsLogger

            about = {"name": run_folder.name, "config": description, "dir": str(run_folder)}
            stack.enter_context(wandb.init(project=PROJECT, **about))
            callbacks.append(WandbMetricsLogger())
        if "mlflow" in names:
            import mlflow
            import mlflow.keras

            mlflow.set_experiment(PROJECT)
            stack.enter_context(mlflow.start_run(run_name=run_folder.name))
            mlflow.log_dict(description, "training.json")
            callbacks.append(mlflow.keras.MlflowCallback())
        yield callbacks
