"""Every option of the command line, one function for each group, and the objects built of them."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import registry
from command_line import CommandLine, HelpFormatter
from config import AudioConfig
from mixing_config import MixingConfig
from public_corpora import PUBLIC_CORPORA

REPOSITORY = Path(__file__).resolve().parent
DEFAULT_NETWORK = "dpcrn"
AUDIO_OPTIONS = {
    "sample_rate": "samples per second, Hz",
    "n_fft": "STFT window, samples",
    "hop_length_fft": "STFT hop, samples",
    "frame_length": "training window, samples",
}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        SystemExit: `--help` was asked for.
        UsageError: an option is unknown or has a value that is not allowed.
    """
    parser = CommandLine(
        prog="main.py",
        description="Remove noise from speech, and train the networks that do it.",
        usage="python main.py [--mode MODE] [OPTION ...] [INPUT ...]",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--mode", default="prediction", choices=list(registry.MODES), help="what to do"
    )
    for add_options in (
        add_audio_options,
        add_data_options,
        add_training_options,
        add_model_options,
        add_tuning_options,
        add_mixing_options,
        add_prediction_options,
        add_evaluation_options,
        add_download_options,
        add_app_options,
        add_export_options,
        add_streaming_options,
    ):
        add_options(parser)
    options = parser.parse(argv)
    if options.name_model is None:
        training = options.mode == "training"
        options.name_model = f"model_{options.model}" if training else DEFAULT_NETWORK
    return options


