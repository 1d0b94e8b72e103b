"""Start, speed and memory of prediction beside the method of V. Belz's Speech-enhancement.

That method cuts a recording into windows, and for each of them calls librosa and Keras'
`model.predict`. All is measured in processes of their own; CPU seconds weigh another load on the
machine less than the clock does, so both are kept.

    python benchmarks/prediction.py                      # all parts: half an hour, 5 GB of disk
    python benchmarks/prediction.py --only cold,threads  # some of them
    python benchmarks/prediction.py --quick              # does it run? to another file
    python benchmarks/publish_prediction.py              # docs/speed.md and its picture
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import network_variants  # noqa: E402
from speech_enhancement.cli import args  # noqa: E402
from speech_enhancement.files import atomic, audio_io, provenance  # noqa: E402
from speech_enhancement.inference.card import ModelCard  # noqa: E402
from speech_enhancement.signal import dsp  # noqa: E402

RESULTS = Path(__file__).with_suffix(".json")
PACKAGES = ("numpy", "onnxruntime", "keras", "tensorflow", "ai-edge-litert")
REFERENCE = "model_unet"
WINDOW_S = 1.008  # of the reference; what a window is in all speeds
MIB = 2**20
SAMPLING_S = 0.25
CURVE_POINTS = 120
LONG_RATE, LONG_CHANNELS = 48_000, 2
THREADS = (1, 2)


class Settings(argparse.Namespace):
    """What is measured, on which networks, and how long.

    Args:
        stems: paths of networks without suffix; the first is that of the long recording.
        folder: place for some GB for a while.
        runs: how often a command is started.
        speed_s, variant_s: length of the recordings, seconds.
        lengths_s: names and seconds of the recordings whose memory is measured.
    """

    stems: list[Path]
    folder: Path
    runs: int
    speed_s: float
    variant_s: float
    lengths_s: dict[str, float]


def speech(seconds: float, rate: int) -> np.ndarray:
    """The noisy recordings of demo_data/, one after the other, again and again."""
    files = sorted((REPOSITORY / "demo_data" / "noisy").glob("*.wav"))
    sound = np.concatenate([audio_io.load_audio(path, rate)[0] for path in files])
    return np.resize(sound, round(seconds * rate))


def timed(work: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Speed of the fastest of three calls that denoise `seconds`, after one to warm up."""
    work()
    results = []
    for _ in range(3):
        clock, cpu = time.perf_counter(), time.process_time()
        work()
        results.append((time.perf_counter() - clock, time.process_time() - cpu))
    clock_s, cpu_s = (min(times) for times in zip(*results, strict=True))
    return {
        "windows_per_s": round(seconds / WINDOW_S / clock_s, 1),
        "windows_per_cpu_s": round(seconds / WINDOW_S / cpu_s, 1),
        "times_real_time": round(seconds / clock_s, 1),
    }


def reference_speed(stem: Path, threads: int, seconds: float) -> dict[str, float]:
    """The reference's way through a recording, window by window."""
    import librosa
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    audio = ModelCard.load(stem.with_suffix(".json")).audio
    model = keras.saving.load_model(stem.with_suffix(".keras"), compile=False)
    sound = speech(seconds, audio.sample_rate)
    windows = dsp.frame(sound, audio.frame_length, audio.frame_length)

    def denoise() -> None:
        for window in windows:
            spectrogram = librosa.stft(window, n_fft=audio.n_fft, hop_length=audio.hop_length_fft)
            magnitude, phase = librosa.magphase(spectrogram)
            decibels = librosa.amplitude_to_db(magnitude, ref=np.max)
            noise = model.predict(((decibels + 46) / 50)[None, ..., None], verbose=0)
            clean = decibels - (noise[0, ..., 0] * 82 + 6)
            librosa.istft(librosa.db_to_amplitude(clean) * phase, hop_length=audio.hop_length_fft)

    return timed(denoise, seconds)


def our_speed(stem: Path, runtime: str, threads: int, seconds: float) -> dict[str, float]:
    """`Enhancer.enhance` on the same recording, overlap and all."""
    from speech_enhancement.inference.enhancer import Enhancer

    enhancer = Enhancer.load(stem, runtime, threads)
    rate = enhancer.card.audio.sample_rate
    sound = speech(seconds, rate)
    return timed(lambda: enhancer.enhance(sound, rate), seconds)


