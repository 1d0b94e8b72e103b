"""What becomes of damaged files: mutants of recordings, cards and networks, and how each one ended.

The mutants are the same for the same seed. Recordings go through `python main.py`, a format at a
time, in a process whose memory is limited; cards and networks through what reads them. The table
goes to FUZZ.md, and the command fails if anything ended otherwise than it should:

    python benchmarks/fuzz.py                     # 1260 mutants of recordings, about a minute
    python benchmarks/fuzz.py --mutants 3 --output out/fuzz.md
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import importlib
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speech_enhancement.errors import UserError
from speech_enhancement.files import atomic, provenance
from speech_enhancement.inference import keras_archive
from speech_enhancement.inference.card import ModelCard

REPOSITORY = Path(__file__).resolve().parents[1]
RATE, SECONDS = 16000, 0.5
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".au", ".caf", ".w64")
CONTAINERS = {".m4a": "aac", ".mkv": "flac", ".webm": "libopus"}
MEMORY_BYTES = 8 * 2**30
TIME_LIMIT_S = 900
ENDS = ("denoised", "refused in a sentence", "process was killed", "raw exception", "no answer")
BAD_ENDS = ENDS[3:]
RAW = re.compile(r"Cannot denoise .*: \w+(Error|Exception|Warning|Exit): ")
KILLED = "its process was killed"
LIMITS = (0, 1, 0x7F, 0x80, 0xFF)
NETWORK = "lstm"  # the smallest `.keras` file that is shipped


def mutants(data: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Damaged copies of a file, by each kind of damage in turn.

    Args:
        data: the whole file.
        count: how many.
        rng: decides where and how.
    """
    kinds = (keep, cut, flip, fill, insert, repeat, lie)
    for number in range(count):
        yield bytes(kinds[number % len(kinds)](bytearray(data), rng))


def keep(data: bytearray, rng: np.random.Generator) -> bytearray:
    """The file itself, which must be read."""
    return data


def cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    """The beginning of a file."""
    return data[: rng.integers(len(data))]


def flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A file with up to 32 other bytes."""
    for place in rng.integers(len(data), size=rng.integers(1, 33)):
        data[place] = rng.integers(256)
    return data


def fill(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A file with zeros, ones or noise in some place."""
    begin, most = int(rng.integers(len(data))), int(rng.integers(1, 2000))
    size = len(data[begin : begin + most])
    noise = rng.integers(256, size=size, dtype=np.uint8).tobytes()
    data[begin : begin + size] = (bytes(size), b"\xff" * size, noise)[rng.integers(3)]
    return data


