"""The card that travels with a network: what it is, its input, and its training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import json_files
from speech_enhancement.files.atomic import write_text
from speech_enhancement.files.json_files import (
    anything,
    number,
    optional,
    record,
    table,
    text,
    truth,
    whole,
)
from speech_enhancement.inference import network_files
from speech_enhancement.signal.features import Features

LONGEST_NAME = 200
LONGEST_DIGEST = 128
MOST_MELS = 2**12
LARGEST_DB = 1000.0

_decibels = number(-LARGEST_DB, LARGEST_DB)
_scale = number(1e-6, 1e6)
FEATURES = record(
    {},
    {
        "representation": text(LONGEST_NAME),
        "target": text(LONGEST_NAME),
        "input_offset_db": _decibels,
        "input_scale_db": _scale,
        "noise_offset_db": _decibels,
        "noise_scale_db": _scale,
        "exponent": number(1e-3, 1e3),
        "n_mels": whole(0, MOST_MELS),
        "sample_rate": whole(0),
        "floor_db": _decibels,
        "cut_dc": truth,
    },
    others=False,
)
CARD = record(
    {"model": text(LONGEST_NAME), "audio": table(anything), "features": FEATURES},
    {
        "level_dbfs": optional(_decibels),
        "hyperparameters": table(anything),
        "parameters": whole(0),
        "streaming": truth,
        "any_length": truth,
        "training": table(anything),
        "scores": table(anything),
        "sha256": table(text(LONGEST_DIGEST)),
    },
    others=False,
)


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """Everything that is needed to run a saved network, and what is known about it.

    Args:
        model: name in `registry.MODELS`.
        audio: geometry of its input.
        features: representation, target and scaling.
        level_dbfs: active level that recordings are brought to before it, dBFS; none if it was
            trained at all levels.
        hyperparameters: values that its HyperModel was built with.
        parameters: number of weights.
        streaming: whether it is causal and carries a state from frame to frame.
        any_length: whether it takes any number of frames at once but carries no state: it is given
            whole recordings, or long blocks of them.
        training: data, seed, hours, losses.
        scores: results on held-out pairs.
        sha256: digest of each weight file, by suffix.
    """

    model: str
    audio: AudioConfig
    features: Features
    level_dbfs: float | None = -25.0
    hyperparameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    parameters: int = 0
    streaming: bool = False
    any_length: bool = False
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)
    sha256: dict[str, str] = dataclasses.field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the card as JSON."""
        write_text(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> ModelCard:
        """Read a card, and check its content.

        Raises:
            UserError: there is none, or it is not a card of this project.
        """
        network_files.complete_for_reading(network_files.stem_of(Path(path)))
        try:
            fields = json_files.load(path, "a model card", CARD)
        except OSError as error:
            raise UserError(f"No model card at {path}: {error.strerror}") from error
        try:
            fields["audio"] = AudioConfig.from_dict(fields["audio"])
            fields["features"] = Features(**fields["features"])
        except UsageError as error:
            raise UserError(f"{path} is not a model card: {error}") from error
        return cls(**fields)

    @classmethod
    def beside(cls, stem: Path) -> ModelCard:
        """The card of a network.

        Args:
            stem: path of the network's files without suffix.

        Raises:
            UserError: there is none, or it is not a card of this project.
        """
        return cls.load(network_files.file_of(stem, network_files.CARD))

    def check_file(self, path: Path) -> None:
        """Refuse a file of a network that is not the one that was saved with this card.

        Raises:
            UserError: it is another.
        """
        if self.sha256.get(path.suffix) != file_sha256(path):
            card = f"{path.name.removesuffix(path.suffix)}{network_files.CARD}"
            raise UserError(f"{path} is not the network that {card} describes")


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
