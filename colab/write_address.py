"""Write the public address of the repository into the notebook and the page that show it.

    python -m colab.write_address

`Repository`, below `[project.urls]` in pyproject.toml, is the one place where the address is set:
`Repository = "https://github.com/ACCOUNT/NAME"`. The notebook clones from it, and the badge, with
which Colab opens the notebook, needs it. Without an address there is no badge, and the notebook
asks for an archive of the repository.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from speech_enhancement.files import atomic

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = REPOSITORY / "pyproject.toml"
NOTEBOOK = REPOSITORY / "colab" / "Train_denoise.ipynb"
PAGE = REPOSITORY / "docs" / "training.md"
BEGIN, END = "<!-- badge:begin -->\n", "<!-- badge:end -->"
IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
COLAB = "https://colab.research.google.com/github"


def main() -> None:
    """Write both files."""
    address = address_of(PROJECT.read_text())
    for path, change in ((NOTEBOOK, with_address_in_notebook), (PAGE, with_badge)):
        atomic.write_text(path, change(path.read_text(), address))


def address_of(project: str) -> str:
    """The address in the text of pyproject.toml, or nothing."""
    return tomllib.loads(project)["project"].get("urls", {}).get("Repository", "").rstrip("/")


def badge(address: str) -> str:
    """The badge, which there is for repositories on GitHub only."""
    on_github = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(\.git)?", address)
    if on_github is None:
        return ""
    place = NOTEBOOK.relative_to(REPOSITORY).as_posix()
    return f"[![Open in Colab]({IMAGE})]({COLAB}/{on_github[1]}/blob/main/{place})\n"


def with_badge(page: str, address: str) -> str:
    """A page with the badge of this address between its marks, or none."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{badge(address)}{END}{after}"


def with_address_in_notebook(text: str, address: str) -> str:
    """The notebook's file with the badge and the address to clone from."""
    notebook = json.loads(text)
    introduction, parameters, *_ = notebook["cells"]
    introduction["source"] = _lines(with_badge("".join(introduction["source"]), address))
    code = "".join(parameters["source"])
    code = re.sub(r"(?m)^REPOSITORY_URL = .*$", f"REPOSITORY_URL = {json.dumps(address)}", code)
    parameters["source"] = _lines(code)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _lines(text: str) -> list[str]:
    """A text as the lines of a cell."""
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    main()