def variant_speed(
    name: str, stem: Path, folder: Path, threads: int, seconds: float
) -> dict[str, Any]:
    """Speed of a variant of a network, and how near its sound comes to that of the shipped one."""
    from speech_enhancement.inference.enhancer import Enhancer
    from speech_enhancement.scoring import metrics

    rate = ModelCard.load(stem.with_suffix(".json")).audio.sample_rate
    sound = speech(seconds, rate)
    try:
        variant = network_variants.load(name, stem, folder, threads)
        speed = timed(lambda: variant.enhance(sound, rate), seconds)
    except Exception as error:  # not every runtime has every operator; that is a result, too
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    wanted = Enhancer.load(stem, "onnx", threads).enhance(sound, rate)
    likeness_db = metrics.si_sdr(wanted, variant.enhance(sound, rate), rate)
    return {**speed, "si_sdr_db": round(likeness_db, 1)}


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def runtimes_of(stem: Path) -> list[str]:
    """What can run a network; one that streams needs ONNX."""
    is_streaming = ModelCard.load(stem.with_suffix(".json")).streaming
    return ["onnx"] if is_streaming else ["onnx", "keras"]


def command(stem: Path, *arguments: str | Path) -> list[str | Path]:
    """Our command line."""
    network = [f"--weights_folder={stem.parent}", f"--name_model={stem.name}"]
    return [sys.executable, REPOSITORY / "main.py", *network, *arguments]


def measure_cold(settings: Settings) -> dict[str, Any]:
    """The whole command on a recording of 5 s, each time in a new process."""
    source, out = settings.folder / "5s.wav", settings.folder / "out"
    soundfile.write(source, speech(5.0, LONG_RATE), LONG_RATE)
    results: dict[str, Any] = {}
    for stem in settings.stems:
        for runtime in runtimes_of(stem):
            options = [f"--dir_save_prediction={out}", "--overwrite", f"--runtime={runtime}"]
            seconds = []
            for _ in range(settings.runs):
                begin = time.perf_counter()
                arguments = command(stem, source, *options)
                subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - begin)
            results.setdefault(stem.name, {})[runtime] = {
                "median_s": round(float(np.median(seconds)), 2),
                "fastest_s": round(min(seconds), 2),
            }
    return results


def measure_threads(settings: Settings) -> dict[str, Any]:
    """Windows of a second, through the reference's method and through ours."""
    results: dict[str, Any] = {}
    for threads in THREADS:
        reference = REPOSITORY / "weights" / REFERENCE
        if reference.with_suffix(".keras").exists():
            speed = apart(reference_speed, reference, threads, settings.speed_s / 2)
            results.setdefault("reference", {}).setdefault("keras", {})[str(threads)] = speed
        for stem in settings.stems:
            for runtime in runtimes_of(stem):
                speed = apart(our_speed, stem, runtime, threads, settings.speed_s)
                network = results.setdefault(stem.name, {})
                network.setdefault(runtime, {})[str(threads)] = speed
    return results


def measure_variants(settings: Settings) -> dict[str, Any]:
    """Other formats and narrower numbers, one thread and two."""
    results: dict[str, Any] = {}
    for stem in settings.stems:
        folder = settings.folder / stem.name
        folder.mkdir()
        apart(network_variants.convert, stem, folder)
        results[stem.name] = {
            name: {
                str(threads): apart(variant_speed, name, stem, folder, threads, settings.variant_s)
                for threads in THREADS
            }
            for name in network_variants.names(stem)
        }
    return results


def write_long_recording(path: Path, seconds: float) -> None:
    """A stereo recording of noisy speech, written in parts."""
    part = np.stack([speech(60.0, LONG_RATE), speech(61.0, LONG_RATE)[LONG_RATE:]], axis=1)
    with soundfile.SoundFile(path, "w", LONG_RATE, LONG_CHANNELS) as file:
        for begin in np.arange(0.0, seconds, 60.0):
            file.write(part[: round(min(60.0, seconds - begin) * LONG_RATE)])


