"""Modes, models, losses, metrics, baselines and peers by name, each imported when it is used."""

from __future__ import annotations

import importlib
import re
from typing import Any

from speech_enhancement.errors import UsageError

MODES = {
    "data_creation": ".cli.modes.data_creation:run",
    "training": ".cli.modes.training:run",
    "tuning": ".cli.modes.tuning:run",
    "evaluation": ".cli.modes.evaluation:run",
    "export": ".cli.modes.export:run",
    "publish": ".cli.modes.publish:run",
    "streaming": ".cli.modes.streaming:run",
    "prediction": ".cli.modes.prediction:run",
    "download": ".cli.modes.download:run",
    "app": ".cli.modes.app:run",
}

MODELS = {
    "unet": ".models.unet:UNet",
    "dncnn": ".models.dncnn:DnCNN",
    "resunet": ".models.resunet:ResUNet",
    "lstm": ".models.lstm:StackedLSTM",
    "resnet": ".models.resnet:ResNet",
    "conv1d": ".models.conv1d:Conv1D",
    "dpcrn": ".models.dpcrn:DPCRN",
}

LOSSES = {
    "huber": ".models.losses:Huber",
    "log_cosh": ".models.losses:LogCosh",
    "mse": ".models.losses:MeanSquaredError",
    "mae": ".models.losses:MeanAbsoluteError",
    "mask": ".models.losses:MaskLoss",
    "multi_res_stft": ".models.losses:MultiResolutionSTFT",
    "si_sdr": ".models.losses:NegativeSISDR",
    "compressed_spectrum": ".models.losses:CompressedSpectrum",
    "compressed_spectrum_pesq": ".models.losses:CompressedSpectrumPESQ",
}


POINTWISE = ("huber", "log_cosh", "mse", "mae")

# The losses that can compare what a network gives with what its target asks for (see `features`).
LOSSES_OF_TARGET = {
    "noise_db": POINTWISE,
    "clean": POINTWISE,
    "mask": POINTWISE,
    "noise_mask": ("mask",),
    "waveform": (*POINTWISE, "multi_res_stft", "si_sdr"),
}


# The shipped networks that are used where none is named: for recordings, and for live sound.
DEFAULT_NETWORK = "dpcrn_offline"
LIVE_NETWORK = "dpcrn"

# What can run a saved network, and what a result can be stored as.
TRACKERS = ("wandb", "mlflow")
RUNTIMES = ("auto", "onnx", "keras")
FORMATS = ("wav", "flac", "ogg", "opus", "mp3", "aiff", "au", "caf", "w64", "rf64")


# What a network can be exported as.
EXPORT_FORMATS = {
    "onnx": ".export.formats:Onnx",
    "int8": ".export.formats:Int8",
    "litert": ".export.formats:LiteRT",
    "saved_model": ".export.formats:SavedModel",
}


METRICS = {
    "pesq": ".scoring.metrics:pesq",
    "pesq_wb": ".scoring.metrics:pesq_wb",
    "pesq_nb": ".scoring.metrics:pesq_nb",
    "stoi": ".scoring.metrics:stoi",
    "estoi": ".scoring.metrics:estoi",
    "si_sdr": ".scoring.metrics:si_sdr",
    "segmental_snr": ".scoring.metrics:segmental_snr",
    "log_spectral_distance": ".scoring.metrics:log_spectral_distance",
    "composite": ".scoring.metrics:composite",
    "dnsmos": ".scoring.metrics:dnsmos",
    "condition": ".scoring.metrics:condition",
    "spectrogram_similarity": ".scoring.metrics:spectrogram_similarity",
}

# Those that need no clean recording.
REFERENCE_FREE = ("dnsmos", "condition")

BASELINES = {
    "spectral_subtraction": ".scoring.baselines:SpectralSubtraction",
    "wiener": ".scoring.baselines:Wiener",
}

PEERS = {
    "noisereduce": ".scoring.peers:NoiseReduce",
    "rnnoise": ".scoring.peers:RNNoise",
    "deepfilternet": ".scoring.peers:DeepFilterNet",
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
    return getattr(importlib.import_module(module, __package__), attribute)


def name_of(table: dict[str, str], attribute: type) -> str:
    """The name that a class has in `table`, or its own name if it is not there."""
    module = re.sub(rf"^{__package__}(?=\.)", "", attribute.__module__)
    code = f"{module}:{attribute.__name__}"
    return next((name for name, entry in table.items() if entry == code), attribute.__name__)
