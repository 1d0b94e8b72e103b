import re
import subprocess
import sys

import pytest

import args
import main
import registry

HEAVY = (
    "numpy",
    "scipy",
    "soundfile",
    "tensorflow",
    "keras",
    "keras_tuner",
    "librosa",
    "matplotlib",
)


def test_a_missing_package_is_told_in_a_sentence(monkeypatch, run_main):
    monkeypatch.setitem(sys.modules, "modes.prediction", None)
    outcome = run_main("a.wav")
    assert outcome.code == 1
    assert outcome.err.startswith("error: Python has no package modes.prediction: pip install")


def test_help_imports_nothing_heavy():
    program = (
        "import sys, main\n"
        "try: main.main(['--help'])\n"
        "except SystemExit: print('IMPORTED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=args.REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = done.stdout.rpartition("IMPORTED")[2].split()
    assert "argparse" in imported
    assert not set(HEAVY) & set(imported)


def test_help_names_every_mode_and_gives_every_option_a_line(run_main):
    outcome = run_main("--help")
    assert outcome.code == 0
    assert all(mode in outcome.out for mode in registry.MODES)


@pytest.mark.parametrize("mode", registry.MODES)
def test_the_docstring_of_main_lists_the_mode(mode):
    assert mode in main.__doc__


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mode", "sing"], "error: `--mode` must be one of .*prediction.*Received: sing"),
        (["--model", "bert"], "error: `--model` must be one of .*unet.*Received: bert"),
        (["--epochs", "many"], "error: `--epochs` must be a whole number. Received: many"),
        (["--snr_min", "low"], "error: `--snr_min` must be a number. Received: low"),
        (["--epochs"], "error: `--epochs` must be followed by a value"),
        (["--noise_level", "1"], "error: `--noise_level` must be followed by 2 values"),
        (["--resume=yes"], "error: `--resume` takes no value. Received: yes"),
        (["--epoch", "3"], "error: No option is called `--epoch`: did you mean --epochs"),
        (["--qqqq"], "error: No option is called `--qqqq`: see --help"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence, run_main):
    outcome = run_main(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert re.match(sentence, outcome.err)


def test_inputs_and_options_come_in_any_order():
    options = args.parse(["a.wav", "--seed", "3", "b c.wav", "-", "--", "-d.wav", "--seed"])
    assert options.inputs == ["a.wav", "b c.wav", "-", "-d.wav", "--seed"]
    assert options.seed == 3


def test_defaults_do_not_depend_on_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert args.parse([]).weights_folder == args.REPOSITORY / "weights"


def test_a_process_ends_with_the_code_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "main.py", "--mode", "sing"],
        cwd=args.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_no_traceback(run_main, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "resolve", lambda *_: interrupted)
    outcome = run_main("--mode", "prediction")
    assert (outcome.code, outcome.err) == (130, "error: stopped by the user\n")


def test_every_registered_name_leads_to_a_module_and_an_attribute():
    tables = [table for table in vars(registry).values() if isinstance(table, dict)]
    targets = [t for table in tables for t in table.values() if isinstance(t, str) and ":" in t]
    assert len(targets) >= len(registry.MODES) + len(registry.MODELS) + len(registry.LOSSES)
    for target in targets:
        module, attribute = target.split(":")
        path = args.REPOSITORY / f"{module.replace('.', '/')}.py"
        assert path.is_file(), f"{target} names no file"
        assert attribute in path.read_text()
