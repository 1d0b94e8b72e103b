import argparse
import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from speech_enhancement import registry
from speech_enhancement.cli import args, command_line
from speech_enhancement.errors import UsageError

REPOSITORY = Path(__file__).resolve().parent.parent
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
    monkeypatch.setitem(sys.modules, "speech_enhancement.cli.modes.prediction", None)
    outcome = run_main("a.wav")
    assert outcome.code == 1
    assert outcome.err.startswith(
        "error: The Python package speech_enhancement.cli.modes.prediction is missing: pip install"
    )


@pytest.mark.parametrize(
    ("package", "command"),
    [
        ("torch", "pip install torch"),
        ("jax", "-r requirements-jax.txt"),
        ("keras", "-r requirements.txt"),
    ],
)
def test_a_missing_package_is_told_with_what_installs_it(package, command, monkeypatch, run_main):
    def run(options):
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr("speech_enhancement.registry.resolve", lambda *_: run)
    outcome = run_main("a.wav")
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: The Python package {package} is missing: pip install")
    assert outcome.err.endswith(f"{command}\n")


def test_a_backend_that_keras_does_not_know_is_refused(monkeypatch, run_main):
    monkeypatch.setenv("KERAS_BACKEND", "xyz")
    outcome = run_main("--mode", "training")
    sentence = "`KERAS_BACKEND` must be one of tensorflow, jax, torch. Received: xyz"
    assert (outcome.code, outcome.err) == (2, f"error: {sentence}\n")


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom speech_enhancement.cli import main\n"
        "try: main.main(['--help'])\n"
        "except SystemExit: print('IMPORTED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = done.stdout.rpartition("IMPORTED")[2].split()
    assert "argparse" in imported
    assert not set(HEAVY) & set(imported)


def test_help_shows_the_modes_and_the_common_options_on_one_screen(run_main):
    outcome = run_main("--help")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) < 60
    for mode in registry.MODES:
        assert re.search(rf"^  {mode} .*{args.MODES[mode].summary[:20]}", outcome.out, re.MULTILINE)
    assert "--weights_folder" in outcome.out
    assert "--epochs" not in outcome.out


def test_the_modes_of_the_registry_have_options():
    assert args.MODES.keys() == registry.MODES.keys()


def test_an_option_is_the_same_in_every_mode_except_for_its_help():
    declared = {}
    for option in (option for mode in args.MODES.values() for option in mode.options.values()):
        kind = option.kind.metavar, option.kind.limits
        effect = [(condition.option, condition.words) for condition in option.only]
        facts = kind, option.default, option.count, option.metavar, effect
        assert declared.setdefault(option.name, facts) == facts


def test_help_names_the_network_that_a_mode_uses_by_default(run_main):
    defaults = {"app": registry.DEFAULT_NETWORK, "streaming": registry.LIVE_NETWORK}
    for mode, name in defaults.items():
        text = " ".join(run_main("--mode", mode, "--help").out.split())
        assert re.search(rf"--name_model NAME [^-]*; by default {name} --", text)


def test_help_shows_default_folders_relative_to_the_current_one(monkeypatch, run_main):
    monkeypatch.chdir(REPOSITORY)
    text = " ".join(run_main("--mode", "app", "--help").out.split())
    assert "folder of networks and their cards (default: weights)" in text


@pytest.mark.parametrize("values", [["onnx", "int8"], ["onnx,int8"], ["onnx,", "int8"]])
def test_several_names_are_separate_values_or_separated_by_commas(values):
    options = args.parse(["--mode", "export", "--formats", *values, "--models", "a", "b"])
    assert options.formats == ["onnx", "int8"]
    assert options.models == ["a", "b"]


