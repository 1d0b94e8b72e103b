"""The parts of README.md that commands write, each between marks of its name."""

from __future__ import annotations


def with_part(readme: str, name: str, text: str) -> str:
    """The README with the text between the marks of a part replaced.

    Args:
        readme: all of it.
        name: of the part, as in `<!-- scores:begin -->`.
        text: what stands there now.
    """
    begin, end = (f"<!-- {name}:{side} -->" for side in ("begin", "end"))
    before, rest = readme.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{text}\n{end}{after}"
