"""Recordings and command lines that are broken, odd or hostile.

Each is denoised, or refused with one sentence; none changes its input, leaves something
half-written, or ends in a traceback.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import small_networks
import soundfile

from benchmarks import fuzz
from speech_enhancement.cli import main
from speech_enhancement.corpora import pools
from speech_enhancement.errors import UserError
from speech_enhancement.files import audio_files, audio_io, headers, unfinished, wav_chunks
from speech_enhancement.files.atomic import PARTIAL
from speech_enhancement.web import denoiser as web_denoiser
from speech_enhancement.web import server

REPOSITORY = Path(__file__).resolve().parent.parent
RATE = 8000
TONE = (0.2 * np.sin(2 * np.pi * 440 * np.arange(4000) / RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return small_networks.save_gate(folder)


def encoded(sound=TONE, rate=RATE, subtype="PCM_16", container="WAV"):
    """The bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, sound, rate, subtype=subtype, format=container)
    return file.getvalue()


def riff(sound=TONE, **fields):
    """The bytes of a WAV file, some fields of its header replaced: name -> value."""
    places = {"riff_size": (4, "<I"), "tag": (20, "<H"), "channels": (22, "<H"), "rate": (24, "<I")}
    places |= {"data_size": (40, "<I"), "bits": (34, "<H")}
    data = (np.asarray(sound) * 32767).astype("<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        RATE,
        2 * RATE,
        2,
        16,
    )
    file = bytearray(header + struct.pack("<4sI", b"data", len(data)) + data)
    for name, value in fields.items():
        offset, kind = places[name]
        struct.pack_into(kind, file, offset, value)
    return bytes(file)


def chunk(name, data):
    return struct.pack("<4sI", name, len(data)) + data + b"\0" * (len(data) % 2)


def with_chunk_before_data(name, data):
    file = riff()
    return file[:36] + chunk(name, data) + file[36:]


def noise_bytes(n):
    return np.random.default_rng(0).integers(0, 256, n, np.uint8).tobytes()


def many(channels):
    return np.tile(TONE[:, None], (1, channels))


def with_value(value, dtype=np.float32, subtype="FLOAT"):
    sound = TONE.astype(dtype)
    sound[100] = value
    return encoded(sound, subtype=subtype)


DENOISED = None
UNREADABLE = r"Cannot read .* as audio: "
IF_PYAV = DENOISED if importlib.util.find_spec("av") else UNREADABLE
NOT_FINITE = "NaN or infinite samples"

# What is in the file, under which name, and the sentence that refuses it, if it is refused.
FILES = {
    "empty": (b"", "a.wav", UNREADABLE),
    "half a header": (riff()[:20], "a.wav", UNREADABLE),
    "header without data": (riff()[:36], "a.wav", f"({UNREADABLE}|No samples)"),
    "no samples": (encoded(TONE[:0]), "a.wav", "No samples in"),
    "one sample": (encoded(TONE[5:6]), "a.wav", DENOISED),
    "two samples": (encoded(TONE[5:7]), "a.wav", DENOISED),
    "all zeros": (encoded(0 * TONE), "a.wav", DENOISED),
    "a constant": (encoded(0 * TONE + 0.5), "a.wav", DENOISED),
    "full-scale square": (encoded(np.sign(TONE), subtype="PCM_16"), "a.wav", DENOISED),
    "one impulse": (encoded(np.eye(1, 4000, 7)[0]), "a.wav", DENOISED),
    "a NaN": (with_value(np.nan), "a.wav", NOT_FINITE),
    "an infinity": (with_value(np.inf), "a.wav", NOT_FINITE),
    "a negative infinity": (with_value(-np.inf), "a.wav", NOT_FINITE),
    "beyond float32": (with_value(1e300, np.float64, "DOUBLE"), "a.wav", NOT_FINITE),
    "denormals": (encoded(TONE * np.float32(1e-39), subtype="FLOAT"), "a.wav", DENOISED),
    "a thousand times full scale": (encoded(1e3 * TONE, subtype="FLOAT"), "a.wav", DENOISED),
    "astronomic": (encoded(1e30 * TONE, subtype="FLOAT"), "a.wav", DENOISED),
    "text": (b"this is not sound\n" * 50, "a.wav", UNREADABLE),
    "a picture": (b"\x89PNG\r\n\x1a\n" + noise_bytes(500), "a.wav", UNREADABLE),
    "random bytes": (noise_bytes(5000), "a.wav", UNREADABLE),
    "random bytes as mp3": (noise_bytes(5000), "a.mp3", UNREADABLE),
    "random bytes as flac": (noise_bytes(5000), "a.flac", UNREADABLE),
    "random bytes as m4a": (noise_bytes(5000), "a.m4a", "Cannot read"),
    "random bytes after RIFF": (riff()[:12] + noise_bytes(500), "a.wav", "a.wav"),
    "zip": (b"PK\x03\x04" + noise_bytes(200), "a.ogg", UNREADABLE),
    "flac named wav": (encoded(container="FLAC"), "a.wav", DENOISED),
    "wav named flac": (encoded(), "a.flac", DENOISED),
    "wav named mp3": (encoded(), "a.mp3", DENOISED),
    "wav without a suffix": (encoded(), "recording", DENOISED),
    "wav named txt": (encoded(), "a.txt", DENOISED),
    "suffix in capitals": (encoded(), "A.WAV", DENOISED),
    "data cut off": (riff()[:3000], "a.wav", DENOISED),
    "data cut off in a sample": (riff()[:3001], "a.wav", DENOISED),
    "data size too large": (riff(data_size=2**32 - 1, riff_size=2**32 - 1), "a.wav", DENOISED),
    "riff size zero": (riff(riff_size=0), "a.wav", DENOISED),
    "riff size nonsense": (riff(riff_size=7), "a.wav", DENOISED),
    "unknown sample type": (riff(tag=0x1234), "a.wav", UNREADABLE),
    "no channels": (riff(channels=0), "a.wav", UNREADABLE),
    "no bits": (riff(bits=0), "a.wav", UNREADABLE),
    "no rate": (riff(rate=0), "a.wav", f"({UNREADABLE}|`rate` must be)"),
    "100 Hz": (
        encoded(rate=100),
        "a.wav",
        "a.wav: `rate` must be between 1000 and 768000 Hz. Received: 100",
    ),
    "a rate of 2 GHz": (riff(rate=2**31 - 1), "a.wav", "`rate` must be"),
    "1 kHz": (encoded(rate=1000), "a.wav", DENOISED),
    "a prime rate": (encoded(rate=37123), "a.wav", DENOISED),
    "192 kHz": (encoded(rate=192000), "a.wav", DENOISED),
    "17 channels": (encoded(many(17)), "a.wav", DENOISED),
    "100 channels": (
        encoded(many(100)),
        "a.wav",
        "The number of channels must be between 1 and 64. Received: 100",
    ),
    "8 bits": (encoded(subtype="PCM_U8"), "a.wav", DENOISED),
    "24 bits": (encoded(subtype="PCM_24"), "a.wav", DENOISED),
    "32 bits": (encoded(subtype="PCM_32"), "a.wav", DENOISED),
    "64-bit floats": (encoded(subtype="DOUBLE"), "a.wav", DENOISED),
    "A-law": (encoded(subtype="ALAW"), "a.wav", DENOISED),
    "mu-law": (encoded(subtype="ULAW", container="AU"), "a.au", DENOISED),
    "ADPCM": (encoded(subtype="MS_ADPCM"), "a.wav", DENOISED),
    "GSM": (encoded(subtype="GSM610"), "a.wav", DENOISED),
    "extensible wav": (encoded(many(4), container="WAVEX"), "a.wav", DENOISED),
    "RF64": (encoded(container="RF64"), "a.wav", DENOISED),
    "W64": (encoded(container="W64"), "a.w64", DENOISED),
    "CAF": (encoded(container="CAF"), "a.caf", DENOISED),
    "aiff": (encoded(container="AIFF"), "a.aif", DENOISED),
    "flac": (encoded(container="FLAC"), "a.flac", DENOISED),
    "flac cut off": (encoded(container="FLAC")[:1500], "a.flac", UNREADABLE),
    "flac with garbage after it": (encoded(container="FLAC") + b"x" * 999, "a.flac", DENOISED),
    "mp3": (encoded(subtype=None, container="MP3"), "a.mp3", DENOISED),
    "mp3 cut off": (
        encoded(np.tile(TONE, 9), subtype=None, container="MP3")[:4000],
        "a.mp3",
        DENOISED,
    ),
    "ogg": (encoded(subtype="VORBIS", container="OGG"), "a.ogg", DENOISED),
    "opus": (encoded(subtype="OPUS", container="OGG"), "a.opus", DENOISED),
    "opus cut off": (encoded(subtype="OPUS", container="OGG")[:300], "a.opus", UNREADABLE),
    "a chunk of junk": (with_chunk_before_data(b"JUNK", b"x" * 333), "a.wav", DENOISED),
    "broken tags": (with_chunk_before_data(b"LIST", b"INFOINAM\xff\xff"), "a.wav", IF_PYAV),
    "spaces in its name": (encoded(), "two words .wav", DENOISED),
    "Unicode in its name": (encoded(), "Gespräch – 会話 🎙.wav", DENOISED),
    "a newline in its name": (encoded(), "two\nlines.wav", DENOISED),
    "quotes and shell characters": (encoded(), "a'b\"c$d`e;f&g|h*[i]?.wav", DENOISED),
    "a name that is no UTF-8": (encoded(), os.fsdecode(b"\xff\xfe.wav"), DENOISED),
    "a name of 255 bytes": (encoded(), "n" * 251 + ".wav", DENOISED),
    "a name with many dots": (encoded(), "a.b..c.wav", DENOISED),
    "a hidden name": (encoded(), ".hidden.wav", DENOISED),
    "percent signs and braces": (encoded(), "%s{0}%d.wav", DENOISED),
}

