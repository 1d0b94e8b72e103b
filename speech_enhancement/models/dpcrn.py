"""DPCRN: a dual-path network that estimates a complex mask, for live sound and for recordings.

In and out: complex STFT as channels, (batch, frames, bins, 2), 16 kHz, window 512, hop 256. Each
frame is compressed in magnitude, folded into bands by convolutions over frequency, and passed
through blocks of a GRU along time (the only memory) and self-attention along frequency. A mirrored
decoder estimates the mask, which multiplies the compressed spectrum. If its GRUs only run forwards,
the network is causal and carries a state from frame to frame; if they run in both directions, it
needs the whole recording.

X. Le, H. Chen, K. Chen, J. Lu, "DPCRN: Dual-Path Convolution Recurrent Network for Single Channel
Speech Enhancement", Interspeech 2021; self-attention over frequency in its place and no
convolution along time after S. Ahn et al., "FastEnhancer", 2025.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
from keras import layers, ops

from speech_enhancement.config import AudioConfig
from speech_enhancement.errors import UsageError
from speech_enhancement.models import pesq_disturbance
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.models.spectral_ops import COMPRESSION, EPSILON
from speech_enhancement.signal.features import Features

FOLD = 4
FOLD_KERNEL = 8

# A loop that is written out runs a little faster than a scan, but takes seconds to trace and to
# compile for every ten frames of it.
MOST_UNROLLED_FRAMES = 8


class DPCRN(DenoisingHyperModel):
    """A network of about 0.1 M parameters and 0.2 G multiply-adds a second by default.

    Raises:
        UsageError: the geometry is not one that the loss can resynthesise.
    """

    default_audio = AudioConfig(16000, 512, 256, 32000, "sqrt_hann")
    default_features = Features(representation="complex", target="clean", cut_dc=True)
    default_loss = "compressed_spectrum_pesq"
    losses = ("compressed_spectrum_pesq", "compressed_spectrum")
    level_dbfs = None
    streaming = True
    onnx_packages = ("onnx",)

    def network(self, hp) -> keras.Model:
        """See `DenoisingHyperModel.network`; the number of frames is open."""
        inputs = keras.Input((None, self.audio.n_bins, 2), name="spectrum")
        return keras.Model(inputs, self.draw(hp, inputs), name="dpcrn")

    def draw(self, hp, inputs, recurrence: Callable | None = None):
        """The enhanced spectrum of a spectrum.

        Args:
            hp: hyper-parameters.
            inputs: (batch, frames, bins, 2).
            recurrence: makes the layer along time of `units` and `name`; by default a `TimeGRU`
                of the directions that `hp` says.
        """
        channels = hp.Int("channels", 16, 64, step=8, default=32)
        core_channels = hp.Int("core_channels", 16, 96, step=16, default=48)
        core_bands = hp.Int("core_bands", 16, 48, step=8, default=24)
        conv_blocks = hp.Int("conv_blocks", 1, 3, default=2)
        core_blocks = hp.Int("core_blocks", 1, 4, default=3)
        head_size = hp.Choice("head_size", [8, 16], default=16)
        units = hp.Int("time_units", 16, 96, step=16, default=core_channels)  # of each direction
        bidirectional = hp.Boolean("bidirectional", default=False)
        recurrence = recurrence or functools.partial(
            TimeGRU, bidirectional=bidirectional, dtype="float32"
        )

        # (batch, T, F, [magnitude, re, im])
        compressed = Compress(name="compress", dtype="float32")(inputs)
        x = SkipDC(name="skip_dc")(compressed)  # (batch, T, F - 1, 3)
        x = fold(x, channels)  # (batch, T, (F - 1) / 4, C)
        skips = []
        for index in range(conv_blocks):
            skips.append(x)
            x = conv_block(x, channels, f"encoder_{index}")
        skips.append(x)

        time_path = functools.partial(recurrence, units)
        heads = core_channels // head_size
        x = core(x, core_channels, core_bands, core_blocks, heads, time_path)

        for index in reversed(range(conv_blocks)):
            x = layers.Add(name=f"skip_{index + 1}")([x, skips.pop()])
            x = conv_block(x, channels, f"decoder_{index}")
        x = layers.Add(name="skip_0")([x, skips.pop()])
        mask = unfold(x)  # (batch, T, F - 1, 2)
        return ApplyMask(name="apply_mask", dtype="float32")([compressed, mask])

    def fitting_losses(self) -> tuple[str, ...]:
        """Leave out PESQ where it is not defined: at other sample rates, and for short windows."""
        fits = (
            self.audio.sample_rate == pesq_disturbance.SAMPLE_RATE
            and self.audio.frame_length >= pesq_disturbance.FEWEST_SAMPLES
        )
        return self.losses if fits else self.losses[1:]

    def loss_options(self, hp, name: str) -> dict:
        """See `DenoisingHyperModel.loss_options`: how much more missing voice counts."""
        return {"over_attenuation": hp.Float("over_attenuation", 0.0, 1.0, step=0.1, default=0.0)}

    def optimizer(self, learning_rate) -> keras.optimizers.Optimizer:
        """Muon with clipped gradients, which recurrent networks need.

        Its steps turn a matrix in all directions alike, and AdamW takes the other weights: after
        the same audio the loss was lower than with AdamW alone. K. Jordan et al., "Muon", 2024;
        for its step size, J. Liu et al., "Muon is Scalable for LLM Training", 2025.
        """
        return keras.optimizers.Muon(
            learning_rate,
            weight_decay=1e-4,
            adam_weight_decay=1e-4,
            global_clipnorm=1.0,
            exclude_embeddings=False,
        )

    def is_streaming(self, model: keras.Model) -> bool:
        """See `DenoisingHyperModel.is_streaming`: a GRU that runs backwards needs the end first."""
        return not model.get_layer("time_0").bidirectional

    def onnx_graph(self, model: keras.Model):
        """See `dpcrn_onnx.onnx_graph`."""
        from speech_enhancement.models.dpcrn_onnx import onnx_graph

        return onnx_graph(model)

    def step_network(self, hp, n_frames: int | None = 1) -> keras.Model:
        """See `DenoisingHyperModel.step_network`; a state for each GRU.

        Raises:
            UsageError: its GRUs run both ways, so that it has no state to carry.
        """
        if hp.values.get("bidirectional"):
            raise UsageError("A bidirectional `dpcrn` needs whole recordings and cannot stream")
        spectrum = keras.Input(batch_shape=(1, n_frames, self.audio.n_bins, 2), name="spectrum")
        paths: list[CarriedPath] = []

        def recurrence(units: int, name: str) -> CarriedPath:
            paths.append(CarriedPath(units, name))
            return paths[-1]

        enhanced = self.draw(hp, spectrum, recurrence)
        next_states = {f"next_{path.state.name}": path.next_state for path in paths}
        inputs = [spectrum, *(path.state for path in paths)]
        return keras.Model(inputs, {"enhanced": enhanced, **next_states}, name="dpcrn_step")

    def _check_audio(self) -> None:
        """See `DenoisingHyperModel._check_audio`."""
        audio = self.audio
        halved = audio.n_fft == 2 * audio.hop_length_fft and audio.window == "sqrt_hann"
        if not halved or audio.n_fft % (2 * FOLD):
            raise UsageError(
                f"`dpcrn` needs --data dynamic, an `n_fft` that is a multiple of {2 * FOLD}, and a "
                f"`hop_length_fft` of half of it. Received: n_fft {audio.n_fft}, hop_length_fft "
                f"{audio.hop_length_fft}, window {audio.window}"
            )


def fold(x, channels: int):
    """Convolve over frequency, and merge `FOLD` bins into one band."""
    return layers.Conv2D(
        channels,
        (1, FOLD_KERNEL),
        strides=(1, FOLD),
        padding="same",
        activation="relu",
        name="fold",
    )(x)


def unfold(x):
    """Estimate the mask of each bin; that of a new network lets everything through.

    From a random mask, the phases stayed wrong: with the default loss, the SI-SNR was -3 dB after
    200 steps, and 6.6 dB from this one.
    """
    return layers.Conv2DTranspose(
        2,
        (1, FOLD_KERNEL),
        strides=(1, FOLD),
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.005),
        bias_initializer=keras.initializers.Constant([1.0, 0.0]),
        dtype="float32",
        name="unfold",
    )(x)


def conv_block(x, channels: int, name: str):
    """A residual convolution over three neighbouring bands."""
    y = layers.Conv2D(channels, (1, 3), padding="same", activation="relu", name=name)(x)
    return layers.Add(name=f"{name}_add")([x, y])


def core(x, channels: int, n_bands: int, blocks: int, heads: int, time_path: Callable):
    """The dual-path blocks, on fewer bands: (batch, T, B, C) in and out."""
    bands, outer_channels = x.shape[2:]
    x = BandMix(n_bands, name="to_core")(x)  # (batch, T, core bands, C)
    x = layers.Dense(channels, name="core_in")(x)
    x = BandEmbedding(name="band_embedding")(x)
    for index in range(blocks):
        x = residual(x, time_path(name=f"time_{index}"))
        x = residual(x, BandAttention(heads, name=f"frequency_{index}"))
    x = layers.Dense(outer_channels, name="core_out")(x)
    return BandMix(bands, name="from_core")(x)


def residual(x, path):
    """Normalise, run one path of the dual-path block, project, and add to what was there."""
    y = layers.LayerNormalization(epsilon=1e-5, name=f"{path.name}_norm")(x)
    y = layers.Dense(x.shape[-1], name=f"{path.name}_out")(path(y))
    return layers.Add(name=f"{path.name}_add")([x, y])


@keras.saving.register_keras_serializable("speech_enhancement")
class Compress(layers.Layer):
    """(batch, T, F, 2) complex channels -> (batch, T, F, 3) compressed magnitude, re, im."""

    def call(self, spectrum):
        """Raise the magnitude to a power of 0.3, and keep the phase."""
        power = ops.sum(ops.square(spectrum), axis=-1, keepdims=True) + EPSILON
        scaled = spectrum * ops.power(power, 0.5 * (COMPRESSION - 1.0))
        return ops.concatenate([ops.power(power, 0.5 * COMPRESSION), scaled], axis=-1)


@keras.saving.register_keras_serializable("speech_enhancement")
class SkipDC(layers.Cropping2D):
    """Drop the bin at 0 Hz, so that the rest folds evenly: (batch, T, F, C) -> (.., F - 1, C).

    `keras.layers.Cropping2D` under the name that it has in the files of saved networks.
    """

    def __init__(self, cropping=((0, 0), (1, 0)), data_format="channels_last", **kwargs) -> None:
        super().__init__(cropping, data_format=data_format, **kwargs)


@keras.saving.register_keras_serializable("speech_enhancement")
class BandMix(layers.Layer):
    """A linear map over the band axis, shared by channels: (.., F, C) -> (.., bands, C).

    `keras.layers.EinsumDense` computes the same to 2e-6, but its forward pass takes 1.5 to 3 times
    as long on a processor (TensorFlow, 4 x 126 frames of 64 and of 24 bands).
    """

    def __init__(self, bands: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.bands = bands

    def build(self, input_shape) -> None:
        """One weight for each pair of bands."""
        self.kernel = self.add_weight(
            name="kernel", shape=(self.bands, input_shape[-2]), initializer="glorot_uniform"
        )

    def call(self, x):
        """Map the bands of each frame to others."""
        return ops.matmul(self.kernel, x)

    def get_config(self) -> dict:
        """See `keras.layers.Layer.get_config`."""
        return {**super().get_config(), "bands": self.bands}


@keras.saving.register_keras_serializable("speech_enhancement")
class BandEmbedding(layers.Layer):
    """Adds a learned vector to each band, so that attention can tell them apart."""

    def build(self, input_shape) -> None:
        """One vector for each band."""
        self.table = self.add_weight(
            name="table",
            shape=tuple(input_shape[-2:]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )

    def call(self, x):
        """(batch, T, F, C) -> same."""
        return x + self.table


@keras.saving.register_keras_serializable("speech_enhancement")
class TimeGRU(layers.Layer):
    """A GRU along time on (batch, T, F, C), every band with its own state and the same weights.

    The gates are those of `keras.layers.GRU(reset_after=True)` and of ONNX's GRU with
    `linear_before_reset`. Written out because the inputs of all frames are then projected by one
    matrix product, which halves the cost of a training step on a CPU.

    Args:
        units: of the state, in each direction.
        bidirectional: run both ways, each with weights of its own: the outputs forwards come first.
    """

    def __init__(self, units: int, bidirectional: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.bidirectional = bidirectional

    def build(self, input_shape) -> None:
        """Gates in the order update, reset, candidate."""
        gates, channels = 3 * self.units, input_shape[-1]

        def direction(prefix: str) -> tuple:
            kernel = self.add_weight(
                name=f"{prefix}kernel", shape=(channels, gates), initializer="glorot_uniform"
            )
            recurrent = self.add_weight(
                name=f"{prefix}recurrent", shape=(self.units, gates), initializer="orthogonal"
            )
            bias = self.add_weight(name=f"{prefix}bias", shape=(2, gates), initializer="zeros")
            return kernel, recurrent, bias

        self.forwards = direction("")
        self.backwards = direction("backward_") if self.bidirectional else None

    def call(self, x):
        """(batch, T, F, C) -> (batch, T, F, directions * units), states starting at zero."""
        outputs = self.run_from_zero(x, *self.forwards)
        if not self.backwards:
            return outputs
        reverse = self.run_from_zero(ops.flip(x, axis=1), *self.backwards)
        return ops.concatenate([outputs, ops.flip(reverse, axis=1)], axis=-1)

    def run_from_zero(self, x, kernel, recurrent, bias):
        """One direction: (batch, T, F, C) -> (batch, T, F, units)."""
        steps = project(x, kernel, bias)
        if keras.backend.backend() == "jax":
            from speech_enhancement.models import jax_recurrence

            given = (ops.convert_to_tensor(each) for each in (steps, recurrent, bias[1]))
            loops = jax_recurrence.fastest_loops(steps)
            return ops.moveaxis(jax_recurrence.gru(*given, loops), 0, 1)
        state = ops.zeros_like(steps[0, ..., : self.units])
        return self.run(steps, state, recurrent, bias[1])[0]

    def run(self, steps, state, recurrent, bias):
        """Outputs (batch, T, F, units) of projected frames, and the state after the last."""

        def step(state, projected):
            state = gru_step(state, projected, recurrent, bias)
            return state, state

        n_frames = steps.shape[0]
        if n_frames is None or n_frames > MOST_UNROLLED_FRAMES:
            state, outputs = ops.scan(step, state, steps)
            return ops.moveaxis(outputs, 0, 1), state
        outputs = []
        for projected in ops.unstack(steps):
            state, _ = step(state, projected)
            outputs.append(state)
        return ops.stack(outputs, axis=1), state

    def compute_output_shape(self, input_shape):
        """See `keras.layers.Layer.compute_output_shape`; saves tracing the loop over frames."""
        return (*input_shape[:-1], (1 + self.bidirectional) * self.units)

    def get_config(self) -> dict:
        """See `keras.layers.Layer.get_config`."""
        own = {"units": self.units, "bidirectional": self.bidirectional}
        return {**super().get_config(), **own}


def project(x, kernel, bias):
    """(batch, T, F, C) -> (T, batch, F, 3 units), the inputs' part in the gates of a GRU."""
    return ops.moveaxis(ops.matmul(x, kernel) + bias[0], 1, 0)


