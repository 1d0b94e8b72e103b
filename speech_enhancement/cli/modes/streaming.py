"""--mode streaming: denoise a microphone, or raw samples on a pipe, as they arrive."""

from __future__ import annotations

import argparse

from speech_enhancement.cli import args, process
from speech_enhancement.errors import UsageError
from speech_enhancement.files.audio_files import RawFormat
from speech_enhancement.inference import network_files
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.live.devices import Devices, list_devices, stream_devices
from speech_enhancement.live.pipe import stream_pipe


def run(options: argparse.Namespace) -> int:
    """Denoise until the source ends or the user stops it; figures go to standard error."""
    if options.list_devices:
        print(list_devices())
        return 0
    check(options)
    if options.inputs:
        source, sink = process.pipe()
        raw = RawFormat.parse(options.raw_format)
        stream_pipe(load(options), source, sink, raw, options.block_ms, options.level_dbfs)
    else:
        stream_devices(load(options), devices_of(options), options.level_dbfs, options.duration)
    return 0


def check(options: argparse.Namespace) -> None:
    """Refuse inputs other than a pipe of samples.

    Raises:
        UsageError: there are others than a pipe, or a pipe without a format.
    """
    if options.inputs not in ([], [args.PIPE]):
        raise UsageError(
            f"The input of --mode streaming must be {args.PIPE}, or none for sound devices. "
            f"Received: {' '.join(options.inputs)}"
        )
    if bool(options.inputs) != bool(options.raw_format):
        raise UsageError(f"The input {args.PIPE} and --raw_format must be given together")


def load(options: argparse.Namespace) -> Enhancer:
    """Load the network, by default on one thread, which has the lowest latency."""
    return Enhancer.load(
        network_files.stem_in(options.weights_folder, options.name_model),
        options.runtime,
        options.threads or 1,
        options.strength,
        options.max_attenuation_db,
    )


def devices_of(options: argparse.Namespace) -> Devices:
    """The sound devices, and how they are used."""
    return Devices(
        device(options.input_device),
        device(options.output_device),
        options.sample_rate_device,
        options.channels,
        options.block_ms,
    )


def device(text: str | None) -> str | int | None:
    """A device by its number, if it looks like one, or by its name."""
    return int(text) if text and text.isdecimal() else text
