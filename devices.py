"""Which accelerators a training runs on."""

from __future__ import annotations

import contextlib
from typing import Any

import keras


def gpu_names() -> list[str]:
    """GPUs that the backend sees."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return [device.name for device in tf.config.list_physical_devices("GPU")]
    if backend == "torch":
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [name for name in keras.distribution.list_devices() if "cpu" not in name]


def device_summary() -> str:
    """Backend and devices in a few words."""
    names = gpu_names()
    return f"{keras.backend.backend()} on {', '.join(names) if names else 'the CPU'}"


def mirrored_scope() -> Any:
    """A scope in which variables are mirrored over the GPUs of this machine, if there are several.

    TensorFlow only: `keras.distribution` covers JAX by itself, and torch trains on one device.
    """
    if keras.backend.backend() == "tensorflow" and len(gpu_names()) > 1:
        import tensorflow as tf

        return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()
