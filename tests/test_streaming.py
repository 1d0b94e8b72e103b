"""Live denoising: raw samples through a real pipe, and sound devices that are not there."""

import io
import queue
import signal
import subprocess
import sys
import types
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import small_networks

from speech_enhancement.files.audio_files import RawFormat
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.live import pipe as live_pipe
from speech_enhancement.live.devices import BlockExchange
from speech_enhancement.live.meter import algorithmic_latency

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return {"stream": small_networks.save_stream(folder), "gate": small_networks.save_gate(folder)}


def noise(n_samples, channels=1):
    return (0.1 * np.random.default_rng(3).standard_normal((channels, n_samples))).astype("float32")


def command(stem, raw_format, *options):
    network = ["--weights_folder", str(stem.parent), "--name_model", stem.name]
    main = [sys.executable, "main.py", "--mode", "streaming", "-", "--raw_format", raw_format]
    return [*main, *network, *options]


def open_pipe(*arguments):
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(*arguments), cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=pipe
    )


def streamed(stem, raw, data, block=1234):
    """What the network gives for raw samples, in blocks of another size than the pipe's."""
    stream = Enhancer.load(stem, threads=1).stream(raw.sample_rate, raw.channels, 0)
    sound = raw.decode(data)
    parts = [stream.feed(sound[:, k : k + block]) for k in range(0, sound.shape[1], block)]
    return np.concatenate([*parts, stream.flush()], axis=1)


def assert_same_sound(data, raw, wanted):
    """Equal but for the rounding of a sample, which may go either way."""
    step = 2.0**-15 if raw.subtype == "PCM_16" else 1e-6
    np.testing.assert_allclose(raw.decode(data), wanted, rtol=0, atol=1.01 * step)


@pytest.mark.parametrize(
    ("name", "raw_format", "options"),
    [("stream", "s16le,16000", ["--block_ms", "7"]), ("gate", "f32le,44100,2", [])],
)
def test_pipe_gives_what_the_enhancer_gives(networks, name, raw_format, options):
    raw = RawFormat.parse(raw_format)
    data = raw.encode(noise(30_011, raw.channels))
    done = subprocess.run(
        command(networks[name], raw_format, *options),
        cwd=REPOSITORY,
        input=data,
        capture_output=True,
        check=True,
    )
    assert_same_sound(done.stdout, raw, streamed(networks[name], raw, data))
    assert len(done.stdout) == len(data)
    assert b"algorithmic" in done.stderr
    assert b"real-time factor" in done.stderr
    assert b"0 dropped blocks" in done.stderr


def test_reader_may_leave(networks):
    raw = RawFormat.parse("s16,16000")
    data = raw.encode(noise(16_000))
    with open_pipe(networks["stream"], "s16,16000") as process:
        process.stdin.write(data)
        process.stdin.flush()
        process.stdout.read(1000)
        process.stdout.close()
        try:
            while True:
                process.stdin.write(data)
                process.stdin.flush()
        except BrokenPipeError:
            pass
        errors = process.stderr.read().decode()
    assert process.returncode == 1
    assert "dropped blocks" in errors
    assert "Traceback" not in errors
    assert "Exception" not in errors


def test_stop_by_the_user_keeps_what_came_in(networks):
    raw = RawFormat.parse("s16,16000")
    data = raw.encode(noise(16_000))
    with open_pipe(networks["stream"], "s16,16000") as process:
        process.stdin.write(data)
        process.stdin.flush()
        result = process.stdout.read(len(data) - 2 * 1024)
        process.send_signal(signal.SIGINT)
        result += process.stdout.read()
        errors = process.stderr.read().decode()
        process.stdin.close()
    assert process.returncode == 0
    assert len(result) >= len(data) - 2 * 1024
    assert_same_sound(result, raw, streamed(networks["stream"], raw, data[: len(result)]))
    assert "Traceback" not in errors


