"""The U-Net: `from model_unet import UNet`."""

from speech_enhancement.models.unet import UNet

__all__ = ["UNet"]