def add_audio_options(parser: argparse.ArgumentParser) -> None:
    """The geometry of the windows that data_creation stores or `--data dynamic` draws."""
    group = parser.add_argument_group(
        "audio", "With --data dynamic, the model's own geometry by default."
    )
    for name, what in AUDIO_OPTIONS.items():
        default = getattr(AudioConfig, name)
        group.add_argument(f"--{name}", type=int, help=f"{what}; {default} by default")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Options of data_creation, and where training finds what it wrote."""
    group = parser.add_argument_group("data_creation")
    group.add_argument("--voice_dir", type=Path, help="folder of clean voices")
    group.add_argument("--noise_dir", type=Path, help="folder of noises")
    group.add_argument(
        "--voice_dir_validation",
        type=Path,
        help="voices to validate with; else a part of the above",
    )
    group.add_argument(
        "--noise_dir_validation",
        type=Path,
        help="noises to validate with; else a part of the above",
    )
    group.add_argument(
        "--clean_dir",
        type=Path,
        help="clean recordings of recorded pairs, to score or instead of mixing",
    )
    group.add_argument("--noisy_dir", type=Path, help="noisy recordings of the same names")
    group.add_argument(
        "--noise_classes",
        type=lambda text: text.split(","),
        help="classes of noise to use, separated by commas; all by default",
    )
    for name, folder, what in (
        ("spectrogram", "spectrogram", "the .npy spectrograms and the manifest"),
        ("time_serie", "time_serie", "the .npy waveforms"),
        ("sound", "sound", "a few minutes to listen to"),
    ):
        group.add_argument(
            f"--path_save_{name}",
            type=Path,
            default=REPOSITORY / "data" / folder,
            help=f"folder of {what}",
        )
    group.add_argument(
        "--cache_dir",
        type=Path,
        default=REPOSITORY / "data/cache",
        help="folder of decoded sources",
    )
    group.add_argument("--nb_samples", type=int, default=40000, help="windows to create")
    group.add_argument(
        "--validation_split", type=float, default=0.1, help="share of them for validation"
    )
    group.add_argument("--snr_min", type=float, default=-5.0, help="lowest voice over noise, dB")
    group.add_argument("--snr_max", type=float, default=15.0, help="highest voice over noise, dB")
    group.add_argument("--level_min", type=float, default=-35.0, help="lowest voice level, dBFS")
    group.add_argument("--level_max", type=float, default=-15.0, help="highest voice level, dBFS")
    group.add_argument(
        "--noise_level",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="multiply noises by a factor instead of mixing at an SNR",
    )
    group.add_argument(
        "--voice_level",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="multiply voices by a factor, with --noise_level",
    )
    group.add_argument(
        "--hop_length_frame", type=int, default=1, help="grid of windows in voices, samples"
    )
    group.add_argument(
        "--hop_length_frame_noise", type=int, default=1, help="grid of windows in noises, samples"
    )
    group.add_argument(
        "--min_duration", type=float, default=0.0, help="leave out shorter recordings, s"
    )
    group.add_argument(
        "--save_phase",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="store the phases",
    )
    group.add_argument(
        "--overwrite",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="delete another data set that lies in the folder; denoise again what is done, and "
        "replace files of the same name",
    )
    group.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes that compute"
    )
    group.add_argument("--seed", type=int, default=0, help="seed of everything that is random")


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Options of training."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--model", default="unet", choices=list(registry.MODELS), help="network to train"
    )
    group.add_argument(
        "--weights_folder", type=Path, default=REPOSITORY / "weights", help="folder of networks"
    )
    group.add_argument(
        "--name_model",
        help=f"name of the network's files in it; by default {DEFAULT_NETWORK}, and model_MODEL in "
        "training",
    )
    group.add_argument(
        "--run_dir", type=Path, default=REPOSITORY / "runs", help="folder of logs and checkpoints"
    )
    group.add_argument(
        "--training_from_scratch",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="start from random weights, not from those (and the optimizer) of --name_model",
    )
    group.add_argument(
        "--save_optimizer",
        action="store_true",
        help="keep the optimizer's state in the network's file (thrice its size), to go on with it",
    )
    group.add_argument(
        "--resume", action="store_true", help="go on with an interrupted training of --name_model"
    )
    group.add_argument("--epochs", type=int, default=10, help="passes over the training windows")
    group.add_argument("--batch_size", type=int, default=20, help="windows in a training step")
    group.add_argument(
        "--learning_rate", type=float, help="step size of the optimizer; the model's by default"
    )
    group.add_argument(
        "--schedule",
        choices=["constant", "cosine"],
        default="constant",
        help="learning rate over the epochs",
    )
    group.add_argument(
        "--mixed_precision", action="store_true", help="compute in float16 where that is safe"
    )
    group.add_argument("--max_windows", type=int, help="train on this many windows only")
    group.add_argument(
        "--max_validation_windows", type=int, help="validate on this many windows only"
    )
    group.add_argument(
        "--loud_weight",
        type=float,
        default=0.0,
        help="share of a bin's weight in the loss that follows the voice's loudness, 0..1",
    )
    group.add_argument(
        "--evaluate_every", type=int, default=0, help="epochs between scorings of mixtures; 0: none"
    )
    group.add_argument(
        "--evaluate_mixtures", type=int, default=32, help="validation mixtures to score each time"
    )
    group.add_argument(
        "--backup_every", type=int, help="steps between backups; once an epoch by default"
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """What a network sees, what it learns and how it is made; the model's own by default."""
    group = parser.add_argument_group("model, for training and tuning")
    group.add_argument(
        "--representation", help="network input: magnitude_db, or magnitude to a power"
    )
    group.add_argument("--target", help="what to learn: noise_db, clean, mask or noise_mask")
    group.add_argument("--exponent", type=float, help="power of the representation magnitude")
    group.add_argument("--n_mels", type=int, help="mel bands in place of linear bins")
    group.add_argument("--loss", choices=list(registry.LOSSES), help="loss; it must fit the target")
    group.add_argument(
        "--hyperparameters", type=Path, help="JSON file of hyper-parameters, as tuning writes it"
    )
    group.add_argument(
        "--hyperparameter",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="single hyper-parameters of the model, which override the file",
    )
    group.add_argument("--backbone", help="encoder of resunet: resnet50 or resnet101")
    group.add_argument(
        "--pretrained",
        metavar="imagenet|FILE",
        help="weights of that encoder: downloaded, or a file of Keras weights",
    )


def add_tuning_options(parser: argparse.ArgumentParser) -> None:
    """Options of tuning; it takes those of the model and most of training besides."""
    group = parser.add_argument_group("tuning")
    group.add_argument(
        "--tuner",
        choices=["hyperband", "bayesian", "random"],
        default="hyperband",
        help="how trials are chosen",
    )
    group.add_argument("--max_trials", type=int, default=20, help="trials in all")
    group.add_argument(
        "--dir_tuning", type=Path, default=REPOSITORY / "tuning", help="folder of searches"
    )


