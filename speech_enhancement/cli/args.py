"""Every option, declared once in the group of the modes that have it, and every mode's groups.

A new option goes into the group of the modes that have it, or into a new group that `MODES` names
for each of them. A mode finds it as an attribute of what `parse` returns; no other mode has it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

from speech_enhancement import places, registry
from speech_enhancement.cli.command_line import (
    PATH,
    SWITCH,
    TEXT,
    CommandLine,
    Condition,
    Group,
    Kind,
    Mode,
    Option,
    choice,
    given,
    names,
    not_given,
    number,
    where,
    whole,
)
from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora.public import CORPORA_DIR, PUBLIC_CORPORA
from speech_enhancement.mixing.recipe import MixingConfig

DEFAULT_MODE = "prediction"
PIPE = "-"
AUTO = "auto"

STORED = where("data", "stored")
DYNAMIC = where("data", "dynamic")
DRAWN = where("data", "dynamic", "device")
MIXED = not_given("clean_dir")
UNNAMED = not_given("audio_output_prediction")
WITHOUT_RESULTS = Condition("enhanced_dir", lambda folders: not folders, "without --enhanced_dir")
PLAIN = Condition("augment", lambda augment: not augment, "without --augment")
NOT_RESUMED = Condition("resume", lambda resume: not resume, "without --resume")
NOT_PIPED = Condition("inputs", lambda inputs: PIPE not in inputs, f"without the input {PIPE}")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        SystemExit: `--help` was asked for.
        UsageError: an option is not one of the mode, has a value that is not allowed, or has no
            effect.
    """
    options = command_line().parse(argv)
    if getattr(options, "name_model", "") is None:
        options.name_model = default_network(options)
    return options


def default_network(options: argparse.Namespace) -> str | None:
    """The network of a command that names none."""
    if options.mode == "training":
        return None  # a new name, which depends on what there is
    raw_pipe = options.mode == "prediction" and PIPE in options.inputs and options.raw_format
    is_live = options.mode == "streaming" or raw_pipe
    return registry.LIVE_NETWORK if is_live else registry.DEFAULT_NETWORK


def command_line() -> CommandLine:
    """The command line of all modes."""
    return CommandLine(
        "Remove noise from speech, and train the networks that do it.", MODES, DEFAULT_MODE
    )


def audio_config(options: argparse.Namespace, default: AudioConfig | None = None) -> AudioConfig:
    """The audio geometry that the options describe, the default's where they say nothing.

    Raises:
        UsageError: the values do not go together.
    """
    values = {name: getattr(options, name) for name in AUDIO_OPTIONS}
    return dataclasses.replace(
        default or AudioConfig(), **{k: v for k, v in values.items() if v is not None}
    )


def preparation_values(options: argparse.Namespace) -> dict[str, Any]:
    """How recordings are decoded and split, by the names of the fields of `Preparation`."""
    names = (
        *("cache_dir", "seed", "validation_split", "split_noises_by", "noise_classes"),
        *("min_duration", "workers"),
    )
    return {name: getattr(options, name) for name in names}


def recipe_values(options: argparse.Namespace) -> dict[str, Any]:
    """The values of the `--mix_...` options by the names of the fields of `MixingConfig`."""
    values = {field.name: getattr(options, f"mix_{field.name}") for field in MixingConfig.options()}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }


def _read_seconds(text: str) -> float:
    """A place in a recording, in seconds, written as seconds, min:s or h:min:s."""
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3 or not all(0.0 <= value < math.inf for value in values):
        raise ValueError("seconds, min:s or h:min:s")
    return sum(value * 60.0**power for power, value in enumerate(reversed(values)))


SECONDS = Kind(_read_seconds, "TIME", "seconds, min:s or h:min:s")


def _read_name_part(text: str) -> str:
    """A text without what separates folders."""
    if "/" in text or "\0" in text:
        raise ValueError("part of a name")
    return text


NAME_PART = Kind(_read_name_part, "TEXT")


# Networks


