"""Removes noise from speech, and trains the networks that do it.

>>> from speech_enhancement import Enhancer
>>> clean = Enhancer.load().enhance(samples, rate)  # the shape of `samples`
"""

from speech_enhancement.errors import UsageError, UserError

TYPE_CHECKING = False  # as `typing` has it, which takes a while to import
if TYPE_CHECKING:
    from speech_enhancement.inference.enhancer import Enhancer, StreamingEnhancer

__all__ = ["Enhancer", "StreamingEnhancer", "UsageError", "UserError"]


def __getattr__(name: str) -> object:
    """The classes that need numpy and a runtime, imported when they are asked for."""
    if name in ("Enhancer", "StreamingEnhancer"):
        from speech_enhancement.inference import enhancer

        return getattr(enhancer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
