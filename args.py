"""Every option, and which modes have it."""

from speech_enhancement.cli.args import (
    DEFAULT_MODE,
    MODES,
    PIPE,
    audio_config,
    command_line,
    default_network,
    parse,
    preparation_values,
    recipe_values,
)

__all__ = [
    "DEFAULT_MODE",
    "MODES",
    "PIPE",
    "audio_config",
    "command_line",
    "default_network",
    "parse",
    "preparation_values",
    "recipe_values",
]