def _network(default: str) -> Group:
    """The options of a mode that uses one network.

    Args:
        default: the network where none is named, in words.
    """
    return Group(
        "network",
        (
            Option("weights_folder", PATH, places.WEIGHTS, "folder of networks and their cards"),
            Option(
                "name_model",
                TEXT,
                None,
                "name of the network, which is that of its files without their suffix; by default "
                f"{default}",
                metavar="NAME",
                only=(not_given("models"), WITHOUT_RESULTS),
            ),
        ),
    )


NETWORK = _network(registry.DEFAULT_NETWORK)
NETWORKS = Group(
    "network",
    (
        Option(
            "models",
            names(),
            None,
            "names of several networks in --weights_folder, or all",
            count="+",
        ),
    ),
)


def _runtime(threads: str = "all of them") -> Group:
    """The options of what runs a network.

    Args:
        threads: how many processor threads there are by default, in words.
    """
    return Group(
        "network",
        (
            Option(
                "runtime",
                choice(registry.RUNTIMES),
                "auto",
                "library that runs the network; auto selects the fastest one that is installed",
            ),
            Option(
                "threads",
                whole(1),
                None,
                f"total number of processor threads; by default {threads}",
                only=(not_given("cluster"),),
            ),
        ),
    )


STRENGTH = Group(
    "denoising",
    (
        Option(
            "strength",
            number(0, 1),
            1.0,
            "factor by which the network's attenuation in dB is multiplied; with 0, the sound "
            "stays as it is",
        ),
        Option(
            "max_attenuation_db",
            number(0),
            None,
            "upper limit of the attenuation, dB; by default there is none",
        ),
    ),
)

WINDOW_OVERLAP = Group(
    "denoising",
    (
        Option(
            "window_overlap",
            number(0, 0.5),
            None,
            "share of a window that overlaps the next one and is faded into it; with 0, windows "
            "are put end to end, with clicks between them; only for networks that process windows; "
            "by default 0.25",
        ),
    ),
)

# Data

AUDIO_OPTIONS = {
    "sample_rate": "sample rate, Hz",
    "n_fft": "length of the STFT window, samples",
    "hop_length_fft": "hop between STFT frames, samples",
    "frame_length": "length of a training window, samples",
}


def _audio(default: str) -> Group:
    """The options of the audio geometry.

    Args:
        default: what applies to an option that is not given, with `{}` for the general default.
    """
    return Group(
        "audio",
        tuple(
            Option(
                name,
                whole(1),
                None,
                f"{what}; by default {default.format(getattr(AudioConfig, name))}",
            )
            for name, what in AUDIO_OPTIONS.items()
        ),
    )


SOURCES = Group(
    "voices and noises",
    (
        Option("voice_dir", PATH, None, "folders or packs of clean voices", count="+"),
        Option("noise_dir", PATH, None, "folders or packs of noises", count="+"),
        Option(
            "voice_dir_validation",
            PATH,
            None,
            "folders of voices for validation; by default a part of --voice_dir",
            count="+",
            only=(MIXED,),
        ),
        Option(
            "noise_dir_validation",
            PATH,
            None,
            "folders of noises for validation; by default a part of --noise_dir",
            count="+",
            only=(MIXED,),
        ),
        Option(
            "noise_classes",
            names(),
            None,
            "classes of noise to use; by default all of them",
            count="+",
            only=(MIXED,),
        ),
        Option(
            "split_noises_by",
            choice(("file", "class")),
            "file",
            "what is kept within one split: each recording (file), or each class of noise (class)",
            only=(MIXED,),
        ),
        Option(
            "min_duration", number(0), 0.0, "leave out recordings that are shorter than this, s"
        ),
        Option(
            "validation_split",
            number(above=0, below=1),
            0.1,
            "share of the recordings and of the stored windows that is used for validation",
        ),
        Option(
            "cache_dir",
            PATH,
            places.WORK / "data/cache",
            "folder in which decoded recordings are kept",
        ),
        Option(
            "workers",
            whole(1),
            os.cpu_count() or 1,
            "number of processes that decode and mix recordings",
        ),
    ),
    only=(DRAWN,),
)


