"""ResUNet: a U-Net whose encoder is a ResNet for images, and which estimates the clean spectrogram.

In: scaled noisy magnitude in dB, (batch, bins, frames, 1). Out: clean magnitude in dB scaled to
0..1, same shape. With the representation `magnitude`, both are powers of it.

The NoiseNil report, 2025; O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015; K. He et al.,
"Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.models.base import DenoisingHyperModel
from speech_enhancement.signal.features import Features

# Name in keras.applications, and the blocks of its fourth stage.
BACKBONES = {"resnet50": ("ResNet50", 6), "resnet101": ("ResNet101", 23)}
STRIDE = 32
DECODER_FILTERS = (256, 128, 64, 32, 16)
# ImageNet's pixels as these encoders expect them: 0..255 less their mean.
PIXEL_SCALE = 255.0
PIXEL_MEAN = 110.0


class ResUNet(DenoisingHyperModel):
    """ResNet101 and a light decoder, about 52 M parameters.

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
        backbones = [self.backbone] if self.backbone else ["resnet101", "resnet50"]
        backbone = hp.Choice("backbone", backbones, default=backbones[0])
        width = hp.Choice("decoder_width", [0.5, 1.0, 2.0], default=1.0)

        self.require_sides(STRIDE)
        inputs = keras.Input(self.input_shape, name="noisy")
        padding = [(0, -side % STRIDE) for side in self.input_shape[:2]]
        x = layers.ZeroPadding2D(padding)(inputs)
        x = layers.Conv2D(
            3,
            1,
            kernel_initializer=keras.initializers.Constant(PIXEL_SCALE),
            bias_initializer=keras.initializers.Constant(-PIXEL_MEAN),
            name="to_pixels",
        )(x)  # (batch, F, T, 3)
        *skips, x = encoder(backbone, self.pretrained, x.shape[1:])(x)  # (batch, F/32, T/32, 2048)
        for filters in DECODER_FILTERS:
            x = layers.UpSampling2D(2)(x)
            if skips:
                x = layers.Concatenate()([x, skips.pop()])
            x = convolution(convolution(x, int(filters * width)), int(filters * width))
        x = layers.Cropping2D(padding)(x)
        x = layers.Conv2D(1, 1)(x)
        in_0_to_1 = self.features.representation == "magnitude_db"
        activation = self.output_activation(clean="sigmoid" if in_0_to_1 else "relu")
        outputs = layers.Activation(activation, dtype="float32")(x)
        return keras.Model(inputs, outputs, name="resunet")


def encoder(backbone: str, pretrained: str | None, shape: tuple[int, ...]) -> keras.Model:
    """A ResNet without its classifier, and what it knows at each of its five resolutions.

    Raises:
        UserError: the weights cannot be downloaded, or the file does not hold them.
    """
    name, blocks = BACKBONES[backbone]
    try:
        network = getattr(keras.applications, name)(
            include_top=False, weights=pretrained, input_shape=shape
        )
    # Keras raises a bare Exception when it cannot download.
    except Exception as error:
        raise UserError(
            f"`pretrained` must be imagenet, which is downloaded once, or a file of the weights of "
            f"{backbone}. Received: {pretrained} ({str(error).splitlines()[0]})"
        ) from error
    ends = ["conv1_relu", "conv2_block3_out", "conv3_block4_out", f"conv4_block{blocks}_out"]
    outputs = [network.get_layer(end).output for end in [*ends, "conv5_block3_out"]]
    return keras.Model(network.input, outputs, name=backbone)


def convolution(x, filters: int):
    """A 3x3 convolution, its batch normalisation and its ReLU."""
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(layers.BatchNormalization()(x))
