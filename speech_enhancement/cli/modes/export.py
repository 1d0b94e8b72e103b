"""--mode export: networks in the formats of other programs, each proved on real recordings."""

from __future__ import annotations

import argparse
import sys

from speech_enhancement.export import exporting, report
from speech_enhancement.inference import network_files


def run(options: argparse.Namespace) -> int:
    """Export the networks that the options name; 1 if any of them could not be kept."""
    names = options.models or [options.name_model]
    stems = network_files.stems_of(options.weights_folder, names, network_files.KERAS)
    rows = exporting.export_networks(stems, options.formats, options.export_dir)
    print(report.table(rows))
    print(f"Wrote {options.export_dir / 'export.md'}")
    failed = [row for row in rows if row.reason]
    for row in failed:
        print(f"not kept: {row.file}: {row.reason}", file=sys.stderr)
    return 1 if failed else 0
