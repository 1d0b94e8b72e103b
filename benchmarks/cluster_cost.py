"""What an archive of 100,000 hours costs to denoise on a cluster, of figures that this measures.

    python benchmarks/cluster_cost.py            # measure: cluster_cost.json; five minutes
    python benchmarks/cluster_cost.py --publish  # the section of docs/cluster.md

Processor seconds are measured, which another load on the machine changes less than the clock does:
those of the whole command on one thread, for an hour of sound in each format, and those of all
processes of a cluster of two nodes beside those of two processes, for the same recordings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import soundfile

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.page_parts import with_part  # noqa: E402
from benchmarks.prediction import speech  # noqa: E402
from speech_enhancement.files import atomic, provenance  # noqa: E402
from speech_enhancement.scoring.report import table  # noqa: E402

RESULTS = Path(__file__).with_suffix(".json")
PAGE = REPOSITORY / "docs" / "cluster.md"
PART = "cost"
PACKAGES = ("numpy", "onnxruntime", "soundfile", "ray")
NETWORKS = ("dpcrn_offline", "dpcrn")
FORMATS = ("wav", "flac", "opus")
RATE = 16_000
SECONDS = 300.0  # of the recording of each format
N_RECORDINGS, SHARED_SECONDS = 16, 60.0  # of those that are shared out
SAMPLING_S = 0.1
LIMIT_S = 60.0

HOURS = 100_000
PROCESSORS = 256
# Dollars, and where they are from. They change from day to day, and between regions.
CORE_HOUR = 0.0225
GB_MONTH = 0.023
SHARED_GB_MONTH = 0.30
PRICES = (
    "- a processor is as fast as the one that was measured;\n"
    f"- a spot machine costs ${CORE_HOUR} per processor and hour. Amazon's user guide of EC2 Auto "
    "Scaling has a c5.2xlarge with 8 processors for $0.18 per hour, as an example and not as "
    "today's price, and for $0.34 without spot;\n"
    f"- storage costs ${GB_MONTH} per GB and month, the price of the first 50 TB of Amazon S3 "
    "Standard in the US;\n"
    f"- a file system that the nodes share costs ${SHARED_GB_MONTH:.2f} per GB and month, an "
    "assumption of the order of Amazon EFS Standard. It holds the recordings and the results while "
    "the cluster works;\n"
    f"- the cluster has {PROCESSORS} processors, and the network between nodes and files is fast "
    "enough to keep them busy."
)


def main(argv: list[str] | None = None) -> None:
    """Measure, or write what was measured into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--publish", action="store_true", help="write docs/cluster.md")
    if parser.parse_args(argv).publish:
        results = json.loads(RESULTS.read_text())
        atomic.write_text(PAGE, with_part(PAGE.read_text(), PART, cost_sheet(results)))
        return
    load = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as folder:
        figures = {
            "formats": measure_formats(Path(folder)),
            "cluster": measure_cluster(Path(folder)),
        }
    about = provenance.circumstances(PACKAGES)
    about |= {"command": "python benchmarks/cluster_cost.py", "load_before": load}
    results = {"about": about, **figures}
    atomic.write_text(RESULTS, json.dumps(results, indent=1) + "\n")


def measure_formats(folder: Path) -> dict[str, Any]:
    """Processor seconds and bytes of an hour of sound, by network and format."""
    sound = speech(SECONDS, RATE)
    per_hour = 3600.0 / SECONDS
    results: dict[str, Any] = {network: {} for network in NETWORKS}
    for suffix in FORMATS:
        source = folder / f"recording.{suffix}"
        opus = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
        soundfile.write(source, sound, RATE, **opus)
        for network in NETWORKS:
            out = folder / network
            cpu_s, _ = used(source, out, f"--name_model={network}", "--threads=1")
            results[network][suffix] = {
                "cpu_s_per_hour": round(cpu_s * per_hour, 1),
                "bytes_per_hour": round(source.stat().st_size * per_hour),
                "result_bytes_per_hour": round((out / source.name).stat().st_size * per_hour),
            }
    return results