SILENCE = "there is only silence in it"
# What is said of those that are denoised.
NOTES = dict.fromkeys(("all zeros", "denormals", "a constant"), SILENCE)
NOTES |= dict.fromkeys(("data cut off", "data cut off in a sample"), unfinished.CUT)


def test_the_tables_are_long_enough():
    """At least 60 files, whose names do not count twice, some of each outcome."""
    assert len(FILES) >= 60
    assert len({(data, name) for data, name, _ in FILES.values()}) == len(FILES)
    refused = [sentence for *_, sentence in FILES.values() if sentence is not DENOISED]
    assert len(refused) >= 20
    assert len(FILES) - len(refused) >= 40
    assert len(FILES) + len(INPUTS) + len(OPTIONS) >= 110


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_denoised_or_refused_in_one_sentence(name, weights, tmp_path, run_main):
    data, file_name, sentence = FILES[name]
    source = tmp_path / "in" / file_name
    source.parent.mkdir()
    source.write_bytes(data)
    outcome = predict(run_main, weights, tmp_path, "--", source)
    assert source.read_bytes() == data
    if sentence is DENOISED:
        assert outcome.code == 0, outcome.err
        assert outcome.err == (f"note: {source}: {NOTES[name]}\n" if name in NOTES else "")
        if name != "broken tags":  # libsndfile, with which the result is checked, refuses it
            check_result(source, tmp_path / "out")
    else:
        check_refusal(outcome, sentence, tmp_path / "out")


def predict(run_main, weights, tmp_path, *arguments):
    """Run the command with results in `out`."""
    return run_main(
        f"--weights_folder={weights.parent}",
        f"--name_model={weights.name}",
        f"--dir_save_prediction={tmp_path / 'out'}",
        *arguments,
    )


def check_result(source, out):
    """The one result has the recording's shape and finite samples, and nothing lies beside it."""
    results = [p for p in out.iterdir() if p.name not in ("denoised.jsonl", "summary.json")]
    assert len(results) == 1, results
    names = os.fsencode(source), os.fsencode(results[0])
    with soundfile.SoundFile(names[0]) as noisy, soundfile.SoundFile(names[1]) as denoised:
        samples = denoised.read(denoised.frames, always_2d=True)
        assert np.isfinite(samples).all()
        wanted = noisy.read(noisy.frames, always_2d=True)
        assert samples.shape == wanted.shape
        assert denoised.samplerate == noisy.samplerate
    assert PARTIAL not in results[0].name


def check_refusal(outcome, sentence, out, code=1):
    """One line of error that holds the sentence, and no result."""
    assert outcome.code == code
    errors = outcome.err.splitlines()
    assert len(errors) == 1, outcome.err
    assert errors[0].startswith("error: ")
    assert re.search(sentence, errors[0]), errors[0]
    results = sorted(p.name for p in out.rglob("*")) if out.exists() else []
    assert set(results) <= {"denoised.jsonl", "summary.json"}


@pytest.fixture
def recording(tmp_path):
    """A recording in a folder of its own."""
    path = tmp_path / "in" / "a.wav"
    path.parent.mkdir()
    path.write_bytes(encoded())
    return path


def missing_file(folder):
    return folder / "missing.wav"


def missing_pattern(folder):
    return folder / "*.flac"


def empty_folder(folder):
    (folder / "none").mkdir()
    return folder / "none"


def folder_of_text(folder):
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("a")
    return folder / "texts"