def _pairs(folder: str, names: str = "with the same names as the clean ones") -> Group:
    """The options of pairs of recordings: `folder` or `folders` of them, with certain names."""
    return Group(
        "recorded pairs",
        (
            Option("clean_dir", PATH, None, f"{folder} of clean recordings", count="+"),
            Option(
                "noisy_dir",
                PATH,
                None,
                f"{folder} of noisy recordings {names}",
                count="+",
            ),
        ),
    )


SEED = Group("reproducibility", (Option("seed", whole(0), 0, "seed of all random numbers"),))


def _windows(folder: str) -> Group:
    """The option of stored windows, which are in `folder` or `folders`."""
    return Group(
        "stored windows",
        (
            Option(
                "path_save_spectrogram",
                PATH,
                [places.WORK / "data/spectrogram"],
                f"{folder} of the windows' spectrograms (.npy) and of their manifest",
                count="+",
            ),
        ),
        only=(STORED,),
    )


WINDOW_CREATION = Group(
    "stored windows",
    (
        Option(
            "path_save_time_serie",
            PATH,
            places.WORK / "data/time_serie",
            "folder of the windows' waveforms (.npy)",
        ),
        Option(
            "path_save_sound",
            PATH,
            places.WORK / "data/sound",
            "folder of WAV files in which the first minutes of the windows can be listened to",
        ),
        Option("nb_samples", whole(2), 40000, "number of windows to create"),
        Option(
            "hop_length_frame",
            whole(1),
            1,
            "windows of voices begin at multiples of this number of samples",
        ),
        Option(
            "hop_length_frame_noise",
            whole(1),
            1,
            "windows of noises begin at multiples of this number of samples",
            only=(MIXED, PLAIN),
        ),
        Option(
            "test_split",
            number(0, below=1),
            0.0,
            "share of the recordings and of the windows that is reserved for tests; their mixtures "
            "are written to the folders test/clean and test/noisy of --path_save_sound, which "
            "--mode evaluation reads",
        ),
        Option(
            "augment",
            SWITCH,
            False,
            "draw windows according to the options of mixing, as --data dynamic does in training; "
            "recorded pairs are only degraded and changed in speed, tone colour and level",
        ),
        Option(
            "save_clips",
            SWITCH,
            False,
            "also write mixtures of 5 s as WAV files, to the folders SPLIT/clean and SPLIT/noisy "
            "of --path_save_sound",
        ),
        Option("save_phase", SWITCH, False, "also store the phases"),
        Option(
            "part",
            whole(0),
            0,
            "number of the part of a data set that is made in parts: parts of the same seed have "
            "different windows of the same recordings in each split",
        ),
    ),
)
WITHOUT_FACTORS = (MIXED, not_given("noise_level"))
LEVELS = Group(
    "levels",
    (
        Option(
            "snr_min",
            number(),
            -5.0,
            "minimum signal-to-noise ratio, dB",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "snr_max",
            number(),
            15.0,
            "maximum signal-to-noise ratio, dB",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "level_min",
            number(),
            -35.0,
            "minimum level of the voice, dBFS",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "level_max",
            number(),
            -15.0,
            "maximum level of the voice, dBFS",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "noise_level",
            number(0),
            None,
            "range of the factor by which noises are multiplied, instead of mixing at a "
            "signal-to-noise ratio",
            count=2,
            metavar=("LOW", "HIGH"),
            only=(MIXED,),
        ),
        Option(
            "voice_level",
            number(0),
            None,
            "range of the factor by which voices are multiplied; by default 1",
            count=2,
            metavar=("LOW", "HIGH"),
            only=(MIXED, given("noise_level")),
        ),
    ),
    only=(PLAIN,),
)

# Training and tuning