def gru_step(state, projected, recurrent, bias):
    """The state of a GRU after one more frame, of whose inputs the gates' part is given."""
    inner = ops.matmul(state, recurrent) + bias
    update_in, reset_in, candidate_in = ops.split(projected, 3, axis=-1)
    update_inner, reset_inner, candidate_inner = ops.split(inner, 3, axis=-1)
    update = ops.sigmoid(update_in + update_inner)
    reset = ops.sigmoid(reset_in + reset_inner)
    candidate = ops.tanh(candidate_in + reset * candidate_inner)
    return candidate + update * (state - candidate)


@keras.saving.register_keras_serializable("speech_enhancement")
class CarriedGRU(TimeGRU):
    """A `TimeGRU` that is given its state, and gives it back."""

    def build(self, input_shape) -> None:
        """See `TimeGRU.build`; the shapes are those of the frames and of the state."""
        super().build(input_shape[0])

    def call(self, inputs):
        """[(1, T, F, C), (1, F, units)] -> (1, T, F, units) and the next (1, F, units)."""
        x, state = inputs
        kernel, recurrent, bias = self.forwards
        return self.run(project(x, kernel, bias), state, recurrent, bias[1])

    def compute_output_shape(self, input_shape):
        """See `keras.layers.Layer.compute_output_shape`."""
        shape, state_shape = input_shape
        return (*shape[:-1], self.units), state_shape


