"""--mode streaming: denoise a microphone, or raw samples on a pipe, as they arrive."""

from __future__ import annotations

import argparse
import sys

import numpy as np

from speech_enhancement.cli import args, process
from speech_enhancement.errors import UsageError
from speech_enhancement.files.audio_files import RawFormat
from speech_enhancement.inference import network_files
from speech_enhancement.inference.enhancer import Enhancer, check_channels, check_rate
from speech_enhancement.live import devices
from speech_enhancement.live.devices import Devices
from speech_enhancement.live.meter import Latency, MeteredStream, algorithmic_latency
from speech_enhancement.live.pipe import denoise_samples
from speech_enhancement.signal import dsp


def run(options: argparse.Namespace) -> int:
    """Denoise until the source ends or the user stops it; figures go to standard error."""
    if options.list_devices:
        print(devices.list_devices())
        return 0
    check(options)
    if options.inputs:
        denoise_pipe(options)
    else:
        denoise_devices(options)
    return 0


def check(options: argparse.Namespace) -> None:
    """Refuse inputs that are no samples.

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


def denoise_pipe(options: argparse.Namespace) -> None:
    """Standard input to standard output."""
    source, sink = process.pipe()
    raw = RawFormat.parse(options.raw_format)
    rate, channels = check_rate(raw.sample_rate), check_channels(raw.channels)
    block = block_samples(options, rate)
    enhancer = load(options)
    stream = MeteredStream(
        enhancer.stream(rate, channels, 0, active_rms(options, channels)),
        rate,
        Latency(algorithmic_latency(enhancer, rate), block / rate),
    )
    try:
        denoise_samples(stream, source, sink, raw, block * raw.frame_bytes)
    finally:
        stream.finish()


def denoise_devices(options: argparse.Namespace) -> None:
    """A microphone to a speaker."""
    source, sink = map(device, (options.input_device, options.output_device))
    enhancer = load(options)
    rate = check_rate(options.sample_rate_device or rate_of_devices(enhancer, source))
    block = block_samples(options, rate)
    latency = Latency(algorithmic_latency(enhancer, rate), block / rate)
    print(f"Denoising with {latency} of latency; press Ctrl-C to stop", file=sys.stderr)
    devices.denoise_devices(
        enhancer,
        Devices(source, sink, rate, options.channels, block),
        latency,
        active_rms(options, options.channels),
        options.duration,
    ).finish()


def rate_of_devices(enhancer: Enhancer, source: str | int | None) -> int:
    """The rate of a causal network, for a conversion holds sound for longer than the network."""
    if enhancer.card.streaming:
        return enhancer.card.audio.sample_rate
    return devices.default_rate(source)


def load(options: argparse.Namespace) -> Enhancer:
    """The network; one thread answers soonest unless the user wants more."""
    return Enhancer.load(
        network_files.stem_in(options.weights_folder, options.name_model),
        options.runtime,
        options.threads or 1,
        options.strength,
        options.max_attenuation_db,
    )


def block_samples(options: argparse.Namespace, rate: int) -> int:
    """Samples in a block."""
    return max(1, round(options.block_ms * rate / 1000))


def active_rms(options: argparse.Namespace, channels: int) -> np.ndarray | None:
    """The level of the voice in every channel, where the user says so."""
    if options.level_dbfs is None:
        return None
    return np.full(channels, dsp.db_to_amplitude(options.level_dbfs), np.float32)


def device(text: str | None) -> str | int | None:
    """A device by its number, if it looks like one, or by its name."""
    return int(text) if text and text.isdecimal() else text
