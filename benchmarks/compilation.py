"""What the first step of a training costs with `--data device`, without and with a cache.

For each model, a training begins twice with the same folder of compiled steps, empty at first. The
times of its first step, from the end of the preparation of recordings, and of a later one are
written into docs/accelerators.md. Processor seconds are measured, which another load on the machine
changes less than the clock does; on free processors, less time passes.

    KERAS_BACKEND=jax python benchmarks/compilation.py --batch_size 32
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import page_parts
from speech_enhancement import places, registry
from speech_enhancement.files import atomic, provenance
from speech_enhancement.scoring.report import table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "accelerators.md"
PART = "compilation"
LIMIT_S = 900.0
N_STEPS = 2
HEAD = (
    *("model", "first step, nothing kept (s)", "first step, all kept (s)", "a later step (s)"),
    "kept (MB)",
)


class Enough(Exception):
    """Ends a training whose steps have been measured."""


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voice_dir", type=Path, default=places.DEMO_DATA / "voices")
    parser.add_argument("--noise_dir", type=Path, default=places.DEMO_DATA / "noises")
    parser.add_argument("--models", nargs="+", default=list(registry.MODELS))
    parser.add_argument("--batch_size", type=int, default=20)
    parser.add_argument("--in_folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_folder:
        print(json.dumps(durations(options)))
        return
    rows: list[list[str]] = []
    for model in options.models:
        rows.append(row_of(model, sys.argv[1:]))
        print(*rows[-1], flush=True)
    command = " ".join(["KERAS_BACKEND=jax python benchmarks/compilation.py", *sys.argv[1:]])
    atomic.write_text(PAGE, page_parts.with_part(PAGE.read_text(), PART, report(rows, command)))


def row_of(model: str, arguments: Sequence[str]) -> list[str]:
    """A model's row of the table, of two trainings in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        first, again = (
            json.loads(
                subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        *arguments,
                        "--models",
                        model,
                        "--in_folder",
                        folder,
                    ],
                    env=os.environ | {"KERAS_BACKEND": "jax"},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    timeout=LIMIT_S,
                ).stdout.splitlines()[-1]
            )
            for _ in range(2)
        )
        kept = sum(path.stat().st_size for path in Path(folder).glob("cache/compiled/*"))
    later = min(first[1:] + again[1:])
    return [model, f"{first[0]:.1f}", f"{again[0]:.1f}", f"{later:.2f}", f"{kept / 1e6:.1f}"]


def durations(options: argparse.Namespace) -> list[float]:
    """Seconds of the first steps of a training, of which the first includes all compilation."""
    from speech_enhancement.cli import main as command
    from speech_enhancement.datasets.device import DeviceMixtures

    measured: list[float] = []
    attach = DeviceMixtures.attach

    def timed_attach(self: DeviceMixtures, model: Any, validation: Any) -> None:
        import jax

        begin = time.process_time()
        attach(self, model, validation)
        step = model.train_function

        def timed_step(state: Any, iterator: Any) -> Any:
            nonlocal begin
            result = jax.block_until_ready(step(state, iterator))
            measured.append(round(time.process_time() - begin, 3))
            if len(measured) == N_STEPS:
                raise Enough
            begin = time.process_time()
            return result

        model.train_function = timed_step

    folders = {"weights_folder": "weights", "run_dir": "runs", "cache_dir": "cache"}
    arguments = [
        *("--mode", "training", "--data", "device", "--model", options.models[0]),
        *("--voice_dir", options.voice_dir, "--noise_dir", options.noise_dir),
        *("--batch_size", options.batch_size, "--steps_per_epoch", 1000),
        *("--validation_mixtures", options.batch_size, "--name_model", options.models[0]),
        *(
            word
            for name, folder in folders.items()
            for word in (f"--{name}", options.in_folder / folder)
        ),
        "--overwrite",
    ]
    with mock.patch.object(DeviceMixtures, "attach", timed_attach):
        try:
            command.main(list(map(str, arguments)))
        except Enough:
            return measured
    raise SystemExit("The training ended before its steps were measured")


def report(rows: Sequence[Sequence[str]], command: str) -> str:
    """The part of the page: what was measured how, and a row for each model."""
    about = provenance.circumstances(())
    return (
        f"Processor seconds ({about['machine']}, {about['date']}; `{command}`). When the processors"
        f" are free, less time passes:\n\n{table(HEAD, rows)}"
    )


if __name__ == "__main__":
    main()