LEARNING = Group(
    "learning",
    (
        Option(
            "model",
            choice(registry.MODELS),
            None,
            "kind of network; by default unet, or that of the training that is resumed or of the "
            "network that is trained further",
        ),
        Option(
            "data",
            choice(("stored", "dynamic", "device")),
            "stored",
            "train with the stored windows of data_creation, with mixtures that are drawn during "
            "the training (dynamic), or with mixtures that the accelerator draws itself (device, "
            "with Keras's JAX backend)",
        ),
        Option(
            "epochs",
            whole(1),
            10,
            "number of passes over the training windows",
            only=(not_given("max_seconds"),),
        ),
        Option("batch_size", whole(1), 20, "number of windows in a training step"),
        Option(
            "learning_rate",
            number(above=0),
            None,
            "learning rate of the optimizer; by default that of the model",
        ),
        Option(
            "mixed_precision",
            SWITCH,
            False,
            "compute in 16 bits where this is numerically safe: in bfloat16, or in float16 on GPUs "
            "without it",
        ),
        Option("max_windows", whole(1), None, "maximum number of training windows", only=(STORED,)),
        Option(
            "max_validation_windows",
            whole(1),
            None,
            "maximum number of validation windows",
            only=(STORED,),
        ),
        Option(
            "loud_weight",
            number(0, 1),
            0.0,
            "fraction of a bin's weight in the loss that is proportional to the loudness of the "
            "voice in it",
            only=(STORED,),
        ),
    ),
)


def _resume(what: str) -> Group:
    """The switch that continues what was interrupted: `what`, in words."""
    return Group("learning", (Option("resume", SWITCH, False, f"continue {what}"),))


FITTING = Group(
    "learning",
    (
        Option(
            "schedule",
            choice(("constant", "cosine")),
            "constant",
            "learning rate schedule over all epochs, or over --max_seconds",
        ),
        Option(
            "max_seconds",
            number(above=0),
            None,
            "time limit of the training, s, after which the network is saved; a training that is "
            "resumed has the remaining time",
        ),
        Option(
            "training_from_scratch",
            SWITCH,
            True,
            "start with random weights, instead of those of --name_model and, if it was saved, "
            "its optimizer's state",
        ),
        Option(
            "save_optimizer",
            SWITCH,
            False,
            "save the optimizer's state in the network's file, so that a later training can "
            "continue from it; this makes the file three times as large",
        ),
        Option("run_dir", PATH, places.WORK / "runs", "folder of logs and checkpoints"),
        Option(
            "evaluate_every",
            whole(0),
            0,
            "number of epochs after which validation mixtures are scored; never if 0",
            only=(not_given("coordinator"),),
        ),
        Option(
            "evaluate_mixtures",
            whole(1),
            32,
            "number of validation mixtures to score",
            only=(given("evaluate_every"),),
        ),
        Option(
            "examples_every",
            whole(0),
            5,
            "number of epochs after which validation mixtures, the network's output and the clean "
            "voices are written to TensorBoard, as sound and as spectrograms, if Keras runs on "
            "TensorFlow; never if 0",
            only=(where("data", "stored", "dynamic"),),
        ),
        Option(
            "track",
            names(registry.TRACKERS),
            [],
            "programs to which the losses are reported; they must be installed",
            count="+",
        ),
        Option(
            "backup_every",
            whole(1),
            None,
            "number of steps after which there is a backup, beside the one after each epoch; from "
            "such a backup, --resume repeats the epoch",
        ),
    ),
)
MACHINES = Group(
    "several machines",
    (
        Option(
            "coordinator",
            TEXT,
            None,
            "train together with other machines, each of which runs the same command: address and "
            "port of the first one, or auto where a scheduler such as SLURM starts the commands",
            metavar="ADDRESS:PORT|auto",
            only=(where("data", "device"),),
        ),
        Option("machines", whole(2), None, "number of machines", only=(given("coordinator"),)),
        Option(
            "machine_index",
            whole(0),
            None,
            "number of this machine; 0 for the first one",
            only=(given("coordinator"),),
        ),
    ),
)
DESIGN = Group(
    "design of the network; by default that of the model",
    (
        Option("representation", TEXT, None, "input of the network: magnitude_db or magnitude"),
        Option(
            "target",
            TEXT,
            None,
            "what the network estimates: noise_db, clean, mask or noise_mask",
        ),
        Option("exponent", number(), None, "power to which --representation magnitude is raised"),
        Option("n_mels", whole(1), None, "number of mel bands, which replace the linear bins"),
        Option(
            "loss",
            choice(registry.LOSSES),
            None,
            "loss function, which must be suitable for the target",
        ),
        Option(
            "hyperparameters",
            PATH,
            None,
            "JSON file of hyper-parameters, as tuning writes it",
        ),
        Option(
            "hyperparameter",
            TEXT,
            [],
            "single hyper-parameters, which take precedence over --hyperparameters",
            count="+",
            metavar="NAME=VALUE",
        ),
        Option(
            "backbone",
            TEXT,
            None,
            "encoder of the model resunet: resnet50, resnet101 or mobilenetv2",
        ),
        Option(
            "pretrained",
            TEXT,
            None,
            "weights of this encoder: imagenet, which are downloaded, or a file of Keras weights",
            metavar="imagenet|FILE",
        ),
    ),
)
TUNING = Group(
    "search",
    (
        Option(
            "tuner",
            choice(("hyperband", "bayesian", "random")),
            "hyperband",
            "search algorithm",
        ),
        Option("max_trials", whole(1), 20, "number of trials"),
        Option("dir_tuning", PATH, places.WORK / "tuning", "folder of searches"),
    ),
)


