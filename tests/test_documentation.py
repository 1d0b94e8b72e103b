"""What the documentation says exists."""

import re
import shlex
from pathlib import Path

import pytest

from speech_enhancement import registry
from speech_enhancement.cli import args

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("[!.]*/*.md")]
README = (REPOSITORY / "README.md").read_text()
GUIDE = "\n".join([README, *(page.read_text() for page in REPOSITORY.glob("docs/*.md"))])


def commands_of(text):
    """Arguments of every `python main.py` in the shell blocks, up to a pipe or a redirection."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for command in re.findall(r"python main\.py([^|>\n]*)", block.replace("\\\n", " ")):
            yield shlex.split(command, comments=True)


def shell_commands():
    """The arguments of every command in the pages."""
    for page in PAGES:
        for command in commands_of(page.read_text()):
            yield pytest.param(command, id=f"{page.stem}: {' '.join(command)[:60]}")


@pytest.mark.parametrize("command", list(shell_commands()))
def test_a_documented_command_is_understood(command):
    assert args.parse(command).mode in registry.MODES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_named_options_exist(run_main):
    pages = [run_main("--mode", mode, "--help").out for mode in registry.MODES]
    pages.append(run_main("--help").out)
    known = set(re.findall(r"--[a-z_]+", "".join(pages)))
    named = {option for option in re.findall(r"`(--[a-z_]+)", GUIDE) if not option.endswith("_")}
    assert len(named) > 10
    assert named <= known


def test_named_requirements_exist():
    named = set(re.findall(r"requirements[-\w]*\.txt", GUIDE))
    assert named
    assert not [name for name in named if not (REPOSITORY / name).is_file()]


@pytest.mark.parametrize("name", [*registry.MODELS, *registry.MODES])
def test_every_mode_and_model_is_in_the_readme(name):
    assert f"`{name}`" in README


def test_every_mode_has_an_example_in_the_readme():
    modes = {args.parse(command).mode for command in commands_of(README)}
    assert modes == set(registry.MODES)


def test_the_readme_leads_to_every_page():
    pages = {str(page.relative_to(REPOSITORY)) for page in REPOSITORY.glob("docs/*.md")}
    assert pages
    assert pages <= set(re.findall(r"\]\(([^)#:]+)\)", README))


def test_the_readme_can_be_read_at_once():
    assert len(README.splitlines()) < 300  # what is longer has a page in docs/


@pytest.mark.parametrize("name", ["", "-predict", "-extra", "-evaluation"])
def test_a_requirement_ends_before_the_next_major_version(name):
    lines = (REPOSITORY / f"requirements{name}.txt").read_text().splitlines()
    packages = [line for line in lines if not line.startswith(("#", "-r"))]
    assert packages
    assert not [line for line in packages if not re.fullmatch(r"[\w-]+>=[\d.]+,<\d+", line)]
