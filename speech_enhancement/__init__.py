"""Removes noise from speech, and trains the networks that do it.

>>> from speech_enhancement import Enhancer
>>> clean = Enhancer.load().enhance(samples, rate)  # the shape of `samples`

>>> from speech_enhancement import Design, StoredData, train
>>> trained = train(StoredData("data/spectrogram"), Design("dncnn"))
"""

from speech_enhancement.errors import UsageError, UserError

TYPE_CHECKING = False  # as `typing` has it, which takes a while to import
if TYPE_CHECKING:
    from speech_enhancement.config import AudioConfig
    from speech_enhancement.corpora.preparation import Preparation
    from speech_enhancement.datasets.creation import WindowSettings, create_data
    from speech_enhancement.export.exporting import export_networks
    from speech_enhancement.export.publishing import Licence, publish_network
    from speech_enhancement.inference.enhancer import Enhancer, StreamingEnhancer
    from speech_enhancement.mixing.recipe import MixingConfig
    from speech_enhancement.scoring.evaluation import PairFolders, evaluate
    from speech_enhancement.training.data import DeviceData, MixedData, StoredData
    from speech_enhancement.training.design import Design
    from speech_enhancement.training.fit import Learning, train
    from speech_enhancement.training.run_names import Run
    from speech_enhancement.training.tuning import Searching, tune

__all__ = [
    "AudioConfig",
    "Design",
    "DeviceData",
    "Enhancer",
    "Learning",
    "Licence",
    "MixedData",
    "MixingConfig",
    "PairFolders",
    "Preparation",
    "Run",
    "Searching",
    "StoredData",
    "StreamingEnhancer",
    "UsageError",
    "UserError",
    "WindowSettings",
    "create_data",
    "evaluate",
    "export_networks",
    "publish_network",
    "train",
    "tune",
]

# What needs numpy, a runtime or Keras, and is imported when it is asked for.
_MODULES = {
    "AudioConfig": "config",
    "Design": "training.design",
    "DeviceData": "training.data",
    "Enhancer": "inference.enhancer",
    "Learning": "training.fit",
    "Licence": "export.publishing",
    "MixedData": "training.data",
    "MixingConfig": "mixing.recipe",
    "PairFolders": "scoring.evaluation",
    "Preparation": "corpora.preparation",
    "Run": "training.run_names",
    "Searching": "training.tuning",
    "StoredData": "training.data",
    "StreamingEnhancer": "inference.enhancer",
    "WindowSettings": "datasets.creation",
    "create_data": "datasets.creation",
    "evaluate": "scoring.evaluation",
    "export_networks": "export.exporting",
    "publish_network": "export.publishing",
    "train": "training.fit",
    "tune": "training.tuning",
}


def __getattr__(name: str) -> object:
    """A class or a function of the package by its name."""
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
