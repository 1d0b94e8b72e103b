"""--mode training: fit a network to stored windows or to mixtures drawn on the fly."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from speech_enhancement import places
from speech_enhancement.cli import learning_options
from speech_enhancement.training import fit
from speech_enhancement.training.fit import Learning
from speech_enhancement.training.run_names import Run


def run(options: argparse.Namespace) -> int:
    """Train, and say where the network is."""
    learning = {field.name: getattr(options, field.name) for field in dataclasses.fields(Learning)}
    trained = fit.train(
        learning_options.data_of(options),
        learning_options.design_of(options),
        Learning(**learning),
        Run(
            options.name_model,
            options.weights_folder,
            options.run_dir,
            from_scratch=options.training_from_scratch,
            resume=options.resume,
            overwrite=options.overwrite,
        ),
        learning_options.machines_of(options),
    )
    if not trained.saved_here:
        return 0
    stem = trained.stem
    if trained.has_twin:
        print(f"Saved {stem}.keras, {stem.name}.onnx and {stem.name}.json")
    else:
        print(f"Saved {stem}.keras and {stem.name}.json")
        print(
            f"note: {stem.name}.onnx needs packages that are not installed; where they are, "
            "--mode export --formats onnx writes it",
            file=sys.stderr,
        )
    network = f"--weights_folder {stem.parent} --name_model {stem.name}"
    print(f"Denoise with it: {places.COMMAND} RECORDING {network}")
    return 0
