"""Every mode, model, loss, metric and system by name; the code behind a name is imported on use."""

from __future__ import annotations

import importlib
from typing import Any

from errors import UsageError

MODES = {
    "data_creation": "modes.data_creation:run",
    "training": "modes.training:run",
    "tuning": "modes.tuning:run",
    "evaluation": "modes.evaluation:run",
    "export": "modes.export:run",
    "streaming": "modes.streaming:run",
    "prediction": "modes.prediction:run",
    "download": "modes.download:run",
    "app": "modes.app:run",
}

MODELS = {
    "unet": "model_unet:UNet",
    "dncnn": "model_dncnn:DnCNN",
    "resunet": "model_resunet:ResUNet",
    "lstm": "model_lstm:StackedLSTM",
    "resnet": "model_resnet:ResNet",
    "conv1d": "model_conv1d:Conv1D",
    "dpcrn": "model_dpcrn:DPCRN",
}

LOSSES = {
    "huber": "losses:Huber",
    "log_cosh": "losses:LogCosh",
    "mse": "losses:MeanSquaredError",
    "mae": "losses:MeanAbsoluteError",
    "mask": "losses:MaskLoss",
    "multi_res_stft": "losses:MultiResolutionSTFT",
    "si_sdr": "losses:NegativeSISDR",
    "compressed_spectrum": "losses:CompressedSpectrum",
    "compressed_spectrum_pesq": "losses:CompressedSpectrumPESQ",
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
    "onnx": "exporters:Onnx",
    "int8": "exporters:Int8",
    "litert": "exporters:LiteRT",
    "saved_model": "exporters:SavedModel",
}


METRICS = {
    "pesq_wb": "metrics:pesq_wb",
    "pesq_nb": "metrics:pesq_nb",
    "stoi": "metrics:stoi",
    "estoi": "metrics:estoi",
    "si_sdr": "metrics:si_sdr",
    "segmental_snr": "metrics:segmental_snr",
    "log_spectral_distance": "metrics:log_spectral_distance",
    "composite": "metrics:composite",
    "dnsmos": "metrics:dnsmos",
    "spectrogram_similarity": "metrics:spectrogram_similarity",
    "device_quality": "metrics:device_quality",
}

SYSTEMS = {
    "spectral_subtraction": "baselines:SpectralSubtraction",
    "wiener": "baselines:Wiener",
}

PEERS = {
    "noisereduce": "peers:NoiseReduce",
    "rnnoise": "peers:RNNoise",
    "deepfilternet": "peers:DeepFilterNet",
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


def name_of(table: dict[str, str], attribute: type) -> str:
    """The name that a class has in `table`, or its own name if it is not there."""
    code = f"{attribute.__module__}:{attribute.__name__}"
    return next((name for name, entry in table.items() if entry == code), attribute.__name__)