def measure_cluster(folder: Path) -> dict[str, Any]:
    """What the same recordings take with two processes and on two nodes."""
    source = folder / "shared"
    source.mkdir()
    for number in range(N_RECORDINGS):
        soundfile.write(source / f"{number}.wav", speech(SHARED_SECONDS, RATE), RATE)
    jobs = used(source, folder / "jobs", "--jobs=2", "--threads=2")
    with nodes(folder) as (address, processes):
        cluster = used(source, folder / "cluster", f"--cluster={address}", beside=processes)
    return {
        "recordings": N_RECORDINGS,
        "seconds_each": SHARED_SECONDS,
        "jobs": dict(zip(("cpu_s", "clock_s"), jobs, strict=True)),
        "cluster": dict(zip(("cpu_s", "clock_s"), cluster, strict=True)),
        "factor": round(cluster[0] / jobs[0], 3),
    }


def used(
    source: Path, out: Path, *options: str, beside: tuple[psutil.Process, ...] = ()
) -> tuple[float, float]:
    """Processor seconds and seconds of a command that denoises, with all that works for it.

    Args:
        source: recording or folder.
        out: folder of the results.
        options: further ones.
        beside: other processes whose work counts, too, while the command runs.
    """
    arguments = [str(source), f"--dir_save_prediction={out}", *options]
    before = _processor_seconds(beside)
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, REPOSITORY / "main.py", *arguments], stdout=subprocess.DEVNULL
    ) as process:
        seen: dict[tuple[int, float], float] = {}
        while process.poll() is None:
            seen |= _processor_seconds((*beside, psutil.Process(process.pid)))
            time.sleep(SAMPLING_S)
    clock_s = time.perf_counter() - begin
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    cpu_s = sum(seconds - before.get(which, 0.0) for which, seconds in seen.items())
    return round(cpu_s, 2), round(clock_s, 2)


def _processor_seconds(roots: tuple[psutil.Process, ...]) -> dict[tuple[int, float], float]:
    """What processes and those below them have used so far, by their number and their start."""
    found = {}
    for root in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    found[process.pid, process.create_time()] = times.user + times.system
    return found


