"""Hyper-parameters of a network: its own defaults, a file of a search, and single values.

A file is JSON: `{"model": "dncnn", "values": {"filters": 32, "depth": 10}}`. The file of a search
also holds the `features` that it searched with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras_tuner
from keras_tuner.engine import hyperparameters as types

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.atomic import write_text

if TYPE_CHECKING:
    from speech_enhancement.models.base import DenoisingHyperModel


SCALAR = json_files.scalar
CONTENT = json_files.record(
    {"model": json_files.text(), "values": json_files.table(SCALAR)},
    {"features": json_files.table(SCALAR)},
)


def choose(
    hyper_model: DenoisingHyperModel,
    path: Path | None = None,
    given: Mapping[str, Any] | None = None,
) -> keras_tuner.HyperParameters:
    """The hyper-parameters to build a network with.

    Args:
        hyper_model: the network; its defaults hold where nothing else is said.
        path: JSON file of values, if any.
        given: values by name, which take precedence over those of the file.

    Raises:
        UserError: the file is missing or is not a file of hyper-parameters.
        UsageError: the file is another model's, or a value is not one that the network allows.
    """
    values = load(path, hyper_model) if path else {}
    return of_values(hyper_model, {**values, **(given or {})})


def of_values(
    hyper_model: DenoisingHyperModel, values: dict[str, Any]
) -> keras_tuner.HyperParameters:
    """Hyper-parameters of certain values.

    Raises:
        UsageError: a value is not one that the network allows.
    """
    if values:
        _check_values(hyper_model, values)
    hp = keras_tuner.HyperParameters()
    hp.values = values
    return hp


def load(path: Path, hyper_model: DenoisingHyperModel) -> dict[str, Any]:
    """The values in a file of hyper-parameters.

    Raises:
        UserError: the file is missing or is not a file of hyper-parameters.
        UsageError: it is another model's, or of other features.
    """
    try:
        content = json_files.load(path, "a file of hyper-parameters", CONTENT)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}") from error
    model, values, features = content["model"], content["values"], content.get("features", {})
    if model != hyper_model.name:
        raise UsageError(f"{path} holds hyper-parameters of `{model}`, not of `{hyper_model.name}`")
    _check_features(path, features, hyper_model.features.to_dict())
    if hyper_model.loss:
        values.pop("loss", None)
    return values


def save(
    path: Path, hyper_model: DenoisingHyperModel, values: dict[str, Any], **about: Any
) -> None:
    """Write values as a file that `load` accepts.

    Args:
        path: the JSON file.
        hyper_model: the network that they are of.
        values: hyper-parameters by name.
        about: where they come from; kept for the reader.
    """
    content = {
        "model": hyper_model.name,
        "values": values | ({"loss": hyper_model.loss} if hyper_model.loss else {}),
        "features": hyper_model.features.to_dict(),
        **about,
    }
    write_text(path, json.dumps(content, indent=2) + "\n")


def parse(setting: str) -> tuple[str, Any]:
    """Name and value of `NAME=VALUE`, the value a JSON number or truth value if it reads as one.

    Raises:
        UsageError: the text is something else.
    """
    name, equals, text = setting.partition("=")
    if not (name and equals and text):
        raise UsageError(f"`hyperparameter` must look like NAME=VALUE. Received: {setting}")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def _check_values(hyper_model: DenoisingHyperModel, values: dict[str, Any]) -> None:
    """Refuse names that the network does not declare, and values outside of what it declares."""
    hp = _InRange(values)
    hyper_model.build(hp)
    declared = [parameter.name for parameter in hp.space]
    for name in values:
        if name not in declared:
            raise UsageError(
                f"The hyper-parameters of `{hyper_model.name}` are {', '.join(declared)}. "
                f"Received: {name}"
            )


class _InRange(keras_tuner.HyperParameters):
    """Hyper-parameters with given values, each refused if the network that asks cannot have it."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = dict(values)

    def Choice(self, name: str, *range_: Any, **arguments: Any) -> Any:
        """See `keras_tuner.HyperParameters.Choice`."""
        return self._checked(name, super().Choice(name, *range_, **arguments))

    def Int(self, name: str, *range_: Any, **arguments: Any) -> Any:
        """See `keras_tuner.HyperParameters.Int`."""
        return self._checked(name, super().Int(name, *range_, **arguments))

    def Float(self, name: str, *range_: Any, **arguments: Any) -> Any:
        """See `keras_tuner.HyperParameters.Float`."""
        return self._checked(name, super().Float(name, *range_, **arguments))

    def Boolean(self, name: str, *range_: Any, **arguments: Any) -> Any:
        """See `keras_tuner.HyperParameters.Boolean`."""
        return self._checked(name, super().Boolean(name, *range_, **arguments))

    def _checked(self, name: str, value: Any) -> Any:
        """The value of a hyper-parameter that was declared."""
        declared = next(parameter for parameter in self.space if parameter.name == name)
        allowed, fits = _range_of(declared)
        if not fits(value):
            raise UsageError(f"`{name}` must be {allowed}. Received: {value}")
        return value


def _range_of(parameter: Any) -> tuple[str, Callable[[Any], bool]]:
    """The range of a declared hyper-parameter in words, and whether a value is within."""
    if isinstance(parameter, types.Boolean):
        return "true or false", lambda value: isinstance(value, bool)
    if isinstance(parameter, types.Choice):
        return f"one of {', '.join(map(str, parameter.values))}", lambda v: v in parameter.values
    low, high = parameter.min_value, parameter.max_value
    if isinstance(parameter, types.Int):
        step = parameter.step or 1
        steps = f" in steps of {step}" if step > 1 else ""
        return (
            f"a whole number from {low} to {high}{steps}",
            lambda v: type(v) is int and low <= v <= high and (v - low) % step == 0,
        )
    return f"a number from {low} to {high}", lambda v: type(v) in (int, float) and low <= v <= high


def _check_features(path: Path, searched: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse values that were searched for another input or target."""
    for name, value in searched.items():
        if value != given.get(name):
            raise UsageError(
                f"{path} was searched with `{name}` {value}. Received: {given.get(name)}"
            )