def add_mixing_options(parser: argparse.ArgumentParser) -> None:
    """Options of training on mixtures drawn while it runs."""
    group = parser.add_argument_group("mixing, for training with --data dynamic")
    group.add_argument(
        "--data",
        choices=["stored", "dynamic"],
        default="stored",
        help="train on the windows of data_creation, or on mixtures drawn while training",
    )
    group.add_argument("--steps_per_epoch", type=int, default=500, help="batches in an epoch")
    group.add_argument("--validation_mixtures", type=int, default=512, help="validation windows")
    group.add_argument(
        "--mixing_workers", type=int, default=1, help="processes that mix; 0: the training's own"
    )
    group.add_argument("--prefetch", type=int, default=8, help="batches mixed ahead")
    for field in dataclasses.fields(MixingConfig):
        default: Any = field.default
        is_range = isinstance(default, tuple)
        value = default[0] if is_range else default
        group.add_argument(
            f"--mix_{field.name}",
            type=Path if value is None else type(value),
            nargs=2 if is_range else None,
            metavar=("LOW", "HIGH") if is_range else None,
            default=default,
            help=field.metadata["help"],
        )


def add_prediction_options(parser: argparse.ArgumentParser) -> None:
    """Options of prediction."""
    group = parser.add_argument_group("prediction")
    group.add_argument(
        "inputs",
        nargs="*",
        help="recordings, folders, patterns, or - for a pipe; by default those of demo_data/",
    )
    group.add_argument("--audio_dir_prediction", type=Path, help="folder of recordings")
    group.add_argument(
        "--audio_input_prediction",
        nargs="+",
        default=[],
        metavar="NAME",
        help="recordings to denoise, in --audio_dir_prediction where that is given",
    )
    group.add_argument(
        "--dir_save_prediction",
        type=Path,
        help="folder of the results, in the inputs' own folders; beside the inputs by default",
    )
    group.add_argument(
        "--audio_output_prediction", type=Path, metavar="NAME", help="name of a single result"
    )
    group.add_argument("--suffix", help="end of results' names; _denoised beside the inputs")
    group.add_argument("--recursive", action="store_true", help="look into folders of folders")
    group.add_argument(
        "--format", choices=registry.FORMATS, help="format of results; the inputs' by default"
    )
    group.add_argument(
        "--raw_format",
        metavar="TYPE,RATE[,CHANNELS]",
        help="read and write samples without a header, as in s16,48000,2",
    )
    add_enhancement_options(parser)


def add_enhancement_options(parser: argparse.ArgumentParser) -> None:
    """Options of prediction that say how, not what."""
    group = parser.add_argument_group("prediction, how")
    group.add_argument("--strength", type=float, default=1.0, help="0 nothing .. 1 all, in dB")
    group.add_argument("--max_attenuation_db", type=float, help="take away no more than this, dB")
    group.add_argument(
        "--keep_level",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="results at the level of the inputs, not of the network",
    )
    group.add_argument("--normalise_lufs", type=float, help="loudness of results, LUFS")
    group.add_argument("--mono", action="store_true", help="average the channels")
    group.add_argument("--start", type=seconds, default=0.0, help="begin there: s, or h:min:s")
    group.add_argument("--end", type=seconds, help="end there: s, or h:min:s")
    group.add_argument("--save_noise", action="store_true", help="also write what was removed")
    group.add_argument("--plot", action="store_true", help="also draw before and after")
    group.add_argument(
        "--runtime",
        default="auto",
        choices=registry.RUNTIMES,
        help="what runs the network; auto: fastest",
    )
    group.add_argument("--threads", type=int, help="processor threads in all; all by default")
    group.add_argument("--jobs", type=int, default=1, help="recordings at a time, each a process")


