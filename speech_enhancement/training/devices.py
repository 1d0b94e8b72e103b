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
    strategy = mirrored_strategy()
    together = f" ({strategy.num_replicas_in_sync} devices)" if strategy else ""
    return f"{keras.backend.backend()} on {', '.join(names) if names else 'the CPU'}{together}"


def mirrored_strategy() -> Any:
    """What mirrors a network over the devices of this machine; none if there is only one.

    TensorFlow only: `keras.distribution` covers JAX by itself, and torch trains on one device.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    config = tf.config
    found = config.list_logical_devices("GPU") or config.list_logical_devices("CPU")
    if len(found) < 2:
        return None
    return tf.distribute.MirroredStrategy([device.name for device in found])


def mirrored_scope() -> Any:
    """A scope in which variables are mirrored over the devices of this machine."""
    strategy = mirrored_strategy()
    return strategy.scope() if strategy else contextlib.nullcontext()
