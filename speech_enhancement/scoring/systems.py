"""What evaluation compares: saved networks, baselines, peers, folders of results, and the input.

All but the last two become objects with `enhance(samples, rate) -> samples`, mono float32 of the
same length.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from speech_enhancement import registry
from speech_enhancement.inference import network_files
from speech_enhancement.inference.card import ModelCard


@dataclasses.dataclass(frozen=True)
class System:
    """A system to score: the noisy input, a network, a baseline, a peer or a folder of results.

    Args:
        name: its row in the tables.
        kind: `noisy` (the input itself), `folder` (of results), `network`, `baseline` or `peer`.
        source: stem of a network, name of a folder, or name in the registry.
        digest: changes when its results can change.
    """

    name: str
    kind: str
    source: str = ""
    digest: str = ""

    def make(self, threads: int = 1) -> Any:
        """The object with `enhance`.

        Raises:
            UserError: a network is missing, or a peer is not installed.
        """
        if self.kind == "network":
            from speech_enhancement.inference.enhancer import Enhancer

            return Enhancer.load(self.source, threads=threads)
        if self.kind == "peer":
            return registry.resolve(registry.PEERS, "peers", self.source)()
        return registry.resolve(registry.BASELINES, "systems", self.source)()


NOISY = System("noisy", "noisy")


def network_system(network: str | Path) -> System:
    """A saved network, by its name or path.

    Raises:
        UserError: there is none, or it has no card.
    """
    stem = network_files.stem_named(network)
    card = ModelCard.beside(stem)
    return System(stem.name, "network", str(stem), json.dumps(card.sha256, sort_keys=True))