@contextlib.contextmanager
def nodes(folder: Path) -> Iterator[tuple[str, tuple[psutil.Process, ...]]]:
    """Address and processes of a cluster of two nodes with one processor each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
    started: list[psutil.Process] = []
    head = ("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false")
    try:
        for number, place in enumerate((head, (f"--address={address}",))):
            started.append(_node(folder / f"{number}.log", *place))
        yield address, tuple(started)
    finally:
        for node in started:
            for process in (*node.children(recursive=True), node):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def _node(log: Path, *arguments: str) -> psutil.Process:
    """One node, once it runs."""
    ray = Path(sys.executable).with_name("ray")
    size = ("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block")
    with log.open("w") as file:
        process = psutil.Popen([ray, "start", *arguments, *size], stdout=file, stderr=file)
    end = time.monotonic() + LIMIT_S
    while "Ray runtime started" not in log.read_text():
        if time.monotonic() > end or process.poll() is not None:
            raise RuntimeError(log.read_text())
        time.sleep(SAMPLING_S)
    return process


def cost_sheet(results: dict[str, Any]) -> str:
    """The arithmetic, from what was measured to dollars."""
    about, factor = results["about"], results["cluster"]["factor"]
    parts = [
        f"Measured ({about['machine']}, {about['date']}; `{about['command']}`), for the noisy "
        f"recordings of `demo_data/`, one after the other, at {RATE // 1000} kHz, mono. Some of "
        "them have no high frequencies, so that others may need more bytes in FLAC and Opus:",
        _measured(results["formats"]),
        _overhead(results["cluster"]),
        f"Assumed:\n\n{PRICES}",
        f"An archive of {HOURS:,} hours then takes",
        _computed(results["formats"], factor),
        _example(results["formats"]["dpcrn_offline"]["flac"], factor),
    ]
    return "\n\n".join(parts)


def _measured(formats: dict[str, Any]) -> str:
    """Processor seconds and bytes of an hour of sound."""
    headings = ["network", "format", "processor seconds per hour of sound", "times real time"]
    headings += ["MB per hour, recordings", "MB per hour, results"]
    return table(
        headings,
        [
            [
                *(network, suffix, f"{row['cpu_s_per_hour']:.0f}"),
                f"{3600.0 / row['cpu_s_per_hour']:.1f}x",
                *(f"{row[key] / 1e6:.1f}" for key in ("bytes_per_hour", "result_bytes_per_hour")),
            ]
            for network, rows in formats.items()
            for suffix, row in rows.items()
        ],
    )


def _overhead(cluster: dict[str, Any]) -> str:
    """What the cluster takes beside the work itself."""
    minutes = cluster["recordings"] * cluster["seconds_each"] / 60.0
    return (
        f"The same {cluster['recordings']} recordings, {minutes:.0f} minutes in all, took "
        f"{cluster['jobs']['cpu_s']:.1f} processor seconds with `--jobs 2`, and "
        f"{cluster['cluster']['cpu_s']:.1f} on a cluster of two nodes on the same machine, with "
        "all of Ray's processes and the start of its workers: a factor of "
        f"{cluster['factor']:.3f}. By the clock, that was {cluster['jobs']['clock_s']:.1f} s and "
        f"{cluster['cluster']['clock_s']:.1f} s. The network between machines, a file server, and "
        "work that is lost with spot machines are not in it."
    )


def _computed(formats: dict[str, Any], factor: float) -> str:
    """Processor hours, terabytes, days and dollars of the archive."""
    headings = ["network", "format", "processor hours", "spot machines"]
    headings += ["days", "recordings and results", "shared file system for these days"]
    headings += ["results in storage, per month"]
    rows = []
    for network, by_suffix in formats.items():
        for suffix, row in by_suffix.items():
            cost = cost_of(row, factor)
            rows.append(
                [
                    *(network, suffix, f"{cost['core_hours']:,.0f}"),
                    *(f"${cost['machines']:,.0f}", f"{cost['days']:.1f}"),
                    f"{cost['gb'] / 1000.0:.1f} TB",
                    *(f"${cost['file_system']:,.0f}", f"${cost['storage']:,.0f}"),
                ]
            )
    return table(headings, rows)


def cost_of(row: dict[str, float], factor: float) -> dict[str, float]:
    """What the archive costs.

    Args:
        row: processor seconds and bytes of an hour of sound.
        factor: how much more a cluster takes.
    """
    core_hours = HOURS * row["cpu_s_per_hour"] / 3600.0 * factor
    days = core_hours / PROCESSORS / 24.0
    results_gb = HOURS * row["result_bytes_per_hour"] / 1e9
    gb = HOURS * row["bytes_per_hour"] / 1e9 + results_gb
    return {
        "core_hours": core_hours,
        "days": days,
        "gb": gb,
        "machines": core_hours * CORE_HOUR,
        "file_system": gb * SHARED_GB_MONTH * days / 30.0,
        "storage": results_gb * GB_MONTH,
    }


def _example(row: dict[str, float], factor: float) -> str:
    """The arithmetic of one row."""
    cost = cost_of(row, factor)
    return (
        f"For example, dpcrn_offline and FLAC: {HOURS:,} h x {row['cpu_s_per_hour']:.0f} s/h / "
        f"3600 s/h x {factor:.3f} = {cost['core_hours']:,.0f} processor hours; x ${CORE_HOUR} = "
        f"${cost['machines']:,.0f}; / {PROCESSORS} processors / 24 = {cost['days']:.1f} days; "
        f"{HOURS:,} h x ({row['bytes_per_hour'] / 1e6:.1f} + "
        f"{row['result_bytes_per_hour'] / 1e6:.1f}) MB/h = {cost['gb'] / 1000.0:.1f} TB; x "
        f"${SHARED_GB_MONTH:.2f}/GB x {cost['days']:.1f} / 30 = ${cost['file_system']:,.0f}."
    )


if __name__ == "__main__":
    main()
