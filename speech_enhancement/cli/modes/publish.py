"""--mode publish: a network as a folder for the Hugging Face Hub, and its upload."""

from __future__ import annotations

import argparse

from speech_enhancement import places
from speech_enhancement.export import publishing
from speech_enhancement.inference import network_files


def run(options: argparse.Namespace) -> int:
    """Write the folder, upload it if asked to, and say how the network is loaded from there."""
    stem = network_files.stem_in(options.weights_folder, options.name_model)
    published = publishing.publish_network(
        stem,
        options.publish_dir,
        publishing.Licence(options.license, options.license_file),
        options.report,
        options.repo,
        options.private,
    )
    print(f"Wrote {published.folder}: {', '.join(published.files)}")
    if published.url:
        print(f"Uploaded to {published.url}")
        print(f"Use it with: {places.COMMAND} recording.wav --name_model {published.address}")
    return 0
