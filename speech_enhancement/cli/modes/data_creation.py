"""--mode data_creation: mix voices and noises into windows on disk, for `--mode training`."""

from __future__ import annotations

import argparse
import sys

from speech_enhancement.cli import args
from speech_enhancement.corpora.preparation import Preparation
from speech_enhancement.datasets import creation
from speech_enhancement.datasets.creation import WindowSettings
from speech_enhancement.errors import UsageError
from speech_enhancement.mixing.recipe import MixingConfig

FOLDERS = (*creation.MIXED, *creation.PAIRED, *creation.VALIDATION)


def run(options: argparse.Namespace) -> int:
    """Create the data set, or continue it; 1 if recordings had to be left out."""
    audio = args.audio_config(options)
    created = creation.create_data(
        audio,
        Preparation(
            audio.sample_rate, test_split=options.test_split, **args.preparation_values(options)
        ),
        settings_of(options),
        {name: getattr(options, name) for name in FOLDERS if getattr(options, name)},
        recipe_of(options),
        options.augment,
        options.cluster,
    )
    print(f"{created.n_windows} windows in {created.folder}", file=sys.stderr)
    for remark in created.remarks:
        print(f"trimmed: {remark}", file=sys.stderr)
    for reason in created.left_out:
        print(f"left out: {reason}", file=sys.stderr)
    return 1 if created.left_out else 0


def recipe_of(options: argparse.Namespace) -> MixingConfig:
    """The whole recipe that the options describe, or levels alone.

    Raises:
        UsageError: a range is upside down.
    """
    if options.augment:
        return MixingConfig(**args.recipe_values(options))
    ranges = {
        "`snr_min` and `snr_max`": (options.snr_min, options.snr_max),
        "`level_min` and `level_max`": (options.level_min, options.level_max),
        "`noise_level`": tuple(options.noise_level or ()),
        "`voice_level`": tuple(options.voice_level or ()),
    }
    for names, limits in ranges.items():
        if limits and limits[0] > limits[1]:
            raise UsageError(
                f"{names} must rise from low to high. Received: {limits[0]} {limits[1]}"
            )
    snr_db, level_dbfs, noise_factor, voice_factor = ranges.values()
    return MixingConfig.plain(
        snr_db=snr_db,
        level_dbfs=level_dbfs,
        noise_factor=noise_factor or None,
        voice_factor=voice_factor or (1.0, 1.0),
    )


def settings_of(options: argparse.Namespace) -> WindowSettings:
    """What is stored, and where.

    Raises:
        UsageError: there are several folders to write to.
    """
    if len(options.path_save_spectrogram) > 1:
        raise UsageError(
            "`path_save_spectrogram` must be a single folder in --mode data_creation. Received: "
            f"{' '.join(map(str, options.path_save_spectrogram))}"
        )
    return WindowSettings(
        options.path_save_spectrogram[0],
        options.path_save_time_serie,
        options.path_save_sound,
        options.nb_samples,
        options.hop_length_frame,
        options.hop_length_frame_noise,
        options.save_phase,
        options.overwrite,
        options.save_clips,
        options.part,
    )