def add_evaluation_options(parser: argparse.ArgumentParser) -> None:
    """Options of evaluation, beside --clean_dir, --noisy_dir and --jobs."""
    group = parser.add_argument_group("evaluation")
    group.add_argument(
        "--models",
        type=names,
        metavar="NAME,...",
        help="networks of --weights_folder to score or to export, or all; --name_model by "
        "default, none beside --enhanced_dir",
    )
    group.add_argument(
        "--enhanced_dir",
        type=Path,
        nargs="+",
        default=[],
        help="folders of others' results to score, named like the noisy recordings",
    )
    for kind, table in (("systems", registry.SYSTEMS), ("peers", registry.PEERS)):
        group.add_argument(
            f"--{kind}",
            type=names,
            default=[],
            metavar="NAME,...",
            help=f"{'baselines' if kind == 'systems' else kind} to score: {', '.join(table)}",
        )
    group.add_argument(
        "--metrics",
        type=names,
        metavar="NAME,...",
        help=f"scores to compute, all by default: {', '.join(registry.METRICS)}",
    )
    group.add_argument(
        "--sample_rate_evaluation",
        type=int,
        choices=[8000, 16000],
        help="denoise and score at this rate, Hz; by default 16000, or 8000 for recordings below",
    )
    group.add_argument(
        "--every",
        type=int,
        default=1,
        help="score every n-th pair; mind that noises or SNRs may recur every so many files",
    )
    group.add_argument("--limit", type=int, help="score this many pairs at the most")
    group.add_argument(
        "--pairs_csv", type=Path, help="table of the pairs: columns file, class, snr (dB)"
    )
    group.add_argument(
        "--name_pattern", help="regular expression that finds (?P<class>) and (?P<snr>) in names"
    )
    group.add_argument("--pairs_name", help="what the report calls the pairs")
    group.add_argument(
        "--report_dir",
        type=Path,
        default=REPOSITORY / "out/evaluation",
        help="folder of the report; an interrupted evaluation goes on there, with the same code",
    )
    group.add_argument(
        "--worst", type=int, default=5, help="files of each system to draw and to listen to"
    )
    group.add_argument(
        "--measure_cost",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure speed and memory too",
    )


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """Options of export, beside --models, --weights_folder and --name_model."""
    group = parser.add_argument_group("export")
    group.add_argument(
        "--formats",
        type=names,
        default=list(registry.EXPORT_FORMATS),
        metavar="NAME,...",
        help=f"what to write of: {', '.join(registry.EXPORT_FORMATS)}",
    )
    group.add_argument(
        "--export_dir",
        type=Path,
        default=REPOSITORY / "out/export",
        help="folder of exported networks and of the report",
    )


def add_streaming_options(parser: argparse.ArgumentParser) -> None:
    """Options of streaming, beside --raw_format, --name_model and those of prediction, how."""
    group = parser.add_argument_group("streaming")
    group.add_argument(
        "--list_devices", action="store_true", help="print the sound devices, and stop"
    )
    group.add_argument(
        "--input_device", metavar="NAME|N", help="sound device to listen to; the system's default"
    )
    group.add_argument(
        "--output_device", metavar="NAME|N", help="sound device to play on; the system's default"
    )
    group.add_argument(
        "--sample_rate_device",
        type=int,
        help="rate of both devices, Hz; by default that of a causal network, else the input's own",
    )
    group.add_argument("--channels", type=int, default=1, help="channels of both devices")
    group.add_argument("--block_ms", type=float, default=16.0, help="sound in a block, ms")
    group.add_argument("--duration", type=seconds, help="stop after that: s, or h:min:s")
    group.add_argument(
        "--level_dbfs",
        type=float,
        help="level of the voice, dBFS, for networks that know one level; theirs by default",
    )


def add_download_options(parser: argparse.ArgumentParser) -> None:
    """Options of download."""
    group = parser.add_argument_group("download")
    group.add_argument(
        "--corpus",
        type=names,
        default=[],
        metavar="NAME,...",
        help=f"recordings to download: {', '.join(PUBLIC_CORPORA)}",
    )
    group.add_argument(
        "--corpora_dir",
        type=Path,
        default=REPOSITORY / "data/corpora",
        help="folder of downloaded recordings",
    )
    group.add_argument(
        "--keep_archives", action="store_true", help="keep what was downloaded after unpacking it"
    )


def add_app_options(parser: argparse.ArgumentParser) -> None:
    """Options of app, beside --weights_folder, --name_model, --runtime and --threads."""
    group = parser.add_argument_group("app")
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="listen there; 0.0.0.0 lets everyone in who reaches this machine",
    )
    group.add_argument("--port", type=int, default=7860, help="port to listen at; 0: any")
    group.add_argument(
        "--max_upload_mb", type=float, default=100.0, help="size of the largest recording, MB"
    )
    group.add_argument(
        "--max_minutes", type=float, default=30.0, help="length of the longest recording, minutes"
    )


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name for name in text.split(",") if name]


def seconds(text: str) -> float:
    """A place in a recording, in seconds, written as seconds, min:s or h:min:s.

    Raises:
        ArgumentTypeError: the text is something else.
    """
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3 or not all(0.0 <= value < math.inf for value in values):
        raise argparse.ArgumentTypeError(f"seconds, min:s or h:min:s wanted. Received: {text}")
    return sum(value * 60.0**power for power, value in enumerate(reversed(values)))


def audio_config(options: argparse.Namespace, default: AudioConfig | None = None) -> AudioConfig:
    """The audio geometry that the options describe, the default's where they say nothing.

    Raises:
        UsageError: a value is out of its range.
    """
    given = {name: getattr(options, name) for name in AUDIO_OPTIONS}
    return dataclasses.replace(
        default or AudioConfig(), **{k: v for k, v in given.items() if v is not None}
    )