def _mixing_option(field: dataclasses.Field[Any]) -> Option:
    """The option of one field of the mixing recipe."""
    default: Any = field.default
    if field.name == "group_weights":
        return Option(
            f"mix_{field.name}",
            TEXT,
            [],
            field.metadata["help"],
            count="+",
            metavar="PATTERN=WEIGHT",
            only=_mixing_conditions(field),
        )
    is_range = isinstance(default, tuple)
    value = default[0] if is_range else default
    if field.name.endswith("_probability"):
        kind = number(0, 1)
    else:
        kind = {int: whole(), float: number()}.get(type(value), PATH)
    return Option(
        f"mix_{field.name}",
        kind,
        default,
        field.metadata["help"],
        count=2 if is_range else None,
        metavar=("LOW", "HIGH") if is_range else None,
        only=_mixing_conditions(field),
    )


def _mixing_conditions(field: dataclasses.Field[Any]) -> tuple[Condition, ...]:
    """The conditions in which the option of a field of the mixing recipe has an effect."""
    conditions = []
    if field.metadata["needs"]:
        conditions.append(given(f"mix_{field.metadata['needs']}"))
    if not field.metadata["of_pairs"]:
        conditions.append(MIXED)
    if field.name == "codec_compression":
        conditions.append(DYNAMIC)  # an accelerator has no codecs
    if field.name in ("n_rooms", "reverb_rt60_s"):
        conditions.append(not_given("mix_reverb_dir"))
    return tuple(conditions)


MIXTURES = Group(
    "mixtures during training",
    (
        Option("steps_per_epoch", whole(1), 500, "number of batches in an epoch"),
        Option("validation_mixtures", whole(1), 512, "number of mixtures for validation"),
        Option(
            "mixing_workers",
            whole(0),
            1,
            "number of processes that mix; if 0, the training process mixes",
            only=(DYNAMIC,),
        ),
        Option(
            "prefetch",
            whole(1),
            8,
            "number of batches that are mixed in advance",
            only=(DYNAMIC, given("mixing_workers")),
        ),
    ),
    only=(DRAWN,),
)
MIXING = Group(
    "mixing",
    tuple(_mixing_option(field) for field in MixingConfig.options()),
    only=(DRAWN, given("augment")),
)

# Prediction and streaming

RAW = Group(
    "recordings",
    (
        Option(
            "raw_format",
            TEXT,
            None,
            "read and write samples without a header, for example s16,48000,2",
            metavar="TYPE,RATE[,CHANNELS]",
        ),
    ),
)


def _overwrite(what: str) -> Group:
    """The switch that allows a mode to replace what it finds: `what`, in words."""
    return Group(
        "results",
        (Option("overwrite", SWITCH, False, f"replace {what}", only=(NOT_PIPED, NOT_RESUMED)),),
    )


JOBS = Group(
    "processes",
    (
        Option(
            "jobs",
            whole(1),
            1,
            "number of processes, each of which handles one recording at a time",
            only=(not_given("cluster"), NOT_PIPED),
        ),
    ),
)