def only_deeper(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "a.wav").write_bytes(encoded())
    return folder / "deep"


def pipe_file(folder):
    os.mkfifo(folder / "pipe.wav")
    return folder / "pipe.wav"


def device(folder):
    return "/dev/zero"


def link_loop(folder):
    (folder / "b.wav").symlink_to(folder / "c.wav")
    (folder / "c.wav").symlink_to(folder / "b.wav")
    return folder / "b.wav"


def broken_link(folder):
    (folder / "b.wav").symlink_to(folder / "nowhere.wav")
    return folder / "b.wav"


def zero_byte(folder):
    return "a\0b.wav"


def missing_folder(folder):
    return folder / "nowhere" / "a.wav"


def home_that_no_shell_expanded(folder):
    return "~/a.wav"


def name_too_long(folder):
    return folder / ("n" * 300 + ".wav")


INPUTS = {
    missing_file: "No such file",
    missing_pattern: "No recordings match",
    empty_folder: "No recordings in",
    folder_of_text: "No recordings in",
    only_deeper: "No recordings in .*--recursive",
    pipe_file: "it is not a file",
    device: "it is not a file",
    link_loop: "Cannot read .*b.wav",
    broken_link: "No such file",
    zero_byte: "Cannot read",
    missing_folder: "No such file",
    home_that_no_shell_expanded: "No such file",
    name_too_long: "File name too long",
}


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
def test_an_input_that_is_no_recording_is_refused(make, weights, tmp_path, run_main, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = make(tmp_path)
    check_refusal(predict(run_main, weights, tmp_path, source), INPUTS[make], tmp_path / "out")
    beside = run_main(f"--weights_folder={weights.parent}", f"--name_model={weights.name}", source)
    check_refusal(beside, INPUTS[make], tmp_path / "out")
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "~").exists()


def test_an_empty_input_is_refused(weights, tmp_path, run_main):
    outcome = predict(run_main, weights, tmp_path, "")
    check_refusal(outcome, "must be a path or a pattern", tmp_path / "out", code=2)


class TestALeadingDash:
    @pytest.fixture(autouse=True)
    def recording(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "-a.wav").write_bytes(encoded())

    @pytest.mark.parametrize("arguments", [["./-a.wav"], ["--", "-a.wav"], ["*.wav"]])
    def test_a_file_of_such_a_name_is_denoised(self, arguments, weights, tmp_path, run_main):
        outcome = predict(run_main, weights, tmp_path, *arguments)
        assert outcome.code == 0, outcome.err
        check_result(tmp_path / "-a.wav", tmp_path / "out")

    def test_it_is_told_apart_from_an_option(self, weights, tmp_path, run_main):
        outcome = predict(run_main, weights, tmp_path, "-a.wav")
        check_refusal(outcome, r"for the file, write \./-a\.wav", tmp_path / "out", code=2)


