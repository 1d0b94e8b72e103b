"""The rules of the house, held by reading every module's syntax tree; README.md has its map."""

import ast
import functools
import graphlib
import re
import sys
from pathlib import Path

import pytest

import args
import data_tools
import main
import model_dncnn
import model_unet
from speech_enhancement import registry

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = "speech_enhancement"
DOORS = ("main", "args", "data_tools", "model_unet", "model_dncnn")
PATHS = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((REPOSITORY / PACKAGE).rglob("*.py"))
}
ROOMS = [name for name, path in PATHS.items() if path.name == "__init__.py" and name != PACKAGE]
MODELS = sorted({f"{PACKAGE}{target.split(':')[0]}" for target in registry.MODELS.values()})
MODES = [name for name in PATHS if name.startswith(f"{PACKAGE}.cli.modes.")]
NETWORK_LIBRARIES = {"tensorflow", "keras", "keras_tuner", "torch", "jax"}
SLOW_LIBRARIES = {*NETWORK_LIBRARIES, "librosa", "matplotlib", "sklearn"}
FILES_AND_AUDIO = {"pathlib", "os", "io", "shutil", "soundfile", "soxr", "librosa"}


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
    """Modules of the package among names of modules and of what is in them; not its rooms."""
    return {name for name in names if name in PATHS and PATHS[name].name != "__init__.py"}


def libraries(names):
    return {name.split(".")[0] for name in names} - {PACKAGE}


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


def room(name):
    """The room of a module, or the package for what lies beside the rooms."""
    return ".".join(name.split(".")[:2]) if name.count(".") > 1 else PACKAGE


def map_of_the_files():
    """Rooms of README.md's map, from the ground up."""
    section = (REPOSITORY / "README.md").read_text().partition("## Map of the files")[2]
    rows = re.findall(rf"^\| `{PACKAGE}/(\w*)/?` \|", section.split("\n## ")[0], re.MULTILINE)
    return [f"{PACKAGE}.{row}" if row else PACKAGE for row in rows]


def test_the_imports_have_no_circle():
    graph = {name: ours(all_imports(name)) for name in PATHS}
    graphlib.TopologicalSorter(graph).prepare()


def test_every_room_is_on_the_map_once():
    rooms = [name for name in ROOMS if name != f"{PACKAGE}.cli.modes"]
    assert sorted(map_of_the_files()) == sorted([PACKAGE, *rooms])


@pytest.mark.parametrize("name", [n for n in PATHS if room(n) != PACKAGE])
def test_a_file_imports_only_from_its_own_room_or_from_rooms_above_it_on_the_map(name):
    floor = {room: number for number, room in enumerate(map_of_the_files())}
    imported = ours(all_imports(name))
    assert not {i for i in imported if floor[room(i)] > floor[room(name)]}


def test_what_lies_beside_the_rooms_imports_nothing_out_of_them_at_once():
    for name in (n for n in PATHS if room(n) == PACKAGE):
        assert {room(imported) for imported in ours(imports_on_import(name))} <= {PACKAGE}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_imports_no_other_mode(mode):
    assert not ours(all_imports(mode)) & set(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_leaves_networks_to_the_stage_that_it_calls(mode):
    assert not libraries(all_imports(mode)) & NETWORK_LIBRARIES


@pytest.mark.parametrize("name", [n for n in PATHS if not n.startswith(f"{PACKAGE}.cli")])
def test_only_the_command_line_knows_what_argparse_gives(name):
    assert "argparse" not in all_imports(name)
    for parameter in (n for n in ast.walk(tree(name)) if isinstance(n, ast.arg)):
        annotation = ast.unparse(parameter.annotation) if parameter.annotation else ""
        assert "Namespace" not in annotation
        assert parameter.arg != "options" or annotation.startswith("FileOptions")


@pytest.mark.parametrize("name", [name for name in PATHS if name not in MODES])
def test_only_the_registry_leads_to_modes_and_models(name):
    assert not ours(all_imports(name)) & {*MODES, *MODELS}


def test_the_command_imports_places_options_registry_and_errors_only():
    allowed = {f"{PACKAGE}.{name}" for name in ("places", "cli.args", "registry", "errors")}
    assert ours(all_imports(f"{PACKAGE}.cli.main")) == allowed


@pytest.mark.parametrize("name", ["__main__", "cli.main"])
def test_what_help_needs_is_of_the_standard_library(name):
    assert reached_on_import(f"{PACKAGE}.{name}") - set(PATHS) <= sys.stdlib_module_names


@pytest.mark.parametrize("name", [n for n in PATHS if room(n).endswith((".signal", ".mixing"))])
def test_signals_and_mixtures_do_without_a_network_library(name):
    assert not reached_on_import(name) & SLOW_LIBRARIES
    assert not libraries(all_imports(name)) & NETWORK_LIBRARIES


@pytest.mark.parametrize(
    "name", ["inference.enhancer", "inference.runtime", "cli.modes.prediction"]
)
def test_prediction_imports_no_tensorflow_and_no_pictures(name):
    assert not reached_on_import(f"{PACKAGE}.{name}") & SLOW_LIBRARIES


@pytest.mark.parametrize("name", [n for n in PATHS if room(n).endswith(".models")])
def test_a_model_never_touches_files_or_audio(name):
    assert not libraries(all_imports(name)) & FILES_AND_AUDIO
    assert not {room(n) for n in ours(all_imports(name))} & {f"{PACKAGE}.files"}
    calls = {ast.unparse(n.func) for n in ast.walk(tree(name)) if isinstance(n, ast.Call)}
    assert "open" not in calls


@pytest.mark.parametrize("door", DOORS)
def test_a_door_leads_into_the_package_and_nowhere_else(door):
    module = ast.parse((REPOSITORY / f"{door}.py").read_text())
    assert ast.get_docstring(module)
    assert not [n for n in ast.walk(module) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert {name.split(".")[0] for name in imported_names(module.body)} == {PACKAGE}


def test_only_doors_lie_beside_the_package():
    assert sorted(path.stem for path in REPOSITORY.glob("*.py")) == sorted(DOORS)


def test_doors_give_what_they_say():
    names = ((data_tools, "mix_at_snr"), (args, "parse"), (model_unet, "UNet"))
    for door, name in (*names, (model_dncnn, "DnCNN"), (main, "run")):
        assert name in door.__all__
        assert callable(getattr(door, name))


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