class CarriedPath:
    """A `CarriedGRU` whose state is an input and an output of the network that it is drawn in."""

    def __init__(self, units: int, name: str) -> None:
        self.name = name
        self.layer = CarriedGRU(units, name=name)

    def __call__(self, x):
        """(1, T, F, C) -> (1, T, F, units)."""
        shape = (1, x.shape[2], self.layer.units)
        self.state = keras.Input(batch_shape=shape, name=self.name.replace("time", "state"))
        y, self.next_state = self.layer([x, self.state])
        return y


@keras.saving.register_keras_serializable("speech_enhancement")
class BandAttention(layers.Layer):
    """Multi-head self-attention (Vaswani et al. 2017) along the bands of each frame.

    `keras.layers.MultiHeadAttention` along this axis takes 1.5 times as long on a processor, in a
    training step too (TensorFlow, 4 x 126 frames of 24 bands): it projects queries, keys and values
    one by one, and its output once more than `residual` does.
    """

    def __init__(self, heads: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape) -> None:
        """Queries, keys and values in one kernel."""
        self.bands, channels = input_shape[-2:]
        self.kernel = self.add_weight(
            name="kernel", shape=(channels, 3 * channels), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(3 * channels,), initializer="zeros")

    def call(self, x):
        """(batch, T, F, C) -> same."""
        frames, bands, channels = ops.shape(x)[1], x.shape[2], x.shape[3]
        size = channels // self.heads
        projected = ops.matmul(x, self.kernel) + self.bias
        projected = ops.reshape(projected, (-1, bands, 3, self.heads, size))
        query, key, value = ops.unstack(ops.transpose(projected, (2, 0, 3, 1, 4)))
        scores = ops.matmul(query * size**-0.5, ops.transpose(key, (0, 1, 3, 2)))
        mixed = ops.matmul(ops.softmax(scores), value)  # (batch * T, heads, F, C / heads)
        mixed = ops.transpose(mixed, (0, 2, 1, 3))
        return ops.reshape(mixed, (-1, frames, bands, channels))

    def get_config(self) -> dict:
        """See `keras.layers.Layer.get_config`."""
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable("speech_enhancement")
class ApplyMask(layers.Layer):
    """Multiply the compressed spectrum by the complex mask and undo the compression."""

    def call(self, inputs):
        """[(batch, T, F, 3), (batch, T, F - 1, 2)] -> (batch, T, F, 2)."""
        compressed, mask = inputs
        mask = ops.concatenate([mask[:, :, :1], mask], axis=2)
        real, imaginary = compressed[..., 1], compressed[..., 2]
        masked = ops.stack(
            [
                real * mask[..., 0] - imaginary * mask[..., 1],
                real * mask[..., 1] + imaginary * mask[..., 0],
            ],
            axis=-1,
        )
        power = ops.sum(ops.square(masked), axis=-1, keepdims=True) + EPSILON
        return masked * ops.power(power, 0.5 * (1.0 / COMPRESSION - 1.0))
