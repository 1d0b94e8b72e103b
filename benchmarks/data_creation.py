"""Speed and memory of data_creation beside the method of V. Belz's Speech-enhancement.

That method holds everything in memory and calls librosa for each window's voice, noise and
mixture, in float64. It is timed before and after a run of our command, in CPU seconds, so that
another load on the machine weighs on both alike:

    python benchmarks/data_creation.py            # needs 13 GB of disk for a few minutes
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import psutil
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speech_enhancement.config import AudioConfig

REPOSITORY = Path(__file__).resolve().parents[1]
AUDIO = AudioConfig()
MIB = 2**20
SAMPLING_S = 0.1


def write_recordings(folder: Path, files: int = 120, seconds: int = 10) -> None:
    """Noise that comes and goes, as voices and as noises."""
    rng = np.random.default_rng(0)
    times = np.arange(seconds * AUDIO.sample_rate) / AUDIO.sample_rate
    for kind in ("voices", "noises"):
        for number in range(files):
            path = folder / kind / str(number // 4) / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            swell = 0.55 + 0.45 * np.sin(2 * np.pi * rng.uniform(0.2, 3) * times)
            samples = 0.1 * swell * rng.standard_normal(len(times))
            soundfile.write(path, samples, AUDIO.sample_rate)


def reference_method(voices: np.ndarray, noises: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Spectrograms of windows (windows, samples) in dB and as phases, all of them in memory."""
    levels = np.random.default_rng(0).uniform(0.2, 0.8, (len(noises), 1))
    noises = levels * noises
    sounds = {"voice": voices, "noise": noises, "noisy_voice": voices + noises}
    shape = (len(voices), AUDIO.n_bins, AUDIO.n_frames)
    result = {}
    for kind, windows in sounds.items():
        magnitude_db, phase = np.zeros(shape), np.zeros(shape, complex)
        for row, window in enumerate(windows):
            spectrogram = librosa.stft(window, n_fft=AUDIO.n_fft, hop_length=AUDIO.hop_length_fft)
            magnitude, phase[row] = librosa.magphase(spectrogram)
            magnitude_db[row] = librosa.amplitude_to_db(magnitude, ref=np.max)
        result[kind] = [windows, magnitude_db, phase]
    return result


def time_reference(n_windows: int) -> dict[str, float]:
    """CPU seconds of the reference method, and the bytes that it holds."""
    rng = np.random.default_rng(1)
    voices, noises = rng.standard_normal((2, n_windows, AUDIO.frame_length)) * 0.1
    reference_method(voices[:8], noises[:8])  # librosa compiles on its first call
    begin = time.process_time()
    result = reference_method(voices, noises)
    seconds = time.process_time() - begin
    held = sum(array.nbytes for arrays in result.values() for array in arrays)
    return {"windows": n_windows, "cpu_s": seconds, "bytes_per_window": held / n_windows}


class MemoryWatch(threading.Thread):
    """Samples the memory of a process and all its descendants until it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(process.pid)
        self.peak_rss = self.peak_pss = self.peak_processes = 0

    def run(self) -> None:
        while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
            self.sample()
            time.sleep(SAMPLING_S)

    def sample(self) -> None:
        rss = pss = processes = 0
        try:
            for process in [self.process, *self.process.children(recursive=True)]:
                memory = process.memory_full_info()
                rss, pss, processes = rss + memory.rss, pss + memory.pss, processes + 1
        except psutil.Error:
            return  # one of them has just ended
        self.peak_rss = max(self.peak_rss, rss)
        self.peak_pss = max(self.peak_pss, pss)
        self.peak_processes = max(self.peak_processes, processes)


def time_ours(folder: Path, n_windows: int, workers: int) -> dict[str, float]:
    """CPU seconds and memory of the whole command, from its start to its manifest."""
    arguments = [
        "--mode=data_creation",
        f"--voice_dir={folder / 'voices'}",
        f"--noise_dir={folder / 'noises'}",
        f"--path_save_spectrogram={folder / 'spectrogram'}",
        f"--path_save_time_serie={folder / 'time_serie'}",
        f"--path_save_sound={folder / 'sound'}",
        f"--cache_dir={folder / 'cache'}",
        f"--nb_samples={n_windows}",
        f"--workers={workers}",
    ]
    used = cpu_of_children()
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(REPOSITORY / "main.py"), *arguments])
    watch = MemoryWatch(process)
    watch.start()
    if process.wait():
        raise SystemExit("data_creation failed")
    elapsed = time.perf_counter() - begin
    watch.join()
    return {
        "windows": n_windows,
        "workers": workers,
        "elapsed_s": elapsed,
        "cpu_s": cpu_of_children() - used,
        "peak_rss_mib": watch.peak_rss / MIB,
        "peak_pss_mib": watch.peak_pss / MIB,
        "peak_processes": watch.peak_processes,
    }


def cpu_of_children() -> float:
    """CPU seconds of the processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both methods on this machine, now."""
    references = [time_reference(options.reference_windows)]
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="data_creation_") as folder:
        write_recordings(Path(folder))
        ours = time_ours(Path(folder), options.windows, options.workers)
    references.append(time_reference(options.reference_windows))
    speeds = [reference["windows"] / reference["cpu_s"] for reference in references]
    speed = ours["windows"] / ours["cpu_s"]
    return {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "audio": AUDIO.to_dict(),
        "reference": references,
        "ours": ours,
        "reference_windows_per_cpu_s": speeds,
        "our_windows_per_cpu_s": speed,
        "times_faster_per_core": speed / (sum(speeds) / len(speeds)),
        "reference_gb": references[0]["bytes_per_window"] * options.windows / 1e9,
        "our_peak_mib": ours["peak_rss_mib"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=40000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reference_windows", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where to work; the system's by default")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_suffix(".json"), help="result"
    )
    options = parser.parse_args()
    result = measure(options)
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
