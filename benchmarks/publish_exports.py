"""Turn the report of an export into EXPORTS.json and the table in docs/export.md.

    python benchmarks/publish_exports.py out/export

Without a report, docs/export.md is written anew from EXPORTS.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.page_parts import with_part  # noqa: E402
from speech_enhancement.export import report  # noqa: E402
from speech_enhancement.export.report import ExportRow  # noqa: E402
from speech_enhancement.files import provenance  # noqa: E402
from speech_enhancement.files.atomic import write_text  # noqa: E402

RESULTS = REPOSITORY / "benchmarks" / "EXPORTS.json"
PAGE = REPOSITORY / "docs" / "export.md"
PART = "exports"


def main(argv: list[str] | None = None) -> None:
    """Read the report, write the results and what is made of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", nargs="?", type=Path, help="folder of an export")
    options = parser.parse_args(argv)
    if options.report:
        summary = provenance.shareable(json.loads((options.report / "export.json").read_text()))
        write_text(RESULTS, json.dumps(summary, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    write_text(PAGE, with_part(PAGE.read_text(), PART, exports_table(results)))


def exports_table(results: dict[str, Any]) -> str:
    """What was measured, where, and a row for each network and format."""
    facts = results["about"]
    table = report.table([ExportRow(**row) for row in results["rows"]])
    return f"{facts['date']}, {facts['machine']}; `{facts['command']}`:\n\n{table}"


if __name__ == "__main__":
    main()