def memory_curve(arguments: list[str | Path]) -> tuple[list[list[float]], float]:
    """Seconds and MiB of a command's whole family of processes, and how long it took."""
    curve, begin = [], time.perf_counter()
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        family = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                members = [family, *family.children(recursive=True)]
                held = sum(member.memory_info().rss for member in members) / MIB
                curve.append([round(time.perf_counter() - begin, 2), round(held, 1)])
            time.sleep(SAMPLING_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return curve, time.perf_counter() - begin


def measure_long(settings: Settings) -> dict[str, Any]:
    """Memory over time on a recording of a minute and on one of three hours."""
    stem = settings.stems[0]
    results: dict[str, Any] = {"network": stem.name}
    for name, seconds in settings.lengths_s.items():
        source, target = (settings.folder / f"{name}{end}.wav" for end in ("", "_clean"))
        write_long_recording(source, seconds)
        curve, clock_s = memory_curve(
            command(stem, source, "--audio_output_prediction", target, "--overwrite")
        )
        lengths = [soundfile.info(path).frames for path in (source, target)]
        results[name] = {
            "peak_mib": max(held for _, held in curve),
            "clock_s": round(clock_s, 1),
            "times_real_time": round(seconds / clock_s, 1),
            "same_length": lengths[0] == lengths[1],
            "curve_s_mib": thinned(curve),
        }
        source.unlink()
        target.unlink()
    return results


def thinned(curve: list[list[float]]) -> list[list[float]]:
    """Some points of a curve: of each stretch the highest, so that no peak is lost."""
    size = max(1, -(-len(curve) // CURVE_POINTS))
    stretches = [curve[begin : begin + size] for begin in range(0, len(curve), size)]
    return [max(stretch, key=lambda point: point[1]) for stretch in stretches]


PARTS = {
    "cold": measure_cold,
    "threads": measure_threads,
    "variants": measure_variants,
    "long": measure_long,
}


def parts(text: str) -> list[str]:
    """Names of parts, separated by commas.

    Raises:
        argparse.ArgumentTypeError: there is no such part.
    """
    wanted = text.split(",")
    if not set(wanted) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"parts are {', '.join(PARTS)}")
    return wanted


def parse() -> argparse.Namespace:
    """The command line."""
    weights = REPOSITORY / "weights"
    default = weights / args.parse([]).name_model
    shipped = sorted(path.with_suffix("") for path in weights.glob("*.onnx"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=parts, default=list(PARTS), metavar="PART,...")
    parser.add_argument("--networks", nargs="+", type=Path, help="paths without suffix")
    parser.add_argument("--folder", type=Path, help="place for some GB for a while")
    parser.add_argument("--quick", action="store_true", help="see that it runs")
    parser.add_argument("--results", type=Path, help="where the figures go")
    options = parser.parse_args()
    options.networks = options.networks or sorted(shipped, key=lambda stem: stem != default)
    if options.results is None:
        options.results = Path("out/prediction_quick.json") if options.quick else RESULTS
    return options


def settings_of(options: argparse.Namespace, folder: Path) -> Settings:
    """How long to measure."""
    quick = options.quick
    return Settings(
        stems=[stem.resolve() for stem in options.networks],
        folder=folder,
        runs=1 if quick else 7,
        speed_s=4.0 if quick else 60.0,
        variant_s=4.0 if quick else 16.0,
        lengths_s={"1_min": 5.0, "3_h": 20.0} if quick else {"1_min": 60.0, "3_h": 3 * 3600.0},
    )


def main() -> None:
    """Measure the parts that are wanted; the others keep their figures."""
    options = parse()
    for part in options.only:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            load = os.getloadavg()[0]
            figures = PARTS[part](settings_of(options, Path(folder)))
        about = provenance.circumstances(PACKAGES)
        about |= {
            "command": f"python benchmarks/prediction.py --only {part}",
            "load_before": round(load, 2),
        }
        results = json.loads(options.results.read_text()) if options.results.exists() else {}
        results[part] = {"about": about, "figures": figures}
        atomic.write_text(options.results, json.dumps(results, indent=1) + "\n")
        print(part, json.dumps(figures, indent=1)[:4000])


if __name__ == "__main__":
    main()
