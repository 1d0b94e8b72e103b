"""The card that travels with a network: what it is, how it hears, what it learned from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from atomic_files import replacing
from config import AudioConfig
from errors import UsageError, UserError
from features import Features


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
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)
    sha256: dict[str, str] = dataclasses.field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the card as JSON."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> ModelCard:
        """Read a card.

        Raises:
            UserError: there is none, or it is not a card of this project.
        """
        try:
            fields = json.loads(Path(path).read_text())
            fields["audio"] = AudioConfig.from_dict(fields["audio"])
            fields["features"] = Features(**fields["features"])
            return cls(**fields)
        except OSError as error:
            raise UserError(f"No model card at {path}: {error.strerror}") from error
        except KeyError as error:
            raise UserError(f"{path} is not a model card: it has no {error}") from error
        except (ValueError, TypeError, UsageError) as error:
            raise UserError(f"{path} is not a model card: {error}") from error


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