@pytest.mark.parametrize("mode", args.MODES)
class TestEveryMode:
    def test_help_shows_its_options_and_no_others(self, mode, run_main):
        outcome = run_main("--mode", mode, "--help")
        assert outcome.code == 0
        shown = set(re.findall(r"^  --(?!no-)(\w+)", outcome.out, re.MULTILINE))
        assert shown == args.MODES[mode].options.keys()
        assert ("[INPUT ...]" in outcome.out) == bool(args.MODES[mode].inputs)

    def test_its_defaults_are_as_declared(self, mode):
        options = vars(args.parse(["--mode", mode]))
        assert options.pop("mode") == mode
        if args.MODES[mode].inputs:
            assert options.pop("inputs") == []
        named = options.pop("name_model", None)
        by_mode = {"training": None, "streaming": registry.LIVE_NETWORK}
        assert named == by_mode.get(mode, named and registry.DEFAULT_NETWORK)
        declared = {name: option.default for name, option in args.MODES[mode].options.items()}
        declared.pop("name_model", None)
        assert options == declared

    def test_an_option_of_other_modes_is_refused_by_their_names(self, mode, run_main):
        others = {name for other in args.MODES.values() for name in other.options}
        for name in sorted(others - args.MODES[mode].options.keys()):
            outcome = run_main("--mode", mode, f"--{name}", "1")
            assert outcome.code == 2
            has_it = re.match(
                rf"error: `--{name}` is an option of (.*)\. Received: --mode {mode}\n$", outcome.err
            )
            named = re.findall(r"--mode (\w+)", has_it[1])
            assert named == [m for m in args.MODES if name in args.MODES[m].options]

    def test_a_number_that_is_not_allowed_is_refused(self, mode, run_main):
        limited = [o for o in args.MODES[mode].options.values() if o.kind.metavar in ("N", "X")]
        for option in limited:
            outcome = run_main(
                "--mode", mode, *[f"--{option.name}", *["many"] * (option.count or 1)]
            )
            assert outcome.code == 2
            assert re.match(
                rf"error: `--{option.name}` must be a (whole )?number.*\. Received: many\n$",
                outcome.err,
            )

    def test_inputs_are_refused_where_there_are_none(self, mode, run_main):
        if not args.MODES[mode].inputs:
            outcome = run_main("--mode", mode, "a.wav", "b.wav")
            assert outcome.code == 2
            sentence = f"error: --mode {mode} takes no inputs. Received: a.wav b.wav\n"
            assert outcome.err == sentence


