"""The parts of pages that commands write, each between two marks with its name."""

from __future__ import annotations


def with_part(page: str, name: str, text: str) -> str:
    """A page with the text between the marks of a part replaced.

    Args:
        page: the whole page.
        name: name of the part, as in `<!-- scores:begin -->`.
        text: the new text.
    """
    begin, end = (f"<!-- {name}:{side} -->" for side in ("begin", "end"))
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"