OPTIONS = {
    "--strength=1.5": "`--strength` must be a number from 0 to 1. Received: 1.5",
    "--strength=nan": "`--strength` must be a number from 0 to 1",
    "--strength=much": "`--strength` must be a number from 0 to 1. Received: much",
    "--max_attenuation_db=-3": "`--max_attenuation_db` must be a number of at least 0",
    "--max_attenuation_db=inf": "`--max_attenuation_db` must be a number of at least 0",
    "--window_overlap=0.6": "`--window_overlap` must be a number from 0 to 0.5. Received: 0.6",
    "--jobs=0": "`--jobs` must be a whole number of at least 1. Received: 0",
    "--threads=-1": "`--threads` must be a whole number of at least 1. Received: -1",
    "--normalise_lufs=3": "`--normalise_lufs` must be a number from -70 to 0. Received: 3",
    "--start=soon": "`--start` must be seconds, min:s or h:min:s. Received: soon",
    "--start=-1": "`--start` must be seconds, min:s or h:min:s. Received: -1",
    "--start=1:2:3:4": "`--start` must be seconds, min:s or h:min:s",
    "--end=0": "`end` must be after `start`",
    "--suffix=/x": "`--suffix` must be part of a name",
    "--format=wma": "`--format` must be one of .*flac.* Received: wma",
    "--runtime=abacus": "`--runtime` must be one of .*onnx.* Received: abacus",
    "--raw_format=s16": "`raw_format` must be TYPE,RATE",
    "--raw_format=s17,8000": "`raw_format` must be TYPE,RATE",
    "--raw_format=s16,0": "`raw_format` must be TYPE,RATE",
    "--raw_format=s16,8000,0": "`raw_format` must be TYPE,RATE",
    "--raw_format=s16,99999999999": "`raw_format` must be TYPE,RATE",
    "--audio_output_prediction=": "names one result",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_out_of_range_is_a_usage_error(option, weights, tmp_path, recording, run_main):
    if option.startswith("--audio_output"):
        (recording.parent / "b.wav").write_bytes(encoded())
        option += "x.wav"
    outcome = predict(run_main, weights, tmp_path, recording.parent, option)
    check_refusal(outcome, OPTIONS[option.replace("=x.wav", "=")], tmp_path / "out", code=2)


def test_a_start_beyond_the_end_is_refused(weights, tmp_path, recording, run_main):
    outcome = predict(run_main, weights, tmp_path, recording, "--start", "1:00")
    check_refusal(outcome, "No samples in .* from 60 s on", tmp_path / "out")


def test_a_result_of_too_long_a_name_is_refused(weights, tmp_path, run_main):
    source = tmp_path / ("n" * 251 + ".wav")
    source.write_bytes(encoded())
    outcome = run_main(f"--weights_folder={weights.parent}", f"--name_model={weights.name}", source)
    check_refusal(outcome, ": File name too long$", tmp_path / "out")


# Kind: a format that is asked for does not hold every rate and number of channels.
@pytest.mark.parametrize(
    ("suffix", "channels", "rate", "nearest"),
    [
        ("opus", 1, 37123, "ogg"),
        ("mp3", 1, 37123, "ogg"),
        ("mp3", 3, 16000, "ogg"),
        ("flac", 9, 8000, "wav"),
        ("ogg", 1, 220_000, "flac"),
        ("mp3", 9, 220_000, "wav"),
    ],
)
def test_a_format_that_does_not_hold_the_recording_gives_way_to_the_nearest(
    suffix, channels, rate, nearest, weights, tmp_path, run_main
):
    source = tmp_path / "a.wav"
    source.write_bytes(encoded(many(channels), rate=rate))
    outcome = predict(run_main, weights, tmp_path, source, "--format", suffix)
    assert outcome.code == 0, outcome.err
    assert f".{suffix} does not hold {channels} channel" in outcome.err
    file = soundfile.info(tmp_path / "out" / f"a.{nearest}")
    assert (file.samplerate, file.channels) == (rate, channels)
    assert not (tmp_path / "out" / f"a.{suffix}").exists()
    assert f"out/a.{nearest}" in outcome.out


def test_one_bad_file_does_not_stop_the_others(weights, tmp_path, recording, run_main):
    (recording.parent / "0.wav").write_text("no sound")
    (recording.parent / "z.wav").write_bytes(encoded())
    outcome = predict(run_main, weights, tmp_path, recording.parent)
    assert outcome.code == 1
    assert re.fullmatch(r"error: Cannot read .*0\.wav as audio: .*\n", outcome.err)
    assert "2 done, 1 failed" in outcome.out
    assert {p.name for p in (tmp_path / "out").glob("*.wav")} == {"a.wav", "z.wav"}


def test_links_that_go_round_are_walked_once(weights, tmp_path, recording, run_main):
    (recording.parent / "again").symlink_to(recording.parent, target_is_directory=True)
    outcome = predict(run_main, weights, tmp_path, recording.parent, "--recursive")
    assert "1 done" in outcome.out


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_a_result_never_replaces_its_recording(link, weights, tmp_path, recording, run_main):
    target = recording
    if link is not None:
        target = tmp_path / "other.wav"
        link(recording, target)
    before = recording.read_bytes()
    outcome = run_main(
        f"--weights_folder={weights.parent}",
        f"--name_model={weights.name}",
        recording,
        f"--audio_output_prediction={target}",
        "--overwrite",
    )
    check_refusal(outcome, "is the recording itself", tmp_path / "out")
    assert recording.read_bytes() == before


def test_a_foreign_file_is_replaced_only_on_demand(weights, tmp_path, recording, run_main):
    (tmp_path / "out").mkdir()
    foreign = tmp_path / "out" / "a.wav"
    foreign.write_text("precious")
    outcome = predict(run_main, weights, tmp_path, recording)
    assert outcome.code == 1
    assert "a.wav exists already; give --overwrite to replace it" in outcome.err
    assert predict(run_main, weights, tmp_path, recording).code == 1
    assert foreign.read_text() == "precious"
    assert predict(run_main, weights, tmp_path, recording, "--overwrite").code == 0
    assert foreign.stat().st_size == recording.stat().st_size


@pytest.mark.parametrize("name", ["a.png", "a_noise.wav", "summary.json"])
def test_foreign_files_of_other_names_are_replaced_only_on_demand(
    name, weights, tmp_path, recording, run_main
):
    (tmp_path / "out").mkdir()
    foreign = tmp_path / "out" / name
    foreign.write_text('["precious"]')
    command = (run_main, weights, tmp_path, recording, "--plot", "--save_noise")
    outcome = predict(*command)
    assert outcome.code == 1
    assert f"{foreign} exists already; give --overwrite to replace it" in outcome.err
    assert foreign.read_text() == '["precious"]'
    assert not (tmp_path / "out" / "a.wav").exists()
    assert predict(*command, "--overwrite").code == 0
    assert foreign.read_bytes() != b'["precious"]'
    assert predict(*command).code == 0


def test_what_the_system_refuses_is_one_sentence(run_main, monkeypatch):
    def refused(options):
        raise PermissionError(errno.EACCES, "Permission denied", "/root/x")

    monkeypatch.setattr("speech_enhancement.registry.resolve", lambda *_: refused)
    outcome = run_main()
    assert (outcome.code, outcome.err) == (1, "error: /root/x: Permission denied\n")


def test_a_folder_in_the_place_of_a_result(weights, tmp_path, recording, run_main):
    (tmp_path / "out" / "a.wav").mkdir(parents=True)
    outcome = predict(run_main, weights, tmp_path, recording, "--overwrite")
    assert outcome.code == 1
    assert "it is not a file" in outcome.err


def test_two_recordings_of_one_result_are_refused(weights, tmp_path, recording, run_main):
    other = tmp_path / "other" / "a.wav"
    other.parent.mkdir()
    other.write_bytes(encoded())
    outcome = predict(run_main, weights, tmp_path, recording, other)
    check_refusal(outcome, "would both be written to", tmp_path / "out", code=2)


def test_a_recording_named_twice_is_denoised_once(weights, tmp_path, recording, run_main):
    outcome = predict(run_main, weights, tmp_path, recording, recording, recording.parent)
    assert "1 done" in outcome.out


def without_privilege():
    """What makes a command respect read-only folders, for whom they are none."""
    if os.geteuid():
        return []
    setpriv = shutil.which("setpriv") or pytest.skip("nothing is read-only for root")
    return [setpriv, "--bounding-set=-dac_override", "--inh-caps=-dac_override"]


class TestPlacesThatCannotBeWritten:
    def test_a_file_in_place_of_the_folder(self, weights, tmp_path, recording, run_main):
        (tmp_path / "out").write_text("a file")
        outcome = predict(run_main, weights, tmp_path, recording)
        assert outcome.code == 1
        assert "`dir_save_prediction` must be a folder" in outcome.err

    def test_a_file_in_place_of_a_folder_above(self, weights, tmp_path, recording, run_main):
        (tmp_path / "out").write_text("a file")
        outcome = predict(run_main, weights, tmp_path / "out", recording)
        assert outcome.code == 1
        assert "Cannot write" in outcome.err

    @pytest.mark.parametrize("beside", [False, True])
    def test_a_read_only_folder(self, beside, weights, tmp_path, recording):
        place = recording.parent if beside else tmp_path / "out"
        place.mkdir(exist_ok=True)
        place.chmod(0o555)
        command = [*without_privilege(), sys.executable, REPOSITORY / "main.py", recording]
        command += ["--weights_folder", weights.parent, "--name_model", weights.name]
        command += [] if beside else ["--dir_save_prediction", place]
        done = subprocess.run(command, capture_output=True, text=True)
        place.chmod(0o755)
        assert done.returncode == 1
        assert re.match(r"error: Cannot write .*: Permission denied\n", done.stderr), done.stderr
        assert list(place.iterdir()) == ([recording] if beside else [])

    def test_a_file_system_that_takes_no_files(self, weights, recording, run_main):
        outcome = run_main(
            f"--weights_folder={weights.parent}",
            f"--name_model={weights.name}",
            recording,
            "--dir_save_prediction=/proc/self/out",
        )
        assert outcome.code == 1
        assert "Cannot write /proc/self/out" in outcome.err

    @pytest.mark.parametrize("options", [(), ("--save_noise",), ("--normalise_lufs=-20",)])
    def test_a_full_disk(self, options, weights, tmp_path, run_main):
        source = tmp_path / "a.wav"
        source.write_bytes(encoded(np.tile(TONE, 20)))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            outcome = predict(run_main, weights, tmp_path, source, *options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        check_refusal(outcome, "Cannot write .*File too large", tmp_path / "out")


class TestNetworks:
    @pytest.mark.parametrize("suffix", [".onnx", ".json"])
    def test_one_of_its_files_names_it(self, suffix, weights, tmp_path, recording, run_main):
        name = f"--name_model={weights.name}{suffix}"
        assert predict(run_main, weights, tmp_path, recording, name).code == 0

    def copy(self, weights, tmp_path):
        for suffix in (".onnx", ".json"):
            data = weights.with_suffix(suffix).read_bytes()
            (tmp_path / f"copy{suffix}").write_bytes(data)
        return tmp_path / "copy"

    def edit_card(self, stem, **fields):
        card = json.loads(stem.with_suffix(".json").read_text())
        stem.with_suffix(".json").write_text(json.dumps({**card, **fields}))

    def check(self, stem, sentence, tmp_path, recording, run_main, *options):
        outcome = predict(run_main, stem, tmp_path, recording, *options)
        check_refusal(outcome, sentence, tmp_path / "out")

    def test_none_of_that_name(self, weights, tmp_path, recording, run_main):
        stem = weights.with_name("absent")
        self.check(stem, "No network at .*absent.onnx.*gate", tmp_path, recording, run_main)

    def test_no_card(self, weights, tmp_path, recording, run_main):
        stem = self.copy(weights, tmp_path)
        stem.with_suffix(".json").unlink()
        self.check(stem, "No model card at .*copy.json", tmp_path, recording, run_main)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "unet"}', "\x00"])
    def test_a_card_that_is_none(self, text, weights, tmp_path, recording, run_main):
        stem = self.copy(weights, tmp_path)
        stem.with_suffix(".json").write_text(text)
        self.check(stem, "is not a model card", tmp_path, recording, run_main)

    def test_a_card_of_another_network(self, weights, tmp_path, recording, run_main):
        stem = self.copy(weights, tmp_path)
        self.edit_card(stem, sha256={".onnx": "0" * 64})
        self.check(stem, "is not the network that copy.json", tmp_path, recording, run_main)

    def test_a_card_of_another_geometry(self, weights, tmp_path, recording, run_main):
        stem = self.copy(weights, tmp_path)
        audio = json.loads(stem.with_suffix(".json").read_text())["audio"]
        self.edit_card(stem, audio={**audio, "n_fft": 511, "frame_length": 8192})
        self.check(stem, "they do not belong together", tmp_path, recording, run_main)

    def test_bytes_that_are_no_network(self, weights, tmp_path, recording, run_main):
        stem = self.copy(weights, tmp_path)
        stem.with_suffix(".onnx").write_bytes(b"nothing")
        digest = hashlib.sha256(b"nothing").hexdigest()
        self.edit_card(stem, sha256={".onnx": digest})
        self.check(stem, "ONNX Runtime cannot read", tmp_path, recording, run_main)

    def test_a_runtime_without_its_file(self, weights, tmp_path, recording, run_main):
        option = "--runtime=keras"
        self.check(weights, r"No network at .*\.keras", tmp_path, recording, run_main, option)

    @pytest.mark.parametrize(
        ("damage", "sentence"),
        [
            (lambda data: b"", "copy.keras is damaged: File is not a zip file"),
            (lambda data: data[:-2000], "copy.keras is damaged: File is not a zip file"),
            (lambda data: flip(data, 40_000), "copy.keras is damaged: Bad CRC-32"),
            (lambda data: zipped({}), "it has no config.json"),
            (
                lambda data: zipped({"config.json": b"["}),
                "copy.keras is not a Keras network: it is no",
            ),
            (lambda data: zipped({"config.json": b"[" * 10**5}), "nested more than"),
            (lambda data: zipped({"config.json": b" " * 2**27}), "unpacks to more than 64 MiB"),
            (lambda data: zipped({f"{k}": b" " * 2**24 for k in range(5)}), "unpacks to more than"),
        ],
    )
    def test_a_damaged_keras_network(
        self, damage, sentence, demo_data, tmp_path, recording, run_main
    ):
        """It ended in `BadZipFile`, or in all of the memory."""
        shipped = demo_data.parent / "weights" / "lstm"
        data = damage(shipped.with_suffix(".keras").read_bytes())
        stem = tmp_path / "copy"
        stem.with_suffix(".json").write_bytes(shipped.with_suffix(".json").read_bytes())
        stem.with_suffix(".keras").write_bytes(data)
        self.edit_card(stem, sha256={".keras": hashlib.sha256(data).hexdigest()})
        self.check(stem, sentence, tmp_path, recording, run_main, "--runtime=keras")


def flip(data, place):
    """Bytes, one of which is another."""
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


def zipped(files):
    """A compressed archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    return archive.getvalue()


class TestPipes:
    def run(self, monkeypatch, capsysbinary, data, weights, *options):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main.main(
            [f"--weights_folder={weights.parent}", f"--name_model={weights.name}", "-", *options]
        )
        return code, *capsysbinary.readouterr()

    @pytest.mark.parametrize("data", [b"", b"no sound", riff()[:30]])
    def test_no_sound(self, data, monkeypatch, capsysbinary, weights):
        code, out, err = self.run(monkeypatch, capsysbinary, data, weights)
        assert (code, out) == (1, b"")
        assert re.fullmatch(rb"error: (Cannot read|No samples in) standard input.*\n", err)

    def test_wav(self, monkeypatch, capsysbinary, weights):
        code, out, err = self.run(monkeypatch, capsysbinary, riff(data_size=2**32 - 1), weights)
        assert (code, err) == (0, b"")
        assert soundfile.read(io.BytesIO(out))[0].shape == TONE.shape

    @pytest.mark.parametrize("audio_format", ["wav", "flac", "mp3", "ogg"])
    def test_what_is_limited_is_said(self, audio_format, monkeypatch, capsysbinary, weights):
        options = (f"--format={audio_format}", "--strength=0")
        subtype = "PCM_16" if audio_format == "wav" else "FLOAT"  # a WAV of floats has no limit
        data = encoded(4 * TONE if subtype == "PCM_16" else 9 * TONE, subtype=subtype)
        code, out, err = self.run(monkeypatch, capsysbinary, data, weights, *options)
        assert code == 0
        assert np.abs(soundfile.read(io.BytesIO(out))[0]).max() > 0.7
        is_limited = re.fullmatch(rb"note: standard input: \d+ samples clipped\n", err)
        assert bool(is_limited) == (audio_format != "wav")

    def test_raw_with_half_a_sample_at_the_end(self, monkeypatch, capsysbinary, weights):
        data = (TONE * 32767).astype("<i2").tobytes() + b"\x01"
        options = ("--raw_format=s16,8000",)
        code, out, err = self.run(monkeypatch, capsysbinary, data, weights, *options)
        assert (code, err) == (0, b"")
        assert len(out) == len(data) - 1

    def test_a_pipe_goes_alone(self, weights, recording, run_main, tmp_path):
        outcome = run_main("-", recording)
        check_refusal(outcome, "The input - must be the only input", tmp_path / "out", code=2)

    @pytest.mark.parametrize("option", ["--dir_save_prediction=o", "--audio_output_prediction=o"])
    def test_a_pipe_has_no_files(self, option, run_main, tmp_path):
        outcome = run_main("-", option)
        check_refusal(outcome, "only has an effect without the input -", tmp_path / "out", code=2)

    def test_no_pipe_at_all(self, run_main, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "stdin", None)
        check_refusal(run_main("-"), "There is no standard input to read", tmp_path / "out")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
    def test_a_reader_without_space(self, weights):
        command = [sys.executable, "main.py", f"--weights_folder={weights.parent}", "-"]
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            process = subprocess.run(
                [*command, f"--name_model={weights.name}"],
                cwd=REPOSITORY,
                input=encoded(),
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert process.returncode == 1
        assert process.stderr == b"error: No space left on device\n"


def test_containers_need_a_library_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    source = tmp_path / "a.m4a"
    source.write_bytes(noise_bytes(100))
    with pytest.raises(UserError, match=r"requirements-extra\.txt"):
        audio_files.Recording(source)


# Kind: an encoder that ends the whole process at samples far beyond full scale.
@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus"])
def test_lossy_encoders_get_sound_within_full_scale(suffix, weights, tmp_path, run_main):
    source = tmp_path / "loud.wav"
    source.write_bytes(encoded(1e8 * TONE, subtype="FLOAT"))
    outcome = predict(run_main, weights, tmp_path, source, "--format", suffix, "--strength", 0.5)
    assert outcome.code == 0, outcome.err
    assert "samples clipped" in outcome.out
    samples, _ = soundfile.read(tmp_path / "out" / f"loud.{suffix}")
    assert np.abs(samples).max() < 4.0  # lossy coding overshoots what it was given


# Kind: a decoder's own exceptions, which are not only those that it documents.
@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        AttributeError("'AudioStream' object has no attribute 'rate'"),
        MemoryError(),
        ValueError("Invalid channel layout"),
    ],
)
def test_whatever_a_decoder_raises_is_one_sentence(error, tmp_path, monkeypatch):
    av = pytest.importorskip("av")

    def fail(*_):
        raise error

    monkeypatch.setattr(av, "open", fail)
    source = tmp_path / "a.m4a"
    source.write_bytes(noise_bytes(500))
    with pytest.raises(UserError, match=UNREADABLE) as refusal:
        audio_files.Recording(source)
    assert type(error).__name__ not in str(refusal.value)


# Kind: something beside the sound (a table, a picture) that cannot be had costs the sound, too.
def test_a_name_that_the_terminal_cannot_show_costs_nothing(weights, tmp_path):
    source = tmp_path / "in" / "Gespräch 会話.wav"
    source.parent.mkdir()
    source.write_bytes(riff())
    arguments = [f"--weights_folder={weights.parent}", f"--name_model={weights.name}"]
    command = [sys.executable, REPOSITORY / "main.py", source.parent, *arguments]
    command += ["--dir_save_prediction", tmp_path / "out"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    process = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (0, b"")
    assert rb"\u4f1a\u8a71" in process.stdout
    assert (tmp_path / "out" / "summary.json").is_file()


def test_a_picture_has_a_name_that_is_no_text(weights, tmp_path, run_main):
    source = tmp_path / os.fsdecode(b"caf\xe9.wav")
    source.write_bytes(riff())
    outcome = predict(run_main, weights, tmp_path, source, "--plot")
    assert (outcome.code, outcome.err) == (0, "")
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


def test_a_picture_that_fails_costs_the_picture(
    weights, tmp_path, recording, run_main, monkeypatch
):
    def fail(*_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr("speech_enhancement.inference.pictures.recording_figure", fail)
    outcome = predict(run_main, weights, tmp_path, recording, "--plot")
    assert outcome.code == 0
    assert outcome.err.endswith(f"{recording.name}: there is no picture: RuntimeError: no fonts\n")
    assert ".png" not in outcome.out
    assert (tmp_path / "out" / recording.name).is_file()


# Kind: names are data; what a terminal would obey is shown and not sent.
def test_errors_hold_no_control_codes(run_main):
    outcome = run_main("\x1b[31mred\nline.wav")
    assert "\\x1b[31mred\\nline.wav" in outcome.err


def test_errors_before_any_recording_hold_no_control_codes(run_main):
    outcome = run_main("--audio_dir_prediction", "\x1b[31mred\nfolder")
    assert outcome.code == 1
    assert outcome.err == "error: No such folder: \\x1b[31mred\\nfolder\n"


def replaced(data, place, content):
    """Bytes with others in a place."""
    return data[:place] + content + data[place + len(content) :]


def without_sizes(container):
    """The bytes of a file whose recorder died or wrote to a pipe: its header has no sizes."""
    data = encoded(np.tile(TONE, 9), container=container)
    if container == "WAV":
        data = replaced(data, data.index(b"data") + 4, bytes(4))
        return replaced(data, 4, bytes(4))
    if container == "RF64":
        return replaced(data, data.index(b"ds64") + 8, bytes(24))
    if container == "AIFF":
        data = replaced(data, data.index(b"SSND") + 4, bytes(4))
        data = replaced(data, data.index(b"COMM") + 10, bytes(4))
        return replaced(data, 4, bytes(4))
    if container == "W64":
        return replaced(data, data.index(b"data") + 16, bytes(8))
    if container == "CAF":
        return replaced(data, data.index(b"data") + 4, bytes(8))
    if container == "AU":
        return replaced(data, 8, bytes(4))
    return replaced(data, 21, bytes([data[21] & 0xF0]) + bytes(4))  # FLAC's count of samples


# Kind: headers that were never finished, while all of the sound is there.
@pytest.mark.parametrize("container", ["WAV", "RF64", "AIFF", "W64", "CAF", "AU", "FLAC"])
def test_sound_without_sizes_is_read_to_the_end_of_the_file(container, weights, tmp_path, run_main):
    source = tmp_path / f"died.{container.lower()}"
    source.write_bytes(without_sizes(container))
    sound, _ = audio_io.load_audio(source)
    np.testing.assert_allclose(sound, np.tile(TONE, 9), atol=2.0**-15)
    outcome = predict(run_main, weights, tmp_path, source)
    assert outcome.code == 0, outcome.err
    assert outcome.err == f"note: {source}: {unfinished.UNFINISHED}\n"
    assert soundfile.info(tmp_path / "out" / source.name).frames == 9 * len(TONE)


def test_sound_without_sizes_comes_through_a_pipe(weights):
    options = [f"--weights_folder={weights.parent}", f"--name_model={weights.name}"]
    command = [sys.executable, REPOSITORY / "main.py", "-", *options]
    process = subprocess.run(
        command, input=without_sizes("WAV"), capture_output=True, timeout=60, check=True
    )
    assert soundfile.info(io.BytesIO(process.stdout)).frames == 9 * len(TONE)
    assert process.stderr.decode() == f"note: standard input: {unfinished.UNFINISHED}\n"


RECORDER = """
import os, sys, numpy, soundfile
path, container, rate, *sound = sys.argv[1:]
file = soundfile.SoundFile(path, "w", int(rate), 1, format=container, subtype="PCM_16")
file.write(numpy.float32(sound))
os._exit(1)
"""


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF", "W64", "CAF", "AU"])
def test_a_recorder_that_died_leaves_all_of_its_sound(container, tmp_path):
    path = tmp_path / f"died.{container.lower()}"
    command = [sys.executable, "-c", RECORDER, path, container, str(RATE), *map(str, TONE)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 1
    recording = audio_files.Recording(path)
    sound = np.concatenate(list(recording.blocks()), axis=1)
    np.testing.assert_allclose(sound[0], TONE, atol=2.0**-15)
    assert recording.notes == [unfinished.UNFINISHED]


def test_silence_without_sizes_is_no_empty_recording(tmp_path):
    silence = replaced(riff(np.zeros(4000)), 40, bytes(4))
    (tmp_path / "a.wav").write_bytes(silence)
    assert headers.read_header(tmp_path / "a.wav").duration == 4000 / RATE


@pytest.mark.parametrize("container", ["WAV", "RF64", "AIFF", "W64", "CAF", "AU", "OGG", "FLAC"])
def test_a_copy_that_broke_off_is_read_and_said_to_end_early(container, tmp_path):
    subtype = "VORBIS" if container == "OGG" else "PCM_16"
    data = encoded(np.tile(TONE, 40), subtype=subtype, container=container)
    path = tmp_path / f"cut.{container.lower()}"
    path.write_bytes(data)
    whole = audio_files.Recording(path)
    assert whole.notes == []
    path.write_bytes(data[: len(data) * 3 // 4])
    cut = audio_files.Recording(path)
    assert cut.notes == [unfinished.CUT]
    n_samples = sum(block.shape[1] for block in cut.blocks())
    assert 10 * len(TONE) < n_samples < 40 * len(TONE)


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("n_samples", [1, 4095, 4096, 4097, 50_001])
def test_a_whole_flac_file_is_not_taken_for_a_cut_one(subtype, n_samples, tmp_path, rng):
    """Stereo whose channels are alike changes its coding from frame to frame."""
    mono = np.cumsum(rng.standard_normal((n_samples, 1)), axis=0)
    stereo = mono + rng.standard_normal((n_samples, 2)) * np.linspace(0, 3, n_samples)[:, None]
    path = tmp_path / "a.flac"
    soundfile.write(path, stereo / np.abs(stereo).max(), 44_100, subtype=subtype)
    recording = audio_files.Recording(path)
    assert recording.notes == [] and recording.n_samples == n_samples


def test_a_stream_that_breaks_off_is_read_as_far_as_it_goes(tmp_path):
    (tmp_path / "a.flac").write_bytes(without_sizes("FLAC")[:-5000])
    sound, _ = audio_io.load_audio(tmp_path / "a.flac")
    assert 4 * len(TONE) < len(sound) < 9 * len(TONE)
    np.testing.assert_allclose(sound, np.tile(TONE, 9)[: len(sound)], atol=2.0**-15)


def test_an_ogg_without_its_last_page_is_read_as_far_as_it_goes(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, 20 * RATE).astype(np.float32)
    data = encoded(noise, subtype="VORBIS", container="OGG")
    (tmp_path / "a.ogg").write_bytes(data[: data.rindex(b"OggS")])
    sound, _ = audio_io.load_audio(tmp_path / "a.ogg")
    assert 10 * RATE < len(sound) < len(noise)


def test_a_wav_that_is_empty_and_has_a_chunk_behind_stays_empty(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(TONE[:0]) + chunk(b"note", b"nothing was recorded"))
    with pytest.raises(UserError, match="No samples"):
        audio_io.load_audio(tmp_path / "a.wav")


def test_a_million_empty_chunks_take_no_time(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(riff()[:36] + bytes(8 * 10**6))
    with contextlib.suppress(UserError):
        audio_files.Recording(path)
    with path.open("rb") as file:
        assert sum(1 for _ in wav_chunks.walk(file)) == wav_chunks.MOST_CHUNKS


# Kind: a header that is believed, and costs memory or time out of all proportion to the file.
@pytest.mark.parametrize("fields", [{"rate": 1}, {"rate": 2**31 - 1}, {"channels": 999}])
def test_no_door_believes_a_header_of_such_values(fields, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(riff(**fields))
    for read in (audio_io.load_audio, headers.read_header, audio_files.Recording):
        with pytest.raises(UserError, match="must be between 1"):
            read(path)
    with pytest.raises(UserError, match="must be between 1"):
        list(audio_io.stream_audio(path, 16000))


def test_one_bad_recording_is_left_out_of_training_data_and_named(tmp_path, run_main):
    for kind in ("voices", "noises"):
        for number in range(3):
            folder = tmp_path / kind / str(number)
            folder.mkdir(parents=True)
            noise = np.random.default_rng(number).uniform(-0.5, 0.5, 24000)
            soundfile.write(folder / "a.wav", noise, RATE)
    (tmp_path / "voices" / "bad.wav").write_bytes(riff(rate=1))
    outcome = run_main(
        *("--mode", "data_creation", "--voice_dir", tmp_path / "voices"),
        *("--noise_dir", tmp_path / "noises", "--path_save_time_serie", tmp_path / "sounds"),
        *("--path_save_spectrogram", tmp_path / "data", "--cache_dir", tmp_path / "cache"),
        *("--nb_samples", 4, "--workers", 1),
    )
    assert "bad.wav: `rate` must be" in outcome.err
    assert outcome.code == 1
    assert (tmp_path / "data").is_dir()


def test_one_bad_pair_is_left_out_of_the_scores_and_named(weights, tmp_path, run_main, demo_data):
    for kind in ("clean", "noisy"):
        folder = tmp_path / kind
        folder.mkdir()
        shutil.copy(demo_data / kind / "hum.wav", folder)
        (folder / "bad.wav").write_bytes(riff(rate=1))
    outcome = run_main(
        *("--mode", "evaluation", "--clean_dir", tmp_path / "clean"),
        *("--noisy_dir", tmp_path / "noisy", "--report_dir", tmp_path / "report"),
        *("--systems", "wiener", "--metrics", "si_sdr", "--no-measure_cost", "--jobs", 1),
        *("--weights_folder", weights.parent, "--name_model", weights.name),
    )
    assert "bad.wav: `rate` must be" in outcome.err
    assert (tmp_path / "report" / "report.md").is_file(), outcome.err


# Kind: native code that ends its process at a damaged file.
CRASH = """
import os
import soundfile

class SoundFile(soundfile.SoundFile):
    def __init__(self, file, *arguments, **options):
        if str(file).endswith(("crash.mp3", "stdin")):
            os.abort()
        super().__init__(file, *arguments, **options)

soundfile.SoundFile = SoundFile
"""


def test_a_decoder_that_crashes_costs_its_recording(weights, tmp_path, run_main, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp3", "crash.mp3", "z.mp3"):
        (folder / name).write_bytes(encoded(subtype=None, container="MP3"))
    outcome = predict(run_main, weights, tmp_path, folder)
    assert outcome.code == 1
    assert f"Cannot denoise {folder / 'crash.mp3'}: its process was killed" in outcome.err
    assert "2 done, 1 failed" in outcome.out
    records = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [r["status"] for r in records] == ["done", "failed", "done"]
    assert not list((tmp_path / "out").glob(f"{PARTIAL}*"))


def test_a_decoder_that_crashes_at_standard_input_ends_in_a_sentence(
    weights, tmp_path, monkeypatch, capsysbinary
):
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    data = encoded(subtype=None, container="MP3")
    code, out, err = TestPipes().run(monkeypatch, capsysbinary, data, weights)
    assert (code, out) == (1, b"")
    assert err == b"error: Cannot denoise standard input: its process was killed\n"


def test_a_decoder_that_crashes_costs_data_creation_its_recording(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name, container in (("a.wav", "WAV"), ("crash.mp3", "MP3"), ("z.mp3", "MP3")):
        (tmp_path / name).write_bytes(encoded(subtype=None, container=container))
    files = pools.find_voices(tmp_path)
    pool = pools.AudioPool.build(files, 8000, tmp_path / "cache", progress=False)
    assert [recording.path.name for recording in pool.recordings] == ["a.wav", "z.mp3"]
    assert pool.bad == [
        (
            str(tmp_path / "crash.mp3"),
            f"Cannot read {tmp_path / 'crash.mp3'}: its process was killed",
        )
    ]


def test_a_decoder_that_crashes_costs_evaluation_its_pair(tmp_path, monkeypatch, run_main):
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for kind in ("clean", "noisy"):
        (tmp_path / kind).mkdir()
        for name in ("crash.mp3", "z.mp3"):
            (tmp_path / kind / name).write_bytes(encoded(subtype=None, container="MP3"))
    outcome = run_main(
        *("--mode", "evaluation", "--clean_dir", tmp_path / "clean"),
        *("--noisy_dir", tmp_path / "noisy", "--report_dir", tmp_path / "report"),
        *("--systems", "wiener", "--metrics", "si_sdr", "--no-measure_cost", "--jobs", 1),
    )
    assert "crash.mp3: its process was killed" in outcome.err
    rows = [json.loads(r) for r in (tmp_path / "report" / "rows.jsonl").read_text().splitlines()]
    assert {(row["file"], "error" in row) for row in rows} == {("crash", True), ("z", False)}


def test_a_decoder_that_crashes_does_not_end_the_server(weights, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    denoiser = web_denoiser.WebDenoiser(weights.parent, max_minutes=1)
    sound = encoded(subtype=None, container="MP3")
    for name in ("crash.mp3", "fine.mp3"):
        (tmp_path / name).write_bytes(sound)
    with pytest.raises(UserError, match=r"Cannot denoise crash\.mp3: its process was killed"):
        denoiser.denoise(tmp_path / "crash.mp3", weights.name, 1.0, tmp_path)
    steps = []
    done = denoiser.denoise(
        tmp_path / "fine.mp3", weights.name, 1.0, tmp_path, lambda *step: steps.append(step)
    )
    assert done.sound.is_file()
    assert steps[-1][0] == steps[-1][1]


# Kind: what a killed server leaves of its visitors.
def test_a_server_clears_what_a_killed_one_left(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead, alive = (tmp_path / f"{server.FOLDER_PREFIX}{k}" for k in ("dead", "alive"))
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "a.wav").write_bytes(encoded())
    with server.locked(alive):
        server.remove_remains()
        assert [p.name for p in tmp_path.iterdir()] == [alive.name]


def test_mutants_are_the_same_for_the_same_seed_and_the_first_is_whole():
    data = encoded()
    first, second = (list(fuzz.mutants(data, 28, np.random.default_rng(1))) for _ in range(2))
    assert first == second
    assert first[0] == data
    assert sum(mutant != data for mutant in first) >= 22


@pytest.mark.parametrize(
    ("status", "error", "end"),
    [
        ("done", None, "denoised"),
        ("failed", "Cannot read a.wav as audio: Error : damaged", "refused in a sentence"),
        ("failed", "Cannot denoise a.wav: its process was killed", "process was killed"),
        ("failed", "Cannot denoise a.wav: KeyError: 'a'", "raw exception"),
    ],
)
def test_the_ends_of_mutants_are_told_apart(status, error, end):
    assert fuzz._end_of({"status": status, "error": error}) == end


def test_no_mutant_of_the_published_table_ended_badly():
    page = (Path(fuzz.__file__).with_name("FUZZ.md")).read_text()
    rows = [line.split("|")[1:-2] for line in page.splitlines() if line.startswith("| ")]
    heading, *formats, total = ([cell.strip() for cell in row] for row in rows)
    assert heading[1:] == list(fuzz.ENDS)
    assert [row[0] for row in formats] == [
        *(suffix[1:] for suffix in (*fuzz.SUFFIXES, *fuzz.CONTAINERS)),
        *("json", "keras"),
    ]
    assert sum(map(int, total[1:])) >= 1000
    assert total[4:] == ["0", "0"]


def test_what_the_system_refuses_is_named(weights, tmp_path, recording, run_main, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", "/elsewhere/a.wav")

    monkeypatch.setattr("speech_enhancement.prediction.batch.check_regular_file", refuse)
    outcome = predict(run_main, weights, tmp_path, recording)
    assert outcome.code == 1
    reason = "/elsewhere/a.wav: Permission denied"
    assert outcome.err == f"error: Cannot denoise {recording}: {reason}\n"