def _read_address(text: str) -> str:
    """The address of a cluster, or `auto`."""
    host, _, port = text.rpartition(":")
    if text != AUTO and not (host and "/" not in text and port.isdecimal()):
        raise ValueError(f"{AUTO} or HOST:PORT")
    return text


def _cluster(work: str) -> Group:
    """The option of a cluster.

    Args:
        work: what its nodes do.
    """
    return Group(
        "processes",
        (
            Option(
                "cluster",
                Kind(_read_address, f"{AUTO}|HOST:PORT"),
                None,
                f"Ray cluster whose nodes {work}: auto for the one that this machine belongs to, "
                "or the address of its head; all nodes must see the same files under the same "
                "paths",
                only=(NOT_PIPED,),
            ),
        ),
    )


RECORDINGS = Group(
    "recordings",
    (
        Option("audio_dir_prediction", PATH, None, "folder of recordings"),
        Option(
            "audio_input_prediction",
            TEXT,
            [],
            "recordings to denoise; relative to --audio_dir_prediction if that is given",
            count="+",
            metavar="NAME",
        ),
        Option(
            "recursive",
            SWITCH,
            False,
            "also denoise the recordings in sub-folders",
            only=(NOT_PIPED,),
        ),
        Option("start", SECONDS, 0.0, "beginning of the part to denoise"),
        Option("end", SECONDS, None, "end of the part to denoise"),
        Option("mono", SWITCH, False, "average the channels"),
        Option(
            "sound_track", whole(1), None, "number of the sound track in a video, counted from 1"
        ),
    ),
)
RESULTS = Group(
    "results",
    (
        Option(
            "dir_save_prediction",
            PATH,
            None,
            "folder of the results, with the same sub-folders as the inputs; by default each "
            "result is written beside its input",
            only=(NOT_PIPED,),
        ),
        Option(
            "audio_output_prediction",
            PATH,
            None,
            "name of the result of a single recording, whose suffix is the format",
            metavar="NAME",
            only=(NOT_PIPED,),
        ),
        Option(
            "suffix",
            NAME_PART,
            None,
            "text to append to the names of the results; by default _denoised for results beside "
            "their inputs",
            only=(NOT_PIPED, UNNAMED),
        ),
        Option(
            "format",
            choice(registry.FORMATS),
            None,
            "format of the results; by default that of the inputs",
            only=(UNNAMED,),
        ),
        Option(
            "keep_level",
            SWITCH,
            True,
            "keep the level of the input, instead of that of the network's output",
            only=(not_given("normalise_lufs"),),
        ),
        Option("normalise_lufs", number(-70, 0), None, "loudness of the results, LUFS"),
        Option(
            "save_noise", SWITCH, False, "also write the noise that was removed", only=(NOT_PIPED,)
        ),
        Option(
            "plot",
            SWITCH,
            False,
            "also draw the spectrograms of the input and of the result",
            only=(NOT_PIPED,),
        ),
    ),
)
STREAMING = Group(
    "live sound",
    (
        Option("list_devices", SWITCH, False, "print the sound devices and exit"),
        Option(
            "input_device",
            TEXT,
            None,
            "sound device for recording; by default that of the system",
            metavar="NAME|N",
            only=(NOT_PIPED,),
        ),
        Option(
            "output_device",
            TEXT,
            None,
            "sound device for playback; by default that of the system",
            metavar="NAME|N",
            only=(NOT_PIPED,),
        ),
        Option(
            "sample_rate_device",
            whole(1000, 768_000),
            None,
            "sample rate of both devices, Hz; by default that of the network if it is causal, and "
            "otherwise that of the input device",
            only=(NOT_PIPED,),
        ),
        Option(
            "channels", whole(1, 64), 1, "number of channels of both devices", only=(NOT_PIPED,)
        ),
        Option("duration", SECONDS, None, "time after which the program stops", only=(NOT_PIPED,)),
        Option("block_ms", number(above=0, most=10_000), 16.0, "duration of a block of sound, ms"),
        Option(
            "level_dbfs",
            number(-100, 0),
            None,
            "level of the voice, dBFS, for networks that were trained at a single level; by "
            "default that level",
        ),
    ),
)