TRAINING = ("--mode", "training")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mode", "sing"], "error: `--mode` must be one of .*prediction.*Received: sing"),
        (["--mode"], "error: `--mode` must be followed by a value"),
        ([*TRAINING, "--model", "bert"], "error: `--model` must be one of .*unet.*Received: bert"),
        (
            [*TRAINING, "--epochs", "0"],
            "error: `--epochs` must be a whole number of at least 1. Received: 0",
        ),
        (["--strength", "2"], "error: `--strength` must be a number from 0 to 1. Received: 2"),
        ([*TRAINING, "--learning_rate", "nan"], "error: `--learning_rate` must be a number above"),
        ([*TRAINING, "--epochs"], "error: `--epochs` must be followed by a value"),
        (["--audio_input_prediction"], "error: .* must be followed by one or more values"),
        (
            ["--mode", "data_creation", "--noise_level", "1"],
            "error: `--noise_level` must be followed by 2 values",
        ),
        ([*TRAINING, "--resume=it's"], r"error: `--resume` takes no value\. Received: it"),
        (
            [*TRAINING, "--epoch", "3"],
            "error: No option is called `--epoch`: did you mean --epochs",
        ),
        (["--qqqq"], "error: No option is called `--qqqq`: see --help"),
        (["--no-resume"], "error: `--no-resume` is an option of --mode training and --mode tuning"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence, run_main):
    outcome = run_main(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert re.match(sentence, outcome.err)


@pytest.mark.parametrize(
    ("mode", "arguments", "sentence"),
    [
        (
            "training",
            ["--mix_n_rooms=3"],
            "`--mix_n_rooms`.* with --data dynamic or device. .*--data stored",
        ),
        (
            "training",
            ["--voice_dir=a"],
            "`--voice_dir`.* with --data dynamic or device. .*--data stored",
        ),
        ("tuning", ["--data=dynamic", "--max_windows=3"], "`--max_windows`.* with --data stored"),
        (
            "training",
            ["--evaluate_mixtures=3"],
            "with --evaluate_every. Received: no --evaluate_every",
        ),
        (
            "data_creation",
            ["--clean_dir=a", "--noisy_dir=b", "--snr_min=0"],
            "`--snr_min`.* without --clean_dir. Received: --clean_dir a",
        ),
        (
            "data_creation",
            ["--noise_level", "0", "1", "--snr_max=9"],
            "`--snr_max`.* without --noise_level. Received: --noise_level 0.0 1.0",
        ),
        ("data_creation", ["--voice_level", "0", "1"], "with --noise_level"),
        ("prediction", ["-", "--recursive"], "`--recursive`.* without the input -. Received: -"),
        ("streaming", ["-", "--input_device=1"], "`--input_device`.* without the input -"),
        ("export", ["--models=all", "--name_model=a"], "`--name_model`.* without --models"),
        ("evaluation", ["--enhanced_dir=a", "--name_model=b"], "without --enhanced_dir"),
        ("prediction", ["-", "--jobs=2"], "`--jobs`.* without the input -"),
        (
            "prediction",
            ["a.wav", "--audio_output_prediction=b.wav", "--suffix=_clean"],
            "without --audio_output_prediction",
        ),
        (
            "prediction",
            ["a.wav", "--audio_output_prediction=b.wav", "--format=flac"],
            "without --audio_output_prediction",
        ),
        (
            "prediction",
            ["a.wav", "--no-keep_level", "--normalise_lufs=-20"],
            "`--keep_level`.* without --normalise_lufs",
        ),
        (
            "training",
            ["--data=dynamic", "--mix_hum_snr_db", "0", "10"],
            "with --mix_hum_probability. Received: no --mix_hum_probability",
        ),
        (
            "training",
            ["--data=dynamic", "--mix_speed_probability=0", "--mix_speed", "1", "2"],
            "with --mix_speed_probability",
        ),
        (
            "training",
            ["--data=dynamic", "--mix_reverb_dir=rooms", "--mix_n_rooms=3"],
            "without --mix_reverb_dir. Received: --mix_reverb_dir rooms",
        ),
        (
            "training",
            ["--data=device", "--mix_codec_compression", "0", "1"],
            "with --data dynamic. Received: --data device",
        ),
        (
            "training",
            ["--data=dynamic", "--mixing_workers=0", "--prefetch=4"],
            "with --mixing_workers",
        ),
        (
            "data_creation",
            ["--clean_dir=a", "--noisy_dir=b", "--augment", "--mix_snr_db", "0", "5"],
            "`--mix_snr_db`.* without --clean_dir",
        ),
        ("data_creation", ["--augment", "--hop_length_frame_noise=2"], "without --augment"),
    ],
)
def test_an_option_without_effect_is_refused(mode, arguments, sentence, run_main):
    outcome = run_main("--mode", mode, *arguments)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "only has an effect" in outcome.err
    assert re.search(sentence, outcome.err)


def settings_of(mode, name):
    """Ways to give an option or the inputs of a mode, or not to: arguments and their value."""
    if name == "inputs":
        return [([], []), (["-"], ["-"])]
    option = mode.options[name]
    if option.kind is command_line.SWITCH:
        return [([], option.default), ([f"--{name}"], True)]
    names = re.findall(r"\w+", option.kind.limits.removeprefix("one of"))
    settings = [([], option.default)]
    for text in ("0", "1", "2", "0.5", "a", "auto", *names):
        with contextlib.suppress(argparse.ArgumentTypeError):
            n_values = option.count if isinstance(option.count, int) else 1
            settings.append(([f"--{name}", *[text] * n_values], option.kind(text)))
    return settings


def arguments_that_break(broken, conditions, mode):
    """Arguments with which all conditions hold except for one, as far as that is possible."""
    for name in dict.fromkeys(condition.option for condition in conditions):
        of_option = [condition for condition in conditions if condition.option == name]

        def fits(setting, of_option=of_option):
            is_right = {c: c.holds(setting[1]) is (c is not broken) for c in of_option}
            return is_right.get(broken, True), sum(is_right.values())

        yield from max(settings_of(mode, name), key=fits)[0]


@pytest.mark.parametrize("name", args.MODES)
def test_every_option_is_refused_where_it_is_said_to_have_no_effect(name):
    mode = args.MODES[name]
    for option in mode.options:
        own = next(given for given, _ in settings_of(mode, option) if given)
        conditions = mode.conditions(option)
        for broken in conditions:
            context = arguments_that_break(broken, conditions, mode)
            with pytest.raises(UsageError) as refusal:
                args.parse(["--mode", name, *own, *context])
            assert str(refusal.value).startswith(
                f"`--{option}` only has an effect {broken.words}. Received: "
            )


def test_inputs_and_options_come_in_any_order():
    options = args.parse(["a.wav", "--sound_track", "3", "b c.wav", "-", "--", "-d.wav", "--seed"])
    assert options.inputs == ["a.wav", "b c.wav", "-", "-d.wav", "--seed"]
    assert options.sound_track == 3


def test_defaults_do_not_depend_on_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert args.parse([]).weights_folder == REPOSITORY / "weights"


def test_a_process_ends_with_the_code_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "main.py", "--mode", "sing"],
        cwd=REPOSITORY,
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
        path = REPOSITORY / f"speech_enhancement{module.replace('.', '/')}.py"
        assert path.is_file(), f"{target} names no file"
        assert attribute in path.read_text()
