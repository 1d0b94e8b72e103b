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
    listed,
    not_given,
    number,
    where,
    whole,
)
from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora.public import PUBLIC_CORPORA
from speech_enhancement.mixing.recipe import MixingConfig

DEFAULT_MODE = "prediction"
PIPE = "-"

STORED = where("data", "stored")
DYNAMIC = where("data", "dynamic")
MIXED = not_given("clean_dir")
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
    """How recordings are decoded and parted, by the names of the fields of `Preparation`."""
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

NETWORK = Group(
    "network",
    (
        Option("weights_folder", PATH, places.WEIGHTS, "folder of networks and their cards"),
        Option(
            "name_model",
            TEXT,
            None,
            "name of the network's files in it, without a suffix; by default --model and the next "
            f"number that is free in training, {registry.LIVE_NETWORK} for live sound, pipes "
            f"of raw samples and {registry.DEFAULT_NETWORK} otherwise",
            metavar="NAME",
            only=(not_given("models"),),
        ),
    ),
)
NETWORKS = Group(
    "network",
    (
        Option(
            "models",
            listed(),
            None,
            "names of several networks in --weights_folder, or all for all of them",
        ),
    ),
)
RUNTIME = Group(
    "network",
    (
        Option(
            "runtime",
            choice(registry.RUNTIMES),
            "auto",
            "what runs the network; auto is the fastest that is installed",
        ),
        Option("threads", whole(1), None, "processor threads in all; by default all of them"),
    ),
)
STRENGTH = Group(
    "denoising",
    (
        Option(
            "strength",
            number(0, 1),
            1.0,
            "share of the network's attenuation in dB that is applied; 0 changes nothing",
        ),
        Option(
            "max_attenuation_db",
            number(0),
            None,
            "strongest attenuation that is applied, dB; unlimited by default",
        ),
    ),
)

# Data