# The other modes

HAS_CLEAN = given("clean_dir")
EVALUATION = Group(
    "evaluation",
    (
        Option(
            "enhanced_dir",
            PATH,
            [],
            "folders with the results of other programs, named like the noisy recordings; "
            "networks are scored in addition only if --models is given",
            count="+",
        ),
        Option("systems", names(registry.BASELINES), [], "baselines to score", count="+"),
        Option(
            "peers", names(registry.PEERS), [], "denoisers of other packages to score", count="+"
        ),
        Option(
            "metrics",
            names(registry.METRICS),
            None,
            "metrics to compute; by default all of them, and without --clean_dir those that need "
            f"no clean recordings, which are {' and '.join(registry.REFERENCE_FREE)}",
            count="+",
        ),
        Option(
            "sample_rate_evaluation",
            choice(("8000", "16000"), int),
            None,
            "sample rate at which the pairs are denoised and compared, Hz; by default 16000, or "
            "8000 if a recording has a lower rate; metrics that need no clean recordings are "
            "computed at the rate of each recording",
            metavar="RATE",
            only=(HAS_CLEAN,),
        ),
        Option(
            "every",
            whole(1),
            1,
            "score every N-th recording only; noises or signal-to-noise ratios may recur with the "
            "same period",
        ),
        Option("limit", whole(1), None, "maximum number of recordings to score"),
        Option(
            "pairs_csv",
            PATH,
            None,
            "CSV table of the recordings, with the columns file, class and snr (dB)",
        ),
        Option(
            "name_pattern",
            TEXT,
            None,
            "regular expression with the groups (?P<class>...) or (?P<snr>...), which is matched "
            "with the names of the recordings",
        ),
        Option("pairs_name", TEXT, None, "name of the recordings in the report"),
        Option(
            "report_dir",
            PATH,
            places.WORK / "out/evaluation",
            "folder of the report, in which an interrupted evaluation with the same code continues",
        ),
        Option(
            "worst",
            whole(0),
            5,
            "number of recordings with the worst scores of each system to draw and to copy for "
            "listening",
            only=(HAS_CLEAN,),
        ),
        Option(
            "test_windows",
            PATH,
            None,
            "folder of the spectrograms that data_creation wrote with --test_split; the loss of "
            "the networks on the windows of the test split is also computed",
            only=(HAS_CLEAN,),
        ),
        Option(
            "listen",
            whole(0),
            None,
            "number of recordings on the page to listen to; by default 10, and without --clean_dir "
            "all of them",
        ),
        Option("measure_cost", SWITCH, True, "also measure speed and memory", only=(HAS_CLEAN,)),
    ),
)
EXPORT = Group(
    "export",
    (
        Option(
            "formats",
            names(registry.EXPORT_FORMATS),
            list(registry.EXPORT_FORMATS),
            "formats to write",
            count="+",
        ),
        Option(
            "export_dir",
            PATH,
            places.WORK / "out/export",
            "folder for the exported networks and the report",
        ),
    ),
)
PUBLISH = Group(
    "publication",
    (
        Option(
            "publish_dir",
            PATH,
            None,
            "folder for the files; by default out/publish/NAME",
        ),
        Option(
            "repo",
            TEXT,
            None,
            "repository of the Hugging Face Hub to upload the folder to, which is made if need be; "
            "the token is that of `hf auth login` or of the variable HF_TOKEN",
            metavar="USER/NAME",
        ),
        Option("private", SWITCH, False, "make the repository private", only=(given("repo"),)),
        Option(
            "license",
            TEXT,
            "mit",
            "licence of the network, by its name on the Hugging Face Hub",
            metavar="NAME",
        ),
        Option(
            "license_file",
            PATH,
            None,
            "text of this licence; by default that of this software, if it is mit",
        ),
        Option(
            "report",
            PATH,
            None,
            "report.json of --mode evaluation, whose scores the model card shows",
        ),
    ),
)
DOWNLOAD = Group(
    "download",
    (
        Option("corpus", names(PUBLIC_CORPORA), [], "corpora to download", count="+"),
        Option("corpora_dir", PATH, CORPORA_DIR, "folder for the downloaded corpora"),
        Option("keep_archives", SWITCH, False, "keep the archives after they are unpacked"),
    ),
)
APP = Group(
    "server",
    (
        Option(
            "host",
            TEXT,
            "127.0.0.1",
            "address to listen on; with 0.0.0.0, everyone who can reach this machine over the "
            "network can use the page",
            metavar="ADDRESS",
        ),
        Option("port", whole(0, 2**16 - 1), 7860, "port to listen on; if 0, any free port"),
        Option(
            "allowed_hosts",
            names(),
            [],
            "additional host names under which browsers may address this server",
            count="+",
        ),
        Option("max_upload_mb", number(above=0), 100.0, "maximum size of a recording, MB"),
        Option(
            "max_disk_mb",
            number(above=0),
            2000.0,
            "maximum size of all recordings and results, which are kept for an hour, MB; each "
            "visitor can use a quarter of it",
        ),
        Option("max_minutes", number(above=0), 30.0, "maximum duration of a recording, minutes"),
    ),
)