def insert(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A file with noise between two of its bytes."""
    place = rng.integers(len(data))
    noise = rng.integers(256, size=rng.integers(1, 200), dtype=np.uint8).tobytes()
    return data[:place] + noise + data[place:]


def repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A file that has a part of it once more, in another place."""
    begin, place = rng.integers(len(data), size=2)
    part = data[begin : begin + rng.integers(1, 2000)]
    return data[:place] + part + data[place:]


def lie(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A file whose header has an extreme number."""
    place = rng.integers(min(len(data), 256))
    size = rng.choice((1, 2, 4, 8))
    data[place : place + size] = bytes([LIMITS[rng.integers(len(LIMITS))]]) * size
    return data


def recording(path: Path) -> bytes:
    """A short recording in the format of a suffix."""
    times = np.arange(round(RATE * SECONDS)) / RATE
    sound = 0.2 * np.sin(2.0 * np.pi * (200.0 + 300.0 * times) * times).astype(np.float32)
    if path.suffix in CONTAINERS:
        _write_container(path, sound)
    else:
        kind = {".opus": ("OGG", "OPUS"), ".aiff": ("AIFF", None)}
        container, subtype = kind.get(path.suffix, (path.suffix[1:].upper(), None))
        soundfile.write(path, sound, RATE, format=container, subtype=subtype)
    return path.read_bytes()


def _write_container(path: Path, sound: np.ndarray) -> None:
    """Write with PyAV."""
    av: Any = importlib.import_module("av")

    with av.open(str(path), "w") as container:
        rate = 48000 if path.suffix == ".webm" else RATE
        stream = container.add_stream(CONTAINERS[path.suffix], rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[np.newaxis], "fltp", "mono")
        frame.rate, frame.pts = RATE, 0
        resampler = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))


@dataclasses.dataclass
class Row:
    """How the mutants of one format ended.

    Args:
        name: the format.
        ends: how many ended how.
        seconds: it took, in all.
        failures: what ended otherwise than it should.
    """

    name: str
    ends: collections.Counter[str]
    seconds: float
    failures: list[str] = dataclasses.field(default_factory=list)


def fuzz_recordings(suffix: str, count: int, rng: np.random.Generator, folder: Path) -> Row:
    """Denoise mutants of a recording."""
    begin = time.perf_counter()
    noisy, clean = folder / "in", folder / "out"
    noisy.mkdir()
    data = recording(folder / f"a{suffix}")
    for number, mutant in enumerate(mutants(data, count, rng)):
        (noisy / f"{number:04d}{suffix}").write_bytes(mutant)
    command = [sys.executable, "main.py", str(noisy), "--jobs", "2"]
    command += ["--dir_save_prediction", str(clean)]
    try:
        process = subprocess.run(
            command,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT_S,
            check=False,
            preexec_fn=_limit_memory,
        )
    except subprocess.TimeoutExpired:
        return Row(suffix[1:], collections.Counter({"no answer": count}), TIME_LIMIT_S, ["hangs"])
    summary = clean / "summary.json"
    records = json.loads(summary.read_text()) if summary.exists() else []
    ends = collections.Counter(_end_of(record) for record in records)
    ends["no answer"] += count - len(records)
    failures = [r["error"] for r in records if _end_of(r) == "raw exception"]
    if "Traceback" in process.stderr or process.returncode not in (0, 1):
        failures.append(f"exit code {process.returncode}: {process.stderr[-500:]}")
    return Row(suffix[1:], ends, time.perf_counter() - begin, failures)


def _limit_memory() -> None:
    """Keep a process from taking all of the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def _end_of(record: dict) -> str:
    """How one recording ended."""
    if record["status"] != "failed":
        return "denoised"
    if record["error"].endswith(KILLED):
        return "process was killed"
    return "raw exception" if RAW.match(record["error"]) else "refused in a sentence"


def fuzz_reader(
    name: str,
    path: Path,
    read: Callable[[Path], object],
    count: int,
    rng: np.random.Generator,
    folder: Path,
) -> Row:
    """Read mutants of a file."""
    begin = time.perf_counter()
    row = Row(name, collections.Counter(), 0.0)
    target = folder / path.name
    for mutant in mutants(path.read_bytes(), count, rng):
        target.write_bytes(mutant)
        try:
            read(target)
            row.ends["denoised"] += 1
        except UserError:
            row.ends["refused in a sentence"] += 1
        except Exception as error:  # it is what is looked for
            row.ends["raw exception"] += 1
            row.failures.append(repr(error))
    row.seconds = time.perf_counter() - begin
    return row


def table(rows: list[Row], options: argparse.Namespace) -> str:
    """The page."""
    about = provenance.circumstances(["soundfile", "av"])
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        "# How damaged files end",
        "",
        f"`python benchmarks/fuzz.py --mutants {options.mutants} --seed {options.seed}`: "
        f"{sum(sum(row.ends.values()) for row in rows)} mutants. A file that is still whole enough "
        "is denoised (or read), others are refused in one sentence each. A killed process is a "
        "coder that crashed by itself, which costs that file only.",
        "",
        f"| format | {' | '.join(ENDS)} | seconds |",
        f"|---|{'--:|' * (len(ENDS) + 1)}",
    ]
    for row in rows:
        cells = [str(row.ends[end]) for end in ENDS]
        lines.append(f"| {row.name} | {' | '.join(cells)} | {row.seconds:.0f} |")
    total = sum((row.ends for row in rows), collections.Counter())
    lines.append(f"| all | {' | '.join(str(total[end]) for end in ENDS)} | |")
    failures = [f"- {row.name}: `{text}`" for row in rows for text in row.failures[:3]]
    lines += ["", *failures, "", f"({about['machine']}, {about['date']}; {versions})"]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=105, help="of each format")
    parser.add_argument("--seed", type=int, default=0, help="of the damages")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("FUZZ.md"))
    return parser.parse_args()


def main() -> int:
    """Write the page; 1 if anything ended otherwise than it should."""
    options = parse()
    rng = np.random.default_rng(options.seed)
    rows = []
    readers = {".json": ModelCard.load, ".keras": keras_archive.check}
    for name in (*SUFFIXES, *CONTAINERS, *readers):
        with tempfile.TemporaryDirectory() as folder:
            if name in readers:
                path = REPOSITORY / "weights" / f"{NETWORK}{name}"
                arguments = (name[1:], path, readers[name], options.mutants, rng, Path(folder))
                rows.append(fuzz_reader(*arguments))
            else:
                rows.append(fuzz_recordings(name, options.mutants, rng, Path(folder)))
        print(rows[-1], flush=True)
    atomic.write_text(options.output, table(rows, options))
    return int(any(row.failures or any(row.ends[end] for end in BAD_ENDS) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