AUDIO_OPTIONS = {
    "sample_rate": "samples per second, Hz",
    "n_fft": "length of the STFT window, samples",
    "hop_length_fft": "hop of the STFT, samples",
    "frame_length": "length of a training window, samples",
}
AUDIO = Group(
    "audio",
    tuple(
        Option(
            name,
            whole(1),
            None,
            f"{what}; by default {getattr(AudioConfig, name)}, with --data stored that of the "
            "windows, and with --data dynamic the model's own",
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
            "folders of voices to validate with; by default a part of --voice_dir",
            count="+",
            only=(MIXED,),
        ),
        Option(
            "noise_dir_validation",
            PATH,
            None,
            "folders of noises to validate with; by default a part of --noise_dir",
            count="+",
            only=(MIXED,),
        ),
        Option(
            "noise_classes",
            listed(),
            None,
            "classes of noise to use, separated by commas; by default all of them",
            only=(MIXED,),
        ),
        Option(
            "split_noises_by",
            choice(("file", "class")),
            "file",
            "what of the noises must not be in two splits",
            only=(MIXED,),
        ),
        Option("min_duration", number(0), 0.0, "leave out recordings shorter than this, s"),
        Option(
            "validation_split",
            number(above=0, below=1),
            0.1,
            "share of the recordings, and of stored windows, that is for validation",
        ),
        Option("cache_dir", PATH, places.WORK / "data/cache", "folder of decoded recordings"),
        Option(
            "workers", whole(1), os.cpu_count() or 1, "processes that decode recordings and mix"
        ),
    ),
    only=(DYNAMIC,),
)
PAIRS = Group(
    "recorded pairs",
    (
        Option(
            "clean_dir",
            PATH,
            None,
            "folder of clean recordings; several of them in --mode data_creation",
            count="+",
        ),
        Option(
            "noisy_dir",
            PATH,
            None,
            "as many folders of noisy recordings of the same names",
            count="+",
        ),
    ),
)
SEED = Group("reproducibility", (Option("seed", whole(0), 0, "seed of everything that is random"),))
WINDOWS = Group(
    "stored windows",
    (
        Option(
            "path_save_spectrogram",
            PATH,
            [places.WORK / "data/spectrogram"],
            "folder of the spectrograms of the windows, .npy, and of their manifest; several of "
            "them, to learn from together, in training and tuning",
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
            "folder of the waveforms of the windows, .npy",
        ),
        Option(
            "path_save_sound",
            PATH,
            places.WORK / "data/sound",
            "folder of recordings of the first minutes of the windows, to listen to",
        ),
        Option("nb_samples", whole(2), 40000, "windows to create"),
        Option(
            "hop_length_frame", whole(1), 1, "windows of voices begin at multiples of this, samples"
        ),
        Option(
            "hop_length_frame_noise",
            whole(1),
            1,
            "windows of noises begin at multiples of this, samples",
            only=(MIXED,),
        ),
        Option(
            "test_split",
            number(0, below=1),
            0.0,
            "share of the recordings and of the windows that is for tests alone; their mixtures "
            "are in the folders test/clean and test/noisy of --path_save_sound, for --mode "
            "evaluation",
        ),
        Option(
            "augment",
            SWITCH,
            False,
            "draw windows as --data dynamic does in training, by the options of mixing; recorded "
            "pairs are changed in speed, tone colour and level, and degraded",
        ),
        Option(
            "save_clips",
            SWITCH,
            False,
            "write mixtures of 5 s as WAV files, too, in the folders SPLIT/clean and SPLIT/noisy "
            "of --path_save_sound",
        ),
        Option("save_phase", SWITCH, False, "store the phases, too"),
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
            "lowest signal-to-noise ratio, dB",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "snr_max",
            number(),
            15.0,
            "highest signal-to-noise ratio, dB",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "level_min",
            number(),
            -35.0,
            "lowest level of the voice, dBFS",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "level_max",
            number(),
            -15.0,
            "highest level of the voice, dBFS",
            only=WITHOUT_FACTORS,
        ),
        Option(
            "noise_level",
            number(0),
            None,
            "multiply noises by a factor between these, instead of mixing at a signal-to-noise "
            "ratio",
            count=2,
            metavar=("LOW", "HIGH"),
            only=(MIXED,),
        ),
        Option(
            "voice_level",
            number(0),
            None,
            "multiply voices by a factor between these; 1 by default",
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
        Option("model", choice(registry.MODELS), "unet", "kind of network"),
        Option(
            "data",
            choice(("stored", "dynamic")),
            "stored",
            "learn from the windows of data_creation, or from mixtures drawn during training",
        ),
        Option(
            "epochs",
            whole(1),
            10,
            "passes over the training windows",
            only=(not_given("max_seconds"),),
        ),
        Option("batch_size", whole(1), 20, "windows in a training step"),
        Option(
            "learning_rate",
            number(above=0),
            None,
            "step size of the optimizer; by default the model's own",
        ),
        Option("mixed_precision", SWITCH, False, "compute in float16 where that is safe"),
        Option(
            "resume",
            SWITCH,
            False,
            "continue the interrupted training of --name_model, or the search for --model",
        ),
        Option("max_windows", whole(1), None, "train on this many windows only", only=(STORED,)),
        Option(
            "max_validation_windows",
            whole(1),
            None,
            "validate on this many windows only",
            only=(STORED,),
        ),
        Option(
            "loud_weight",
            number(0, 1),
            0.0,
            "share of a bin's weight in the loss that follows the loudness of the voice in it",
            only=(STORED,),
        ),
    ),
)
FITTING = Group(
    "learning",
    (
        Option(
            "schedule",
            choice(("constant", "cosine")),
            "constant",
            "course of the learning rate over the epochs, or over --max_seconds",
        ),
        Option(
            "max_seconds",
            number(above=0),
            None,
            "time to train for, s; the network is saved when it is over, and a training that is "
            "resumed has what is left of it",
        ),
        Option(
            "training_from_scratch",
            SWITCH,
            True,
            "start from random weights; otherwise from the weights, and the optimizer's state if "
            "there is one, of --name_model",
        ),
        Option(
            "save_optimizer",
            SWITCH,
            False,
            "keep the optimizer's state in the network's file, which is three times as large then, "
            "so that a later training can continue from it",
        ),
        Option("run_dir", PATH, places.WORK / "runs", "folder of logs and checkpoints"),
        Option(
            "evaluate_every",
            whole(0),
            0,
            "score validation mixtures each time this many epochs have passed; never if 0",
        ),
        Option(
            "evaluate_mixtures",
            whole(1),
            32,
            "validation mixtures to score each time",
            only=(given("evaluate_every"),),
        ),
        Option(
            "examples_every",
            whole(0),
            5,
            "write validation mixtures, what the network makes of them and the clean voices to "
            "TensorBoard, as sound and as spectrograms, each time this many epochs have passed; "
            "never if 0",
        ),
        Option(
            "track",
            listed(registry.TRACKERS),
            [],
            "programs that the course of the training is reported to, which must be installed",
        ),
        Option(
            "backup_every",
            whole(1),
            None,
            "steps between two backups; by default there is one at the end of each epoch",
        ),
    ),
)
DESIGN = Group(
    "design of the network, by default the model's own",
    (
        Option("representation", TEXT, None, "input of the network: magnitude_db or magnitude"),
        Option(
            "target",
            TEXT,
            None,
            "what the network estimates: noise_db, clean, mask or noise_mask",
        ),
        Option("exponent", number(), None, "power to which --representation magnitude is raised"),
        Option("n_mels", whole(1), None, "mel bands in the place of linear bins"),
        Option("loss", choice(registry.LOSSES), None, "loss, which must fit the target"),
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
            "single hyper-parameters of the model, which take precedence over the file",
            count="+",
            metavar="NAME=VALUE",
        ),
        Option("backbone", TEXT, None, "encoder of resunet: resnet50 or resnet101"),
        Option(
            "pretrained",
            TEXT,
            None,
            "weights of that encoder: imagenet, to download them, or a file of Keras weights",
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
            "how trials are chosen",
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
    )


MIXTURES = Group(
    "mixtures during training",
    (
        Option("steps_per_epoch", whole(1), 500, "batches in an epoch"),
        Option("validation_mixtures", whole(1), 512, "mixtures to validate on"),
        Option(
            "mixing_workers",
            whole(0),
            1,
            "processes that mix; if 0, the process that trains does it",
        ),
        Option("prefetch", whole(1), 8, "batches that are mixed ahead"),
    ),
    only=(DYNAMIC,),
)
MIXING = Group(
    "mixing",
    tuple(_mixing_option(field) for field in MixingConfig.options()),
    only=(DYNAMIC, given("augment")),
)

# Prediction and streaming

RAW = Group(
    "recordings",
    (
        Option(
            "raw_format",
            TEXT,
            None,
            "read and write samples without a header, as in s16,48000,2",
            metavar="TYPE,RATE[,CHANNELS]",
        ),
    ),
)
OVERWRITE = Group(
    "results",
    (
        Option(
            "overwrite",
            SWITCH,
            False,
            "do again what is done, and replace files of the same name, another data set in the "
            "folder, or the network of --name_model and what its training left",
            only=(NOT_PIPED, NOT_RESUMED),
        ),
    ),
)
JOBS = Group(
    "processes",
    (Option("jobs", whole(1), 1, "processes, each of which works on one recording at a time"),),
)
RECORDINGS = Group(
    "recordings",
    (
        Option("audio_dir_prediction", PATH, None, "folder of recordings"),
        Option(
            "audio_input_prediction",
            TEXT,
            [],
            "recordings to denoise, in --audio_dir_prediction if that is given",
            count="+",
            metavar="NAME",
        ),
        Option(
            "recursive", SWITCH, False, "denoise what is in sub-folders, too", only=(NOT_PIPED,)
        ),
        Option("start", SECONDS, 0.0, "denoise from there on"),
        Option("end", SECONDS, None, "denoise up to there"),
        Option("mono", SWITCH, False, "average the channels"),
        Option("sound_track", whole(1), None, "which of the sounds in a video, the first is 1"),
    ),
)
RESULTS = Group(
    "results",
    (
        Option(
            "dir_save_prediction",
            PATH,
            None,
            "folder of the results, which keep the inputs' sub-folders; by default results are "
            "beside the inputs",
            only=(NOT_PIPED,),
        ),
        Option(
            "audio_output_prediction",
            PATH,
            None,
            "name of the result of a single recording",
            metavar="NAME",
            only=(NOT_PIPED,),
        ),
        Option(
            "suffix",
            NAME_PART,
            None,
            "end of the results' names; by default _denoised for results beside the inputs",
            only=(NOT_PIPED,),
        ),
        Option(
            "format",
            choice(registry.FORMATS),
            None,
            "format of the results; by default that of the inputs",
        ),
        Option(
            "keep_level",
            SWITCH,
            True,
            "give results the level of the inputs instead of that of the network's output",
        ),
        Option("normalise_lufs", number(-70, 0), None, "loudness of the results, LUFS"),
        Option(
            "save_noise", SWITCH, False, "also write the noise that was removed", only=(NOT_PIPED,)
        ),
        Option(
            "plot",
            SWITCH,
            False,
            "also draw the spectrograms before and after",
            only=(NOT_PIPED,),
        ),
    ),
)
STREAMING = Group(
    "live sound",
    (
        Option("list_devices", SWITCH, False, "print the sound devices, and stop"),
        Option(
            "input_device",
            TEXT,
            None,
            "sound device to record from; by default the system's",
            metavar="NAME|N",
            only=(NOT_PIPED,),
        ),
        Option(
            "output_device",
            TEXT,
            None,
            "sound device to play on; by default the system's",
            metavar="NAME|N",
            only=(NOT_PIPED,),
        ),
        Option(
            "sample_rate_device",
            whole(1000, 768_000),
            None,
            "sample rate of both devices, Hz; by default that of a causal network, and otherwise "
            "that of the input device",
            only=(NOT_PIPED,),
        ),
        Option("channels", whole(1, 64), 1, "channels of both devices", only=(NOT_PIPED,)),
        Option("duration", SECONDS, None, "stop after this time", only=(NOT_PIPED,)),
        Option("block_ms", number(above=0, most=10_000), 16.0, "length of a block of sound, ms"),
        Option(
            "level_dbfs",
            number(-100, 0),
            None,
            "level of the voice, dBFS, for networks that are trained at one level; by default that "
            "level",
        ),
    ),
)

# The other modes

EVALUATION = Group(
    "evaluation",
    (
        Option(
            "enhanced_dir",
            PATH,
            [],
            "folders of results of other programs to score, named like the noisy recordings; "
            "networks are scored beside them only if --models names some",
            count="+",
        ),
        Option("systems", listed(registry.SYSTEMS), [], "baselines to score"),
        Option("peers", listed(registry.PEERS), [], "other packages to score"),
        Option("metrics", listed(registry.METRICS), None, "scores to compute; by default all"),
        Option(
            "sample_rate_evaluation",
            choice(("8000", "16000"), int),
            None,
            "denoise and score at this rate, Hz; by default at 16000, and at 8000 if a recording "
            "has a lower rate",
        ),
        Option(
            "every",
            whole(1),
            1,
            "score every n-th pair; note that noises or signal-to-noise ratios may recur with "
            "the same period",
        ),
        Option("limit", whole(1), None, "score at most this many pairs"),
        Option(
            "pairs_csv", PATH, None, "table of the pairs, with the columns file, class, snr (dB)"
        ),
        Option(
            "name_pattern",
            TEXT,
            None,
            "regular expression that finds (?P<class>) and (?P<snr>) in the pairs' names",
        ),
        Option("pairs_name", TEXT, None, "what the report calls the pairs"),
        Option(
            "report_dir",
            PATH,
            places.WORK / "out/evaluation",
            "folder of the report; an interrupted evaluation of the same code continues there",
        ),
        Option(
            "worst",
            whole(0),
            5,
            "recordings that each system does worst, to be drawn and listened to",
        ),
        Option("measure_cost", SWITCH, True, "also measure speed and memory"),
    ),
)
EXPORT = Group(
    "export",
    (
        Option(
            "formats", listed(registry.EXPORT_FORMATS), list(registry.EXPORT_FORMATS), "formats"
        ),
        Option(
            "export_dir",
            PATH,
            places.WORK / "out/export",
            "folder of exported networks and of the report",
        ),
    ),
)
DOWNLOAD = Group(
    "download",
    (
        Option("corpus", listed(PUBLIC_CORPORA), [], "recordings to download"),
        Option(
            "corpora_dir", PATH, places.WORK / "data/corpora", "folder of downloaded recordings"
        ),
        Option("keep_archives", SWITCH, False, "keep the downloaded archives after unpacking them"),
    ),
)
APP = Group(
    "server",
    (
        Option(
            "host",
            TEXT,
            "127.0.0.1",
            "address to listen at; with 0.0.0.0, everyone who can reach this machine can use the "
            "page",
            metavar="ADDRESS",
        ),
        Option("port", whole(0, 2**16 - 1), 7860, "port to listen at; any free port if 0"),
        Option(
            "allowed_hosts",
            listed(),
            [],
            "names that visitors may know this server by, beside its own",
        ),
        Option("max_upload_mb", number(above=0), 100.0, "size of the largest recording, MB"),
        Option(
            "max_disk_mb",
            number(above=0),
            2000.0,
            "recordings and results that are kept for an hour, MB; a visitor has a quarter",
        ),
        Option("max_minutes", number(above=0), 30.0, "length of the longest recording, minutes"),
    ),
)

DATA = (WINDOWS, SOURCES, AUDIO, SEED)
MODES = {
    "prediction": Mode(
        "denoise recordings",
        (NETWORK, RUNTIME, STRENGTH, RECORDINGS, RAW, RESULTS, OVERWRITE, JOBS),
        f"recordings, folders, patterns, or {PIPE} for standard input"
        + ("; by default the recordings of demo_data/" if places.DEMO_DATA.is_dir() else ""),
    ),
    "app": Mode("serve a web page that denoises recordings", (NETWORK, RUNTIME, APP)),
    "streaming": Mode(
        "denoise a microphone, or samples on a pipe, as they arrive",
        (NETWORK, RUNTIME, STRENGTH, STREAMING, RAW),
        f"{PIPE} for samples on standard input; by default sound devices",
    ),
    "download": Mode("download public voices and noises", (DOWNLOAD,)),
    "data_creation": Mode(
        "mix voices and noises into windows to train with",
        (*DATA, PAIRS, WINDOW_CREATION, LEVELS, MIXING, OVERWRITE),
    ),
    "training": Mode(
        "train a network",
        (NETWORK, LEARNING, FITTING, DESIGN, *DATA, MIXTURES, MIXING, OVERWRITE),
    ),
    "tuning": Mode(
        "search the hyper-parameters of a network",
        (TUNING, LEARNING, DESIGN, *DATA, MIXTURES, MIXING),
    ),
    "evaluation": Mode(
        "score networks, baselines and results of other programs",
        (NETWORK, NETWORKS, PAIRS, EVALUATION, JOBS),
    ),
    "export": Mode(
        "write networks in the formats of ONNX, LiteRT and TensorFlow",
        (NETWORK, NETWORKS, EXPORT),
    ),
}
