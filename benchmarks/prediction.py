"""Speed, start and memory of prediction beside the method of V. Belz's Speech-enhancement.

That method cuts a recording into windows, and for each of them calls librosa and Keras'
`model.predict`. All is measured in processes of their own; CPU seconds weigh another load on the
machine less than the clock does, so both are kept.

    python benchmarks/prediction.py                       # all parts, some minutes and 5 GB of disk
    python benchmarks/prediction.py --parts speed start   # some of them
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import importlib.util
import json
import multiprocessing
import os
import platform
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import data_tools
from card import ModelCard

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_suffix(".json")
MIB = 2**20
SAMPLING_S = 0.25
CURVE_POINTS = 120
LONG_RATE, LONG_CHANNELS = 48_000, 2
RATE = 8000
BATCH = 8


def speech(seconds: float, rate: int) -> np.ndarray:
    """The noisy recordings of demo_data/, one after the other, again and again."""
    files = sorted((REPOSITORY / "demo_data" / "noisy").glob("*.wav"))
    sound = np.concatenate([data_tools.load_audio(path, rate)[0] for path in files])
    return np.resize(sound, round(seconds * rate))


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Clock and CPU seconds of the fastest of three calls, after one to warm up."""
    work()
    results = []
    for _ in range(3):
        clock, cpu = time.perf_counter(), time.process_time()
        work()
        results.append((time.perf_counter() - clock, time.process_time() - cpu))
    clock_s, cpu_s = np.min(results, axis=0)
    return {"clock_s": float(clock_s), "cpu_s": float(cpu_s)}


def reference_speed(stem: Path, threads: int, seconds: float) -> dict[str, float]:
    """The reference's way through a recording, window by window."""
    import librosa
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    audio = ModelCard.load(stem.with_suffix(".json")).audio
    model = keras.saving.load_model(stem.with_suffix(".keras"), compile=False)
    windows = data_tools.frame(speech(seconds, RATE), audio.frame_length, audio.frame_length)

    def denoise() -> None:
        for window in windows:
            spectrogram = librosa.stft(window, n_fft=audio.n_fft, hop_length=audio.hop_length_fft)
            magnitude, phase = librosa.magphase(spectrogram)
            decibels = librosa.amplitude_to_db(magnitude, ref=np.max)
            noise = model.predict(((decibels + 46) / 50)[None, ..., None], verbose=0)
            clean = decibels - (noise[0, ..., 0] * 82 + 6)
            librosa.istft(librosa.db_to_amplitude(clean) * phase, hop_length=audio.hop_length_fft)

    return per_window(timed(denoise), len(windows))


def per_window(times: dict[str, float], n_windows: float) -> dict[str, float]:
    """Windows a second by the clock and by the processor."""
    return {
        "windows_per_s": round(n_windows / times["clock_s"], 1),
        "windows_per_cpu_s": round(n_windows / times["cpu_s"], 1),
    }


def our_speed(stem: Path, threads: int, seconds: float, runtime: str) -> dict[str, float]:
    """`Enhancer.enhance` on the same recording, overlap and all."""
    from enhancer import Enhancer

    enhancer = Enhancer.load(stem, runtime, threads)
    sound = speech(seconds, RATE)
    window_s = enhancer.card.audio.frame_length / enhancer.card.audio.sample_rate
    return per_window(timed(lambda: enhancer.enhance(sound, RATE)), seconds / window_s)


