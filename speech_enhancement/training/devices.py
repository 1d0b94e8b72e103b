"""Which accelerators a training runs on."""

from __future__ import annotations

import contextlib
from typing import Any

import keras

from speech_enhancement.errors import UsageError
from speech_enhancement.training import machines

BFLOAT16 = (8, 0)  # compute capability of the first GPUs with it


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
    count = strategy.num_replicas_in_sync if strategy else sharing()
    together = f" ({count} devices)" if count > 1 else ""
    return f"{keras.backend.backend()} on {', '.join(names) if names else 'the CPU'}{together}"


def half_precision() -> str:
    """The Keras policy of computing in 16 bits where that is safe.

    Processors and newer GPUs have bfloat16, whose range is that of float32. GPUs from before 2020,
    such as the T4, have float16 only, for which Keras scales the loss.
    """
    return "mixed_float16" if gpu_names() and _compute_capability() < BFLOAT16 else "mixed_bfloat16"


def _compute_capability() -> tuple[int, int]:
    """Of the first GPU; that of `BFLOAT16` if it has none, as those of other makers and TPUs."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        config = tf.config
        details = config.experimental.get_device_details(config.list_physical_devices("GPU")[0])
        return details.get("compute_capability", BFLOAT16)
    if backend == "torch":
        import torch

        return torch.cuda.get_device_capability()
    import jax

    major, _, minor = str(getattr(jax.devices()[0], "compute_capability", "")).partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else BFLOAT16


def mirrored_strategy() -> Any:
    """What mirrors a network over the devices of this machine; none if there is only one.

    TensorFlow only: see `share_batches` for JAX; torch trains on one device.
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


def share_batches(batch_size: int) -> None:
    """On JAX, have Keras part each batch among all devices from now on, if there are several.

    Args:
        batch_size: windows in a batch.

    Raises:
        UsageError: the devices cannot have equal parts of a batch.
    """
    if keras.backend.backend() != "jax" or len(keras.distribution.list_devices()) < 2:
        return
    count = len(keras.distribution.list_devices())
    if batch_size % count:
        raise UsageError(
            f"`batch_size` must be a multiple of the {count} devices. Received: {batch_size}"
        )
    if keras.distribution.distribution() is None:
        parallel = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(parallel)


def sharing() -> int:
    """Devices among which Keras parts each batch on JAX; 1 if it does not."""
    distribution = keras.distribution.distribution()
    return distribution.device_mesh.devices.size if distribution else 1


def in_equal_parts(batches: Any) -> Any:
    """Batches of which all devices have equal parts: a few windows of the last are left out."""
    return EqualParts(batches, sharing()) if sharing() > 1 else batches


class EqualParts(keras.utils.PyDataset):
    """Batches whose number of windows is a multiple of the devices; all else is as it was.

    Of several machines, each has the part of its own devices.

    Args:
        batches: a data set that tells `n_windows` and `batch_size`.
        count: devices.
    """

    def __init__(self, batches: Any, count: int) -> None:
        super().__init__()
        self.batches = batches
        self.count = count

    def __len__(self) -> int:
        last = self.batches.n_windows - (len(self.batches) - 1) * self.batches.batch_size
        return len(self.batches) - (last < self.count)

    def __getitem__(self, index: int) -> Any:
        own = machines.own_devices(self.count)

        def part_of(windows: Any) -> Any:
            each = len(windows) // self.count
            return windows[own.start * each : own.stop * each]

        return tuple(map(part_of, self.batches[index]))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["batches"], name)

    def on_epoch_end(self) -> None:
        """See the data set."""
        self.batches.on_epoch_end()