TRAINING_DATA = (
    _windows("folder, or several folders,"),
    SOURCES,
    _audio("that of the stored windows, or with mixtures that of the model"),
    SEED,
)
MODES = {
    "prediction": Mode(
        "denoise recordings",
        (
            _network(
                f"{registry.DEFAULT_NETWORK}, and {registry.LIVE_NETWORK} for raw samples on a pipe"
            ),
            _runtime(),
            STRENGTH,
            WINDOW_OVERLAP,
            RECORDINGS,
            RAW,
            RESULTS,
            _overwrite("existing results"),
            JOBS,
            _cluster("denoise the recordings"),
        ),
        f"recordings, folders, patterns, or {PIPE} for standard input"
        + ("; by default the recordings of demo_data/" if places.DEMO_DATA.is_dir() else ""),
    ),
    "app": Mode("serve a web page that denoises recordings", (NETWORK, _runtime(), APP)),
    "streaming": Mode(
        "denoise a microphone, or samples from a pipe, as they arrive",
        (_network(registry.LIVE_NETWORK), _runtime("one"), STRENGTH, STREAMING, RAW),
        f"{PIPE} for samples from standard input; by default sound devices are used",
    ),
    "download": Mode("download public voices and noises", (DOWNLOAD,)),
    "data_creation": Mode(
        "mix voices and noises into windows for training",
        (
            _windows("folder"),
            SOURCES,
            _audio("{}"),
            SEED,
            _pairs("folders"),
            WINDOW_CREATION,
            LEVELS,
            MIXING,
            _overwrite("another data set in these folders"),
            _cluster("mix the windows"),
        ),
    ),
    "training": Mode(
        "train a network",
        (
            _network("that of the model with the next number that is free"),
            LEARNING,
            _resume("the interrupted training of --name_model"),
            FITTING,
            DESIGN,
            *TRAINING_DATA,
            MIXTURES,
            MIXING,
            MACHINES,
            _overwrite("the network of --name_model and the files of its training"),
        ),
    ),
    "tuning": Mode(
        "search the hyper-parameters of a network",
        (
            TUNING,
            LEARNING,
            _resume("the interrupted search for --model"),
            DESIGN,
            *TRAINING_DATA,
            MIXTURES,
            MIXING,
        ),
    ),
    "evaluation": Mode(
        "score networks, baselines and the results of other programs",
        (
            NETWORK,
            NETWORKS,
            _pairs(
                "folder",
                "with the same names as the clean ones or, without --clean_dir, of any recordings",
            ),
            EVALUATION,
            JOBS,
        ),
    ),
    "export": Mode(
        "write networks in the formats of ONNX, LiteRT and TensorFlow",
        (NETWORK, NETWORKS, EXPORT),
    ),
    "publish": Mode(
        "write a network as a folder for the Hugging Face Hub, and upload it",
        (NETWORK, PUBLISH),
    ),
}