def test_stop_while_denoising_waits_for_the_block():
    items = iter([1, 2, 3])
    seen = []
    for item in live_pipe.until_stopped(lambda: next(items)):
        if item == 2:
            signal.raise_signal(signal.SIGINT)
        seen.append(item)
    assert seen == [1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_half_a_sample_at_the_end_is_left_out(networks):
    raw = RawFormat.parse("s16,16000,2")
    data = raw.encode(noise(999, 2)) + b"xyz"
    stream = Enhancer.load(networks["stream"]).stream(16000, 2, 0)
    sink = io.BytesIO()
    live_pipe.denoise_samples(stream, io.BytesIO(data), sink, raw, read_bytes=5)
    assert len(sink.getvalue()) == len(data) - 3


@pytest.mark.parametrize(
    ("name", "own_rate", "span"), [("stream", 16000, 512), ("gate", 8000, 8064)]
)
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_latency_is_the_longest_that_a_sample_is_held(networks, name, own_rate, span, rate):
    enhancer = Enhancer.load(networks[name], threads=1)
    latency = algorithmic_latency(enhancer, rate)
    conversion_s = 0.3 if rate != own_rate else 0.0
    assert 0.9 * span / own_rate <= latency <= span / own_rate + conversion_s
    stream = enhancer.stream(rate)
    rng, held = np.random.default_rng(0), 0
    for size in rng.integers(1, rate // 50, 300):
        held += size - len(stream.feed(noise(size)[0]))
        assert held <= latency * rate + size + 0.002 * rate


BLOCK, LATENCY = 4, 12


@hypothesis.given(st.lists(st.integers(0, 3), max_size=60))
def test_exchange_keeps_the_latency_whatever_the_network_does(schedule):
    """Recorded samples count up from 1; after each block, the network hands on some blocks."""
    exchange = BlockExchange(1, LATENCY)
    exchange._recorded = queue.Queue(5)
    clock = 0
    for n_blocks in [*schedule, *[3] * 20]:
        recorded = np.arange(clock + 1, clock + 1 + BLOCK, dtype=np.float32)
        played = exchange.swap(recorded[np.newaxis])[0]
        assert played.shape == recorded.shape
        for _ in range(min(n_blocks, exchange._recorded.qsize())):
            exchange.add(exchange.next())
        clock += BLOCK
    assert np.array_equal(played, np.maximum(recorded - LATENCY, 0.0))
    if all(schedule):
        assert exchange.dropped == 0


def test_exchange_counts_what_was_dropped():
    exchange = BlockExchange(2, 2 * BLOCK)
    for expected in (0, 0, 1, 2):
        assert not exchange.swap(np.ones((2, BLOCK), np.float32)).any()
        assert exchange.dropped == expected


class FakeCard:
    """Stands in for `sounddevice`: a card that plays a recording to whoever opens it."""

    class PortAudioError(Exception):
        pass

    def __init__(self, sound):
        self.sound, self.played, self.opened = sound, [], None

    def query_devices(self, *arguments):
        if "nothing" in arguments:
            raise ValueError("No input device matching 'nothing'")
        return {"default_samplerate": 16000.0} if arguments else "> 0 fake, (2 in, 2 out)"

    def Stream(self, **settings):
        self.query_devices(*settings["device"])
        if settings["device"][1] == "deaf":
            raise self.PortAudioError("Invalid sample rate\nand more")
        self.opened = settings
        return self

    def __enter__(self):
        self.latency = (0.01, 0.02)
        return self

    def __exit__(self, *_):
        pass

    def call_back(self, position):
        size = self.opened["blocksize"]
        heard = self.sound[:, position : position + size].T
        played = np.full(heard.shape, np.nan, np.float32)
        status = types.SimpleNamespace(input_overflow=False, output_underflow=False)
        self.opened["callback"](heard, played, len(heard), None, status)
        self.played.append(played.T)
        return size


@pytest.fixture
def card(monkeypatch):
    fake = FakeCard(noise(16_000, 2))
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    position = 0
    take = BlockExchange.next

    def hear_and_take(exchange):
        nonlocal position
        position += fake.call_back(position)
        return take(exchange)

    monkeypatch.setattr(BlockExchange, "next", hear_and_take)
    return fake


def stream_devices(run_main, stem, *options):
    network = ["--weights_folder", stem.parent, "--name_model", stem.name]
    return run_main("--mode", "streaming", *network, *options)


def test_devices_play_what_the_network_gives_after_the_latency(card, networks, run_main):
    options = ["--input_device", "3", "--output_device", "cable", "--channels", "2"]
    outcome = stream_devices(
        run_main, networks["stream"], *options, "--duration", "0.5", "--block_ms", "10"
    )
    assert outcome.code == 0
    assert "0 dropped blocks in 0.5 s" in outcome.err
    assert "30 device" not in outcome.err
    assert "40 device" in outcome.err
    settings = {k: card.opened[k] for k in ("samplerate", "blocksize", "device", "channels")}
    assert settings == {
        "samplerate": 16000,
        "blocksize": 160,
        "device": (3, "cable"),
        "channels": 2,
    }
    played = np.concatenate(card.played, axis=1)
    enhancer = Enhancer.load(networks["stream"], threads=1)
    latency = round(algorithmic_latency(enhancer, 16000) * 16000) + 2 * 160
    wanted = enhancer.enhance(card.sound[:, : played.shape[1]], 16000, channel_axis=0)
    assert not played[:, :latency].any()
    np.testing.assert_allclose(played[:, latency:], wanted[:, :-latency], atol=1e-5)


def test_windows_are_played_without_a_gap(card, networks, run_main):
    card.sound = noise(8 * 8000)
    outcome = stream_devices(
        run_main, networks["gate"], "--sample_rate_device", "8000", "--duration", "5"
    )
    assert outcome.code == 0
    assert "0 dropped blocks" in outcome.err
    assert "1008 algorithmic" in outcome.err


def test_devices_are_listed(card, run_main):
    assert run_main("--mode", "streaming", "--list_devices").out == "> 0 fake, (2 in, 2 out)\n"


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["my.wav"], 2, "must be -, or none for sound devices. Received: my.wav"),
        (["-"], 2, "- and --raw_format must be given together"),
        (["--raw_format", "s16,8000"], 2, "- and --raw_format must be given together"),
        (["-", "--raw_format", "s17,8000"], 2, "Received: s17,8000"),
        (["-", "--raw_format", "s16,10"], 2, "`rate` must be"),
        (
            ["-", "--raw_format", "s16,8000", "--duration", "3"],
            2,
            "only has an effect without the input -",
        ),
        (
            ["-", "--raw_format", "s16,8000", "--channels", "2"],
            2,
            "only has an effect without the input -",
        ),
        (["--block_ms", "0"], 2, "`--block_ms` must be a number above 0"),
        (["--level_dbfs", "5"], 2, "`--level_dbfs` must be a number from -100 to 0. Received: 5"),
        (["--level_dbfs", "-20"], 2, "`level_dbfs` only has an effect on networks that"),
        (["--threads", "0"], 2, "`--threads` must be a whole number of at least 1"),
        (["--channels", "0"], 2, "from 1 to 64. Received: 0"),
        (["--input_device", "nothing"], 1, "No input device matching 'nothing'"),
        (["--output_device", "deaf"], 1, "Cannot open the sound devices: Invalid sample rate"),
        (["--name_model", "missing"], 1, "No network at"),
    ],
)
def test_mistakes_end_in_a_sentence(card, run_main, options, code, sentence):
    outcome = run_main("--mode", "streaming", *options)
    assert outcome.code == code
    assert sentence in outcome.err
    assert outcome.err.splitlines()[-1].startswith("error: ")
    assert outcome.out == ""


def test_sound_devices_are_optional(monkeypatch, run_main):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    outcome = run_main("--mode", "streaming")
    assert outcome.code == 1
    assert "requirements-extra.txt" in outcome.err


def test_level_of_the_voice_may_be_told(networks, run_main, card):
    card.sound = noise(4 * 8000)
    outcome = stream_devices(
        run_main,
        networks["gate"],
        *("--level_dbfs", "-45", "--sample_rate_device", "8000", "--duration", "4"),
    )
    assert outcome.code == 0
    played = np.concatenate(card.played, axis=1)[0]
    rms = np.full(1, 10 ** (-45 / 20), np.float32)
    enhancer = Enhancer.load(networks["gate"], threads=1)
    wanted = enhancer.stream(8000, 1, 0, rms).feed(card.sound)[0]
    latency = round(algorithmic_latency(enhancer, 8000) * 8000) + 2 * 128
    heard = min(len(played) - latency, len(wanted))
    assert heard > 8000
    np.testing.assert_allclose(played[latency : latency + heard], wanted[:heard], atol=1e-5)
