"""CPU time of one training mixture by stage: `python benchmarks/mixing_speed.py VOICES NOISES`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from speech_enhancement.config import AudioConfig
from speech_enhancement.corpora import pools
from speech_enhancement.mixing import augment
from speech_enhancement.mixing import mixer as mixing
from speech_enhancement.signal import dsp
from speech_enhancement.signal.features import Features

STAGES: tuple[tuple[Any, str], ...] = (
    (mixing.Mixer, "draw_voice"),
    (mixing.Mixer, "draw_noise"),
    (mixing.Mixer, "_at_level"),
    (mixing.Mixer, "_degrade"),
    (mixing.RecordingSampler, "window"),
    (augment, "play_at"),
    (augment, "equalise"),
    (augment, "reverberate_pair"),
    (dsp, "active_rms"),
)


def timed(function: Callable[..., Any], name: str, totals: dict[str, list[float]]) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        begin = time.process_time()
        result = function(*args, **kwargs)
        totals[name].append(time.process_time() - begin)
        return result

    return wrapper


@contextmanager
def stages_timed(totals: dict[str, list[float]]) -> Iterator[None]:
    patches = [
        mock.patch.object(owner, name, timed(getattr(owner, name), name, totals))
        for owner, name in STAGES
    ]
    for patch in patches:
        patch.start()
    yield
    mock.patch.stopall()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voices", type=Path)
    parser.add_argument("noises", type=Path)
    parser.add_argument("--cache_dir", type=Path, default=Path("data/cache"))
    parser.add_argument("--mixtures", type=int, default=800)
    options = parser.parse_args()
    audio = AudioConfig(16000, 512, 256, 32000, "sqrt_hann")
    voices, noises = (
        pools.AudioPool.build(files, audio.sample_rate, options.cache_dir)
        for files in (pools.find_voices(options.voices), pools.find_noises(options.noises))
    )
    mixer = mixing.Mixer(voices, noises, audio)
    mixer.batch(0, 0, 64)

    begin = time.process_time()
    noisy, clean = mixer.batch(0, 1, options.mixtures)
    print(f"{1e3 * (time.process_time() - begin) / options.mixtures:8.2f} ms a mixture of 2 s")
    begin = time.process_time()
    Features("complex", "clean").pair_of_waveforms(noisy[:32], clean[:32], audio)
    print(f"{1e3 * (time.process_time() - begin) / 32:8.2f} ms its two spectrograms")

    totals: dict[str, list[float]] = defaultdict(list)
    with stages_timed(totals):
        mixer.batch(0, 1, options.mixtures)
    for _, name in STAGES:
        total, count = sum(totals[name]), len(totals[name])
        print(f"{1e3 * total / options.mixtures:8.2f} ms {name} ({count / options.mixtures:.2f} x)")


if __name__ == "__main__":
    main()
