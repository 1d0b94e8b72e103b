"""Training on mixtures that the accelerator draws itself, within the step that learns from them.

An epoch is a sequence of random keys, one for each mixture, and all that the host sends for a step
is a batch of them. Keras's JAX trainer does the rest, so that callbacks, checkpoints and several
devices work as they do everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora.preparation import SplitPool
from speech_enhancement.datasets.dynamic import (
    FixedMixtures,
    MixtureSettings,
    NewMixtures,
    open_mixers,
)
from speech_enhancement.errors import UsageError
from speech_enhancement.mixing.mixer import Mixer
from speech_enhancement.mixing.recipe import MixingConfig
from speech_enhancement.signal.features import Features

MEGA = 1e6


class DeviceMixtures(NewMixtures):
    """Batches of random keys, from which the training step draws mixtures on the device.

    A key gives the same mixture on the same kind of device. Call `attach` before `fit`.

    Args:
        mixer: the host's, whose recordings and recipe are used.
        features: what the network sees and must give.
        batch_size: mixtures in a batch.
        steps_per_epoch: batches in an epoch.
    """

    def __init__(
        self,
        mixer: Mixer,
        features: Features,
        batch_size: int,
        steps_per_epoch: int,
        **kwargs: Any,
    ) -> None:
        from speech_enhancement.datasets.device_mixer import DeviceMixer

        super().__init__(mixer, features, batch_size, steps_per_epoch, **kwargs)
        self.seed = mixer.seed
        self.mixer = DeviceMixer(mixer)
        self._pools: Any = None

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        seeds = np.random.SeedSequence([self.seed, self.epoch, index])
        return (seeds.generate_state(2 * self.batch_size).reshape(self.batch_size, 2),)

    def windows(self, pools: Any, keys: Any) -> tuple[Any, Any]:
        """Network input and target of a batch of keys, in `jax.numpy`."""
        from speech_enhancement.datasets import device_signals

        noisy, clean = self.mixer.batch(pools, keys)
        return device_signals.pair_of_waveforms(self.features, noisy, clean, self.audio)

    def attach(self, model: keras.Model, validation: FixedMixtures) -> None:
        """Have the training steps of a compiled network draw their mixtures from keys.

        Args:
            model: what `fit` is called of.
            validation: windows of the same shape, with which losses and metrics are built.
        """
        import jax

        model.test_on_batch(*validation[0])
        pools = self.pools_on_devices()

        def step(state: Any, pools: Any, keys: Any) -> Any:
            return model.train_step(state, self.windows(pools, keys))

        # The state of a step is given up for that of the next; Keras does the same. Every device
        # has all of it.
        place = _everywhere()
        compiled = jax.jit(
            step, donate_argnums=0, out_shardings=None if place is None else (None, place)
        )

        def train_function(state: Any, iterator: Any) -> Any:
            (keys,) = next(iterator)
            return compiled(state, pools, keys)

        model.train_function = train_function

    def pools_on_devices(self) -> Any:
        """What mixtures are drawn from, in the memory of every device."""
        import jax

        if self._pools is None:
            place = _everywhere()
            if place is None:
                self._pools = jax.tree.map(jax.device_put, self.mixer.pools)
            else:
                self._pools = jax.tree.map(
                    lambda leaf: jax.make_array_from_callback(
                        leaf.shape, place, lambda part: leaf[part]
                    ),
                    self.mixer.pools,
                )
            if jax.process_index() == 0:
                print(
                    f"Voices, noises and rooms take {self.mixer.n_bytes / MEGA:.0f} MB of memory "
                    "on each device",
                    flush=True,
                )
        return self._pools


def _everywhere() -> Any:
    """The placement of arrays that every device has; none if there is only one device."""
    import jax

    distribution = keras.distribution.distribution()
    if distribution is None:
        return None
    mesh = distribution.device_mesh.backend_mesh
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def open_mixtures(
    voices: SplitPool,
    noises: SplitPool,
    features: Features,
    audio: AudioConfig,
    recipe: MixingConfig,
    seed: int,
    settings: MixtureSettings,
) -> tuple[DeviceMixtures, FixedMixtures]:
    """Training batches that devices draw, and the validation batches of `--data dynamic`.

    Raises:
        UsageError: the backend is not JAX.
        UserError: the recordings are at another rate, or too many.
    """
    require_jax()
    train, validation = open_mixers(voices, noises, audio, recipe, seed)
    return (
        DeviceMixtures(train, features, settings.batch_size, settings.steps_per_epoch),
        FixedMixtures(validation, features, settings.batch_size, settings.validation_mixtures),
    )


def keep_compiled(folder: Path) -> None:
    """Have JAX keep what it compiles, so that later runs start at once.

    JAX finds an entry by all that it depends on, which includes the kind of accelerator and what
    the processor can do, so that machines can share the folder.

    Args:
        folder: where, unless the user has told JAX of another folder.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    config: Any = jax.config  # whose fields are not declared
    if config.jax_compilation_cache_dir is None:
        config.update("jax_compilation_cache_dir", str(folder))
        # What has been compiled already has settled that nothing is kept.
        compilation_cache.reset_cache()


def require_jax() -> None:
    """Refuse every backend but JAX.

    Raises:
        UsageError: it is another one.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        raise UsageError(
            "--data device needs Keras's JAX backend (pip install jax, and set the environment "
            f"variable KERAS_BACKEND to jax). Received: {backend}"
        )
