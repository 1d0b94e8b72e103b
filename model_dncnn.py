"""DnCNN: `from model_dncnn import DnCNN`."""

from speech_enhancement.models.dncnn import DnCNN

__all__ = ["DnCNN"]
