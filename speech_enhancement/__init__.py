"""Removes noise from speech, and trains the networks that do it.

>>> from speech_enhancement import Enhancer
>>> clean = Enhancer.load().enhance(samples, rate)  # the shape of `samples`

>>> from speech_enhancement import denoise_files
>>> denoised = denoise_files(["interviews/"])  # as the command does

>>> from speech_enhancement import Design, StoredData, train
>>> trained = train(StoredData("data/spectrogram"), Design("dncnn"))
"""

from speech_enhancement.errors import UsageError, UserError

TYPE_CHECKING = False  # as `typing` has it, which takes a while to import
if TYPE_CHECKING:
    from speech_enhancement.config import AudioConfig
    from speech_enhancement.corpora.downloading import download_corpus
    from speech_enhancement.corpora.preparation import Preparation
    from speech_enhancement.datasets.creation import WindowSettings, create_data
    from speech_enhancement.export.exporting import export_networks
    from speech_enhancement.export.publishing import Licence, publish_network
    from speech_enhancement.files.audio_files import RawFormat
    from speech_enhancement.inference.enhancer import Enhancer, StreamingEnhancer
    from speech_enhancement.live.devices import Devices, stream_devices
    from speech_enhancement.live.pipe import stream_pipe
    from speech_enhancement.mixing.recipe import MixingConfig
    from speech_enhancement.prediction.batch import BatchSettings
    from speech_enhancement.prediction.denoising import denoise_files
    from speech_enhancement.prediction.jobs import Destination
    from speech_enhancement.prediction.one_file import FileOptions
    from speech_enhancement.prediction.pipe import denoise_pipe
    from speech_enhancement.scoring.evaluation import PairFolders, evaluate
    from speech_enhancement.training.data import DeviceData, MixedData, StoredData
    from speech_enhancement.training.design import Design
    from speech_enhancement.training.fit import Learning, train
    from speech_enhancement.training.run_names import Run
    from speech_enhancement.training.tuning import Searching, tune

__all__ = [
    "AudioConfig",
    "BatchSettings",
    "Design",
    "Destination",
    "DeviceData",
    "Devices",
    "Enhancer",
    "FileOptions",
    "Learning",
    "Licence",
    "MixedData",
    "MixingConfig",
    "PairFolders",
    "Preparation",
    "RawFormat",
    "Run",
    "Searching",
    "StoredData",
    "StreamingEnhancer",
    "UsageError",
    "UserError",
    "WindowSettings",
    "create_data",
    "denoise_files",
    "denoise_pipe",
    "download_corpus",
    "evaluate",
    "export_networks",
    "publish_network",
    "stream_devices",
    "stream_pipe",
    "train",
    "tune",
]

# What needs numpy, a runtime or Keras, and is imported when it is asked for.
_MODULES = {
    "AudioConfig": "config",
    "BatchSettings": "prediction.batch",
    "Design": "training.design",
    "Destination": "prediction.jobs",
    "DeviceData": "training.data",
    "Devices": "live.devices",
    "Enhancer": "inference.enhancer",
    "FileOptions": "prediction.one_file",
    "Learning": "training.fit",
    "Licence": "export.publishing",
    "MixedData": "training.data",
    "MixingConfig": "mixing.recipe",
    "PairFolders": "scoring.evaluation",
    "Preparation": "corpora.preparation",
    "RawFormat": "files.audio_files",
    "Run": "training.run_names",
    "Searching": "training.tuning",
    "StoredData": "training.data",
    "StreamingEnhancer": "inference.enhancer",
    "WindowSettings": "datasets.creation",
    "create_data": "datasets.creation",
    "denoise_files": "prediction.denoising",
    "denoise_pipe": "prediction.pipe",
    "download_corpus": "corpora.downloading",
    "evaluate": "scoring.evaluation",
    "export_networks": "export.exporting",
    "publish_network": "export.publishing",
    "stream_devices": "live.devices",
    "stream_pipe": "live.pipe",
    "train": "training.fit",
    "tune": "training.tuning",
}


def __getattr__(name: str) -> object:
    """A class or a function of the package by its name."""
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