def runner_of(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A network file as a function on batches of one size, by its suffix."""
    if path.suffix == ".onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda batch: session.run(None, {name: batch})[0]
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(
        source, [BATCH, *interpreter.get_input_details()[0]["shape"][1:]]
    )
    interpreter.allocate_tensors()

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, batch)
        interpreter.invoke()
        return interpreter.get_tensor(result).copy()

    return run


def network_speed(path: Path, stem: Path, threads: int) -> dict[str, float]:
    """Speed of a network alone, and how near the sound comes to that of the shipped network."""
    card = ModelCard.load(stem.with_suffix(".json"))
    windows = speech_windows(card)
    batches = np.split(card.features.encode(data_tools.stft(windows, card.audio)), 16 // BATCH)
    run = runner_of(path, threads)
    times = timed(lambda: [run(batch) for batch in batches])
    wanted, got = (
        card.features.denoise(windows, in_batches(f), card.audio)
        for f in (runner_of(stem.with_suffix(".onnx"), threads), run)
    )
    error = max(float(np.square(wanted - got).sum()), 1e-20)
    likeness_db = 10.0 * np.log10(float(np.square(wanted).sum()) / error)
    return {**per_window(times, len(windows)), "signal_to_difference_db": round(likeness_db, 1)}


def speech_windows(card: ModelCard) -> np.ndarray:
    """16 windows of noisy speech at the network's level."""
    sound = speech(17 * card.audio.frame_length / card.audio.sample_rate, card.audio.sample_rate)
    level = 10 ** ((card.level_dbfs or -25.0) / 20)
    sound *= level / data_tools.active_rms(sound, card.audio.sample_rate)
    return data_tools.frame(sound, card.audio.frame_length, card.audio.frame_length)[:16]


def in_batches(run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """A function on batches of one size as one on 16 windows."""
    return lambda windows: np.concatenate([run(b) for b in np.split(windows, 16 // BATCH)])


def quantise_onnx(stem: Path, folder: Path) -> dict[str, Path]:
    """The network in 8 bits: weights only, and weights and activations."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    card = ModelCard.load(stem.with_suffix(".json"))
    windows = card.features.encode(data_tools.stft(speech_windows(card), card.audio))

    class Windows(CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self._batches = iter([{name: window[np.newaxis]} for window in windows])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._batches, None)

    import onnx

    prepared = folder / "prepared.onnx"
    quant_pre_process(stem.with_suffix(".onnx"), prepared, skip_symbolic_shape=True)
    name = onnx.load(prepared).graph.input[0].name
    paths = {f"onnx_int8_{kind}": folder / f"{kind}.onnx" for kind in ("dynamic", "static")}
    quantize_dynamic(prepared, paths["onnx_int8_dynamic"])
    quantize_static(prepared, paths["onnx_int8_static"], Windows(name))
    return paths


def convert_to_litert(stem: Path, folder: Path) -> dict[str, Path]:
    """The network in LiteRT: float, weights in 8 bits, weights in 16 bits."""
    import keras
    import tensorflow

    keras.saving.load_model(stem.with_suffix(".keras"), compile=False).export(
        folder / "saved", verbose=False
    )
    paths = {}
    for name, types in (("float32", None), ("int8_weights", []), ("float16", ["float16"])):
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        if types is not None:
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [getattr(tensorflow, t) for t in types]
        paths[f"litert_{name}"] = folder / f"{name}.tflite"
        paths[f"litert_{name}"].write_bytes(converter.convert())
    return paths


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


def measure_speed(stem: Path, folder: Path) -> dict[str, Any]:
    """Windows of a second, through the reference's method and through ours."""
    results = {}
    for threads in (1, 2):
        results[f"reference_{threads}_threads"] = apart(reference_speed, stem, threads, 30.0)
        for runtime in ("onnx", "keras"):
            name = f"ours_{runtime}_{threads}_threads"
            results[name] = apart(our_speed, stem, threads, 60.0, runtime)
    return results


def measure_variants(stem: Path, folder: Path) -> dict[str, Any]:
    """The network alone, in other formats and narrower numbers, one thread and two."""
    paths = {"onnx_float32": stem.with_suffix(".onnx"), **apart(quantise_onnx, stem, folder)}
    if importlib.util.find_spec("ai_edge_litert"):
        paths |= apart(convert_to_litert, stem, folder)
    return {
        f"{name}_{threads}_threads": apart(network_speed, path, stem, threads)
        for name, path in paths.items()
        for threads in (1, 2)
    }


def command(stem: Path, *arguments: str | Path) -> list[str | Path]:
    """Our command line, without what its environment does not ask of it."""
    network = [f"--weights_folder={stem.parent}", f"--name_model={stem.name}"]
    return [sys.executable, REPOSITORY / "main.py", *network, *arguments]


def measure_start(stem: Path, folder: Path) -> dict[str, Any]:
    """The whole command on a recording of 5 s, each time in a new process."""
    soundfile.write(folder / "5s.wav", speech(5.0, LONG_RATE), LONG_RATE)
    seconds = []
    for _ in range(7):
        begin = time.perf_counter()
        subprocess.run(
            command(
                stem, folder / "5s.wav", "--dir_save_prediction", folder / "out", "--overwrite"
            ),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds.append(time.perf_counter() - begin)
    return {"median_s": round(float(np.median(seconds)), 2), "fastest_s": round(min(seconds), 2)}


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


def measure_memory(stem: Path, folder: Path) -> dict[str, Any]:
    """Memory over time on a recording of a minute and on one of three hours."""
    results = {}
    for name, seconds in (("1_min", 60.0), ("3_h", 3 * 3600.0)):
        source, target = folder / f"{name}.wav", folder / f"{name}_clean.wav"
        write_long_recording(source, seconds)
        arguments = command(stem, source, "--audio_output_prediction", target)
        curve, clock_s = memory_curve(arguments)
        lengths = [soundfile.info(path).frames for path in (source, target)]
        results[name] = {
            "peak_mib": max(held for _, held in curve),
            "clock_s": round(clock_s, 1),
            "times_real_time": round(seconds / clock_s, 1),
            "same_length": lengths[0] == lengths[1],
            "curve_s_mib": curve[:: max(1, len(curve) // CURVE_POINTS)],
        }
        source.unlink()
        target.unlink()
    return results


PARTS = {
    "speed": measure_speed,
    "variants": measure_variants,
    "start": measure_start,
    "memory": measure_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--stem", type=Path, default=REPOSITORY / "weights" / "model_unet")
    parser.add_argument("--folder", type=Path, help="place for some GB for a while")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for part in options.parts:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            load = os.getloadavg()[0]
            results[part] = PARTS[part](options.stem, Path(folder))
            results[part]["load_before"] = round(load, 2)
            shown = {k: v for k, v in results[part].items() if k != "curve_s_mib"}
            print(part, json.dumps(shown, indent=2)[:4000])
        results["machine"] = {"processor": platform.machine(), "threads": os.cpu_count()}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
