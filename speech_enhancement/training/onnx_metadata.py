"""What an ONNX file says of itself, for programs that meet it without its card.

ONNX Runtime gives it as `session.get_modelmeta().custom_metadata_map`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speech_enhancement.config import AudioConfig
from speech_enhancement.inference import network_files
from speech_enhancement.signal.features import Features

LICENCE = "as the recordings that it was trained with, which its card names"


def properties(
    name: str, model: str, audio: AudioConfig, features: Features, training: Mapping[str, Any]
) -> dict[str, str]:
    """What an ONNX file says about its network, as texts.

    Args:
        name: of the network's files, without suffix.
        model: name in `registry.MODELS`.
        audio: geometry of its input.
        features: representation and target.
        training: what is known of it; its `licence`, if there is one, is that of the network.
    """
    facts = {
        "name": name,
        "model": model,
        **audio.to_dict(),
        "representation": features.representation,
        "target": features.target,
        "licence": training.get("licence", LICENCE),
        "card": f"{name}{network_files.CARD}",
    }
    return {key: str(value) for key, value in facts.items()}


def describe(path: Path, facts: Mapping[str, str]) -> None:
    """Write facts into an ONNX file, in place of others of their names."""
    import onnx

    graph = onnx.load(path)
    others = {entry.key: entry.value for entry in graph.metadata_props}
    onnx.helper.set_model_props(graph, {**others, **facts})
    onnx.save(graph, path)
