"""Every mode, model, loss and system by name; the code behind a name is imported on use."""

from __future__ import annotations

import importlib
from typing import Any

from errors import UsageError

MODES = {
    "data_creation": "modes.data_creation:run",
    "training": "modes.training:run",
    "prediction": "modes.prediction:run",
}

MODELS = {
    "unet": "model_unet:UNet",
}

LOSSES = {
    "huber": "losses:Huber",
    "log_cosh": "losses:LogCosh",
    "mse": "losses:MeanSquaredError",
    "mae": "losses:MeanAbsoluteError",
}


def resolve(table: dict[str, str], kind: str, name: str) -> Any:
    """Import what `name` stands for in `table`.

    Args:
        table: one of the tables of this module.
        kind: what the table holds, for the error ("mode", "model", ...).
        name: the key to look up.

    Raises:
        UsageError: the table has no such name.
    """
    if name not in table:
        raise UsageError(f"`{kind}` must be one of {', '.join(sorted(table))}. Received: {name}")
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)
