"""ResUNet: a U-Net with an encoder for images, which estimates the clean spectrogram.

In: scaled noisy magnitude in dB, (batch, bins, frames, 1). Out: clean magnitude in dB scaled to
0..1, same shape. With the representation `magnitude`, both are powers of it.

The NoiseNil report, 2025; O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015; K. He et al.,
"Deep Residual Learning for Image Recognition", CVPR 2016; M. Sandler et al., "MobileNetV2: Inverted
Residuals and Linear Bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import layers

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.signal.features import Features

STRIDE = 32
# MobileNetV2's own 0.999 averages over so many steps that the network changes meanwhile: after 2500
# steps, the validation loss was 0.0108, and 0.0062 with the statistics of the last hundred.
MOMENTUM = 0.95
DECODER_FILTERS = (256, 128, 64, 32, 16)


class Backbone(NamedTuple):
    """An encoder of `keras.applications`.

    Args:
        name: of its function there.
        options: of this function.
        ends: the layers that have the last output of each resolution, from fine to coarse.
        pixel_scale, pixel_mean: what turns 0..1 into the pixels that it was made for.
    """

    name: str
    options: dict[str, Any]
    ends: tuple[str, ...]
    pixel_scale: float
    pixel_mean: float


def _resnet(name: str, blocks: int) -> Backbone:
    """A ResNet with the given number of blocks in its fourth stage."""
    ends = ("conv1_relu", "conv2_block3_out", "conv3_block4_out", f"conv4_block{blocks}_out")
    # ImageNet's pixels as a ResNet expects them: 0..255 less their mean.
    return Backbone(name, {}, (*ends, "conv5_block3_out"), 255.0, 110.0)


BACKBONES = {
    "resnet50": _resnet("ResNet50", 6),
    "resnet101": _resnet("ResNet101", 23),
    "mobilenetv2": Backbone(
        "MobileNetV2",
        {"alpha": 0.5},
        (*(f"block_{number}_expand_relu" for number in (1, 3, 6, 13)), "block_16_project_BN"),
        pixel_scale=2.0,
        pixel_mean=1.0,
    ),
}


class ResUNet(DenoisingHyperModel):
    """An encoder for images and a light decoder.

    ResNet101 makes it 52 M parameters, MobileNetV2 of half its width 2 M.

    Args:
        backbone: a key of `BACKBONES`; tunable when not given.
        pretrained: `imagenet`, or a file of the encoder's Keras weights; random if not given.
        kwargs: see `DenoisingHyperModel`.

    Raises:
        UsageError: there is no such backbone.
    """

    default_features = Features(
        target="clean", input_offset_db=Features.floor_db, input_scale_db=100.0
    )
    default_loss = "log_cosh"
    learning_rate = 3e-4
    extra_options = ("backbone", "pretrained")

    def __init__(
        self, backbone: str | None = None, pretrained: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if backbone not in (None, *BACKBONES):
            raise UsageError(
                f"`backbone` must be one of {', '.join(BACKBONES)}. Received: {backbone}"
            )
        self.backbone = backbone
        self.pretrained = pretrained

    def network(self, hp) -> keras.Model:
        """See `DenoisingHyperModel.network`; sides are padded to a multiple of the stride."""
        backbones = [self.backbone] if self.backbone else list(BACKBONES)
        backbone = hp.Choice("backbone", backbones, default=self.backbone or "resnet101")
        width = hp.Choice("decoder_width", [0.25, 0.5, 1.0, 2.0], default=1.0)
        pixels = BACKBONES[backbone]

        self.require_sides(STRIDE)
        inputs = keras.Input(self.input_shape, name="noisy")
        padding = [(0, -side % STRIDE) for side in self.input_shape[:2]]
        padded = layers.ZeroPadding2D(padding)(inputs)
        x = layers.Conv2D(
            3,
            1,
            kernel_initializer=keras.initializers.Constant(pixels.pixel_scale),
            bias_initializer=keras.initializers.Constant(-pixels.pixel_mean),
            name="to_pixels",
        )(padded)  # (batch, F, T, 3)
        *skips, x = encoder(backbone, self.pretrained, x.shape[1:])(x)  # (batch, F/32, T/32, ...)
        # The encoder begins with a stride, so that only its input has the single bins.
        skips.insert(0, padded)
        for filters in DECODER_FILTERS:
            x = layers.Concatenate()([layers.UpSampling2D(2)(x), skips.pop()])
            x = convolution(convolution(x, int(filters * width)), int(filters * width))
        x = layers.Cropping2D(padding)(x)
        x = layers.Conv2D(1, 1, dtype="float32")(x)
        in_0_to_1 = self.features.representation == "magnitude_db"
        activation = self.output_activation(clean="sigmoid" if in_0_to_1 else "relu")
        outputs = layers.Activation(activation, dtype="float32")(x)
        return keras.Model(inputs, outputs, name="resunet")


def encoder(backbone: str, pretrained: str | None, shape: tuple[int, ...]) -> keras.Model:
    """A network for images without its classifier, and what it knows at five resolutions.

    Raises:
        UserError: the weights cannot be downloaded, or the file does not hold them.
    """
    chosen = BACKBONES[backbone]
    try:
        network = getattr(keras.applications, chosen.name)(
            include_top=False, weights=pretrained, input_shape=shape, **chosen.options
        )
    # Keras raises a bare Exception when it cannot download.
    except Exception as error:
        raise UserError(
            f"`pretrained` must be imagenet, which is downloaded once, or a file of the weights of "
            f"{backbone}. Received: {pretrained} ({str(error).splitlines()[0]})"
        ) from error
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = MOMENTUM
    outputs = [network.get_layer(end).output for end in chosen.ends]
    return keras.Model(network.input, outputs, name=backbone)


def convolution(x, filters: int):
    """A 3x3 convolution, its batch normalisation and its ReLU."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=MOMENTUM)(x))
