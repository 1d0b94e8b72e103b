"""The rules of the house, held by reading every module's syntax tree; README.md has its map."""

import ast
import functools
import graphlib
import re
import sys
from pathlib import Path

import pytest

import registry

REPOSITORY = Path(__file__).resolve().parent.parent
PATHS = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path
    for path in sorted([*REPOSITORY.glob("*.py"), *(REPOSITORY / "modes").glob("[!_]*.py")])
}
MODELS = sorted({target.split(":")[0] for target in registry.MODELS.values()})
MODES = [name for name in PATHS if name.startswith("modes.")]
NETWORK_LIBRARIES = {"tensorflow", "keras", "keras_tuner", "torch", "jax"}
SLOW_LIBRARIES = {*NETWORK_LIBRARIES, "librosa", "matplotlib", "sklearn"}
FILES_AND_AUDIO = {"pathlib", "os", "io", "shutil", "soundfile", "soxr", "librosa"}
FILES_AND_AUDIO |= {"atomic_files", "data_tools"}


@functools.cache
def tree(name):
    return ast.parse(PATHS[name].read_text())


def imported_names(nodes):
    """Modules that the import statements among `nodes` name, ours by their whole name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def ours(names):
    return {name for name in names if name in PATHS}


def libraries(names):
    return {name.split(".")[0] for name in names} - {name.split(".")[0] for name in PATHS}


def all_imports(name):
    return set(imported_names(ast.walk(tree(name))))


def imports_on_import(name):
    """What importing the module `name` imports at once: not what its functions import."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    pending, nodes = list(tree(name).body), []
    while pending:
        node = pending.pop()
        nodes.append(node)
        if not isinstance(node, functions) and not is_for_type_checking(node):
            pending.extend(ast.iter_child_nodes(node))
    return set(imported_names(nodes))


def is_for_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def reached_on_import(name):
    """The libraries that importing the module `name` imports, through ours as well."""
    reached, pending = set(), [name]
    while pending:
        names = imports_on_import(current := pending.pop())
        reached |= {current, *libraries(names)}
        pending.extend(ours(names) - reached)
    return reached


def map_of_the_files():
    """Rows of README.md's map, from the ground up: a list of the names that each row stands for."""
    section = (REPOSITORY / "README.md").read_text().partition("## Map of the files")[2]
    rows = []
    for row in re.findall(r"^\| (`.*?`) \|", section.split("\n## ")[0], re.MULTILINE):
        patterns = [p.strip("`/") for p in row.split() if p.endswith((".py`", "modes/`"))]
        names = {
            name
            for name, path in PATHS.items()
            for pattern in patterns
            if path.relative_to(REPOSITORY).match(pattern) or name.startswith(f"{pattern}.")
        }
        rows.append(names)
    return rows


def test_the_imports_have_no_circle():
    graph = {name: ours(all_imports(name)) for name in PATHS}
    graphlib.TopologicalSorter(graph).prepare()


def test_every_file_is_on_the_map_once():
    placed = [name for row in map_of_the_files() for name in row]
    assert sorted(placed) == sorted(PATHS)


def test_a_file_imports_only_from_its_own_row_of_the_map_or_above():
    floor = {}
    for number, names in enumerate(map_of_the_files()):
        for name in names:
            floor.setdefault(name, number)
    upwards = [
        f"{name} imports {imported}"
        for name in floor
        for imported in ours(all_imports(name)) & set(floor)
        if floor[imported] > floor[name]
    ]
    assert not upwards


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_imports_no_other_mode(mode):
    assert not ours(all_imports(mode)) & set(MODES)


@pytest.mark.parametrize("name", [name for name in PATHS if name not in MODES])
def test_only_the_registry_leads_to_modes_and_models(name):
    assert not ours(all_imports(name)) & {*MODES, *MODELS}


def test_main_imports_arguments_registry_and_errors_only():
    assert ours(all_imports("main")) == {"args", "registry", "errors"}


@pytest.mark.parametrize("name", ["main", "config", "registry", "errors", "args"])
def test_what_help_needs_is_of_the_standard_library(name):
    assert reached_on_import(name) - set(PATHS) <= sys.stdlib_module_names


@pytest.mark.parametrize("name", ["data_tools", "augment", "features", "enhancer", "runtime"])
def test_signals_and_prediction_do_without_a_network_library(name):
    assert not reached_on_import(name) & SLOW_LIBRARIES


def test_data_tools_never_touches_keras():
    assert not libraries(all_imports("data_tools")) & NETWORK_LIBRARIES


def test_prediction_imports_no_tensorflow_and_no_pictures():
    assert not reached_on_import("modes.prediction") & SLOW_LIBRARIES


@pytest.mark.parametrize("name", [*MODELS, "model_base", "losses"])
def test_a_model_never_touches_files_or_audio(name):
    assert not {n.split(".")[0] for n in all_imports(name)} & FILES_AND_AUDIO
    calls = {ast.unparse(n.func) for n in ast.walk(tree(name)) if isinstance(n, ast.Call)}
    assert "open" not in calls


@pytest.mark.parametrize("name", PATHS)
def test_assert_is_for_tests(name):
    assert not [node.lineno for node in ast.walk(tree(name)) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("name", PATHS)
def test_no_function_is_long(name):
    functions = [n for n in ast.walk(tree(name)) if isinstance(n, ast.FunctionDef)]
    lists = re.compile("add_.*_options")  # one option after another, nothing to split
    assert not [f.name for f in functions if body_length(f) > 40 and not lists.fullmatch(f.name)]


def body_length(function):
    """Lines of a function after its signature and docstring."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return function.end_lineno - statements[0].lineno + 1 if statements else 0


@pytest.mark.parametrize("name", PATHS)
def test_a_module_opens_with_what_it_is(name):
    assert ast.get_docstring(tree(name))


def test_nothing_names_the_machine_that_it_was_made_on():
    files = [*PATHS.values(), *REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/*.md")]
    absolute = re.compile(r"(?<![\w.~}])/(home|Users|work|root|tmp)/\w")
    assert not [p.name for p in files if absolute.search(p.read_text())]
