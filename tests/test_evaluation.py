"""The evaluation mode: pairs, rows that resume, means with confidence, reports, refusals."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import small_networks
import soundfile
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from speech_enhancement.corpora import pairs as pairing
from speech_enhancement.corpora.pairs import Pair
from speech_enhancement.errors import UsageError, UserError
from speech_enhancement.files import audio_io
from speech_enhancement.inference import card
from speech_enhancement.scoring import cost, metrics, report, systems
from speech_enhancement.scoring import scorer as scoring
from speech_enhancement.scoring import summary as score_summary

RATE = 16000
NAMES = ("alarm", "bells", "rain")
FAST = ("--metrics", "si_sdr", "pesq", "--no-measure_cost", "--worst", 0, "--listen", 0)


@pytest.fixture
def folders(tmp_path, demo_data):
    """Two seconds of three pairs, as 16-bit files; and the options that name them."""
    for side in ("clean", "noisy"):
        for name in NAMES:
            sound, _ = audio_io.load_audio(demo_data / side / f"{name}.wav", RATE)
            audio_io.save_audio(tmp_path / side / f"{name}.wav", sound[: 2 * RATE], RATE)
    return tmp_path


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.fixture
def evaluate(folders, run_main):
    """A function (options...) -> the outcome and the report's JSON."""

    def run(*options):
        outcome = run_main(
            *("--mode", "evaluation", "--clean_dir", folders / "clean"),
            *("--noisy_dir", folders / "noisy", "--report_dir", folders / "report"),
            *FAST,
            *options,
        )
        written = folders / "report" / "report.json"
        return outcome, json.loads(written.read_text()) if written.exists() else None

    return run


def rows_of(folder):
    return [
        json.loads(line) for line in (folder / "report" / "rows.jsonl").read_text().splitlines()
    ]


def test_noisy_row_is_the_mean_of_the_files_own_scores(folders, evaluate):
    outcome, summary = evaluate("--models", "", "--systems", "wiener")
    assert outcome.code == 0, outcome.err
    expected = []
    for name in NAMES:
        clean, noisy = (
            audio_io.load_audio(folders / side / f"{name}.wav")[0] for side in ("clean", "noisy")
        )
        expected.append(metrics.si_sdr(clean, noisy, RATE))
    mean = summary["scores"]["noisy"]["si_sdr"]
    assert mean["mean"] == pytest.approx(np.mean(expected))
    assert mean["low"] <= mean["mean"] <= mean["high"]
    assert mean["n"] == 3
    assert list(summary["scores"]) == ["noisy", "wiener"]


def test_report_has_every_form(folders, evaluate):
    outcome, summary = evaluate(
        *("--models", "", "--systems", "wiener", "--worst", 1),
        *("--name_pattern", "(?P<class>.+)", "--pairs_name", "demo"),
    )
    assert outcome.code == 0, outcome.err
    folder = folders / "report"
    text = (folder / "report.md").read_text()
    assert text.startswith("# Scores on demo\n")
    assert "| **Noisy** |" in text
    assert "## By noise class: SI-SDR (dB)" in text
    assert set(summary["by_class"]) == set(NAMES)
    with (folder / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 6
    assert {row["class"] for row in table} == set(NAMES)
    for name in ("improvement.png", "distribution.png"):
        assert (folder / name).stat().st_size > 5000
    kinds = {path.name.split("_")[-1] for path in (folder / "worst" / "wiener").iterdir()}
    assert {"clean.wav", "noisy.wav", "enhanced.wav"} < kinds


def test_networks_folders_and_baselines_share_one_table(folders, evaluate, weights):
    stem = small_networks.save_gain(weights, 6.0)
    for name in NAMES:
        clean, _ = audio_io.load_audio(folders / "clean" / f"{name}.wav")
        audio_io.save_audio(folders / "perfect" / f"{name}.flac", clean, RATE)
    outcome, summary = evaluate(
        *("--weights_folder", weights, "--models", stem.name),
        *("--enhanced_dir", folders / "perfect", "--systems", "spectral_subtraction"),
    )
    assert outcome.code == 0, outcome.err
    scores = summary["scores"]
    assert list(scores) == ["noisy", stem.name, "perfect", "spectral_subtraction"]
    # an attenuation changes no scale-invariant score; a perfect result has the top of PESQ's scale
    assert scores[stem.name]["si_sdr"]["mean"] == pytest.approx(
        scores["noisy"]["si_sdr"]["mean"], abs=0.5
    )
    assert scores["perfect"]["pesq"]["mean"] == pytest.approx(4.644, abs=1e-3)
    assert all(network in text for text in [outcome.out] for network in scores)


def test_all_models_of_a_folder_are_found(evaluate, weights):
    for decibels in (1.0, 2.0):
        small_networks.save_gain(weights, decibels)
    outcome, summary = evaluate("--weights_folder", weights, "--models", "all")
    assert outcome.code == 0, outcome.err
    assert list(summary["scores"]) == ["noisy", "gain_1.0", "gain_2.0"]


def test_two_processes_give_the_rows_of_one(folders, evaluate):
    options = ("--models", "", "--systems", "wiener")
    _, alone = evaluate(*options)
    (folders / "report" / "rows.jsonl").unlink()
    outcome, shared = evaluate(*options, "--jobs", 2)
    assert outcome.code == 0, outcome.err
    for system, scores in alone["scores"].items():
        for name, value in scores.items():
            # The number of threads may change the order of a sum.
            assert shared["scores"][system][name] == pytest.approx(value, rel=1e-9)


def test_interrupted_evaluation_goes_on_where_it_was(folders, evaluate, monkeypatch):
    evaluate("--models", "")
    path = folders / "report" / "rows.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:40])  # killed while it wrote the third
    scored = []
    score = scoring.score
    monkeypatch.setattr(scoring, "score", lambda *arguments: scored.append(1) or score(*arguments))
    outcome, summary = evaluate("--models", "")
    assert outcome.code == 0, outcome.err
    assert len(scored) == 1
    assert summary["scores"]["noisy"]["si_sdr"]["n"] == 3


def test_changed_recordings_are_scored_anew(folders, evaluate):
    _, before = evaluate("--models", "")
    clean, _ = audio_io.load_audio(folders / "clean" / "rain.wav")
    audio_io.save_audio(folders / "noisy" / "rain.wav", 0.9 * clean, RATE)
    _, after = evaluate("--models", "")
    assert after["scores"]["noisy"]["si_sdr"]["mean"] > before["scores"]["noisy"]["si_sdr"]["mean"]


def test_silence_is_named_and_left_out_of_the_mean(folders, evaluate):
    audio_io.save_audio(folders / "clean" / "rain.wav", np.zeros(2 * RATE, np.float32), RATE)
    outcome, summary = evaluate("--models", "")
    assert outcome.code == 0
    assert "left out: rain, noisy, si_sdr and pesq: the clean recording is silent" in outcome.err
    assert summary["scores"]["noisy"]["si_sdr"]["n"] == 2
    text = (folders / "report" / "report.md").read_text()
    assert "## Left out of means (1)" in text
    assert "- 2 of 3 pairs, denoised and scored at 16000 Hz" in text
    assert outcome.out.startswith("system (2 of 3 pairs)  ")
    outcome, _ = evaluate("--models", "", "--metrics", "si_sdr", "condition", "--listen", 1)
    row = next(line for line in outcome.out.splitlines() if line.startswith("noisy "))
    assert row.count("(2 files)") == 1  # the condition needs no clean recording
    page = (folders / "report" / "listen" / "index.html").read_text()
    assert "<p>Means of 3 pairs:</p>" in page
    assert page.partition("<section>")[0].count("(2 files)") == 1


def test_file_that_breaks_is_named_and_the_rest_is_scored(folders, evaluate):
    sound = np.full(2 * RATE, np.nan, np.float32)
    soundfile.write(folders / "noisy" / "rain.wav", sound, RATE, subtype="FLOAT")
    outcome, summary = evaluate("--models", "")
    assert outcome.code == 1
    assert "failed: rain: NaN or infinite samples in" in outcome.err
    assert summary["scores"]["noisy"]["si_sdr"]["n"] == 2


def test_a_file_that_fails_for_one_system_is_named_with_it(folders, evaluate):
    for name in NAMES:
        sound, _ = audio_io.load_audio(folders / "noisy" / f"{name}.wav")
        audio_io.save_audio(folders / "mine" / f"{name}.wav", sound, RATE)
    (folders / "noisy" / "rain.wav").write_bytes(b"RIFF and no more")
    (folders / "mine" / "bells.wav").write_bytes(b"RIFF and no more")
    outcome, _ = evaluate("--models", "", "--systems", "wiener", "--enhanced_dir", folders / "mine")
    assert outcome.code == 1
    failed = [line for line in outcome.err.splitlines() if line.startswith("failed: ")]
    assert [line.partition(": Cannot read ")[0] for line in failed] == [
        *("failed: rain", "failed: bells, mine")
    ]
    text = (folders / "report" / "report.md").read_text()
    assert "## Left out of means (2)\n\n- rain: Cannot read" in text


def test_scores_at_8_khz_are_narrow_band(evaluate):
    outcome, summary = evaluate(
        *("--models", "", "--sample_rate_evaluation", 8000, "--metrics", "pesq_nb", "pesq")
    )
    assert outcome.code == 0, outcome.err
    scores = summary["scores"]["noisy"]
    assert scores["pesq_nb"] == scores["pesq"]
    assert summary["about"]["rate"] == 8000


def test_every_and_limit_choose_pairs(evaluate):
    _, summary = evaluate("--models", "", "--every", 2)
    assert summary["about"]["files"] == 2
    _, summary = evaluate("--models", "", "--limit", 1)
    assert summary["about"]["files"] == 1


def test_peer_hears_recordings_at_their_own_rate_and_networks_at_that_of_the_scores(
    folders, demo_data, monkeypatch
):
    heard = []

    class Peer:
        def enhance(self, samples, rate):
            heard.append((rate, len(samples)))
            return samples

    own_rate = soundfile.info(demo_data / "noisy" / "rain.wav").samplerate
    assert own_rate > RATE
    pair = Pair("rain", demo_data / "clean" / "rain.wav", demo_data / "noisy" / "rain.wav")
    monkeypatch.setattr(scoring, "made", lambda system: Peer())
    scorer = scoring.Scorer(RATE, ("si_sdr",))
    sounds = [scorer.compared(pair, systems.System("echo", kind)) for kind in ("peer", "baseline")]
    assert [rate for rate, _ in heard] == [own_rate, RATE]
    for each in sounds:
        assert each.clean.shape == each.noisy.shape == each.estimate.shape and each.remark is None
        assert np.abs(each.noisy - each.estimate).max() < 1e-3


def test_peer_that_is_missing_is_skipped_with_a_word(evaluate, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "noisereduce", None)
    outcome, summary = evaluate("--models", "", "--peers", "noisereduce")
    assert outcome.code == 0
    assert "skipped: The peer noisereduce needs `pip install noisereduce`" in outcome.err
    assert list(summary["scores"]) == ["noisy"]


def shorten(folder, by_s):
    path = folder / "noisy" / "rain.wav"
    sound, _ = audio_io.load_audio(path)
    audio_io.save_audio(path, sound[: len(sound) - round(by_s * RATE)], RATE)


def make_stereo(folder):
    path = folder / "noisy" / "rain.wav"
    sound, _ = audio_io.load_audio(path)
    audio_io.save_audio(path, np.stack([sound, sound], axis=1), RATE)


def change_rate(folder):
    path = folder / "noisy" / "rain.wav"
    audio_io.save_audio(path, audio_io.load_audio(path, 8000)[0], 8000)


def empty(folder):
    for path in (folder / "noisy").iterdir():
        path.unlink()


WRONG = [
    (lambda f: (f / "clean" / "rain.wav").unlink(), (), 1, "has no recording with the name of"),
    (lambda f: shorten(f, 0.06), (), 1, "may differ by 50 ms"),
    (make_stereo, (), 1, "1 channels and"),
    (change_rate, (), 1, "the same sample rate; "),
    (empty, (), 1, "No audio"),
    (lambda f: None, ("--systems", "magic"), 2, "`--systems` must be one of"),
    (lambda f: None, ("--peers", "magic"), 2, "`--peers` must be one of"),
    (lambda f: None, ("--metrics", "magic"), 2, "`--metrics` must be one of"),
    (lambda f: None, ("--models", "missing"), 1, "No model card at"),
    (lambda f: None, ("--jobs", 0), 2, "`--jobs` must be a whole number of at least 1"),
    (lambda f: None, ("--every", 0), 2, "`--every` must be a whole number of at least 1"),
    (lambda f: None, ("--limit", 0), 2, "`--limit` must be a whole number of at least 1"),
    (lambda f: None, ("--worst", -1), 2, "`--worst` must be a whole number of at least 0"),
    (lambda f: None, ("--noisy_dir", "nowhere"), 1, "No such folder"),
    (lambda f: None, ("--noisy_dir", "one", "two"), 2, "must be a single folder"),
    (lambda f: None, ("--enhanced_dir", "nowhere"), 1, "No such folder"),
    (lambda f: None, ("--name_pattern", "("), 2, "must be a regular expression"),
    (lambda f: None, ("--name_pattern", "(.*)"), 2, "must have a group"),
    (lambda f: None, ("--name_pattern", "(?P<class>x+)"), 2, "must match every name"),
    (lambda f: None, ("--name_pattern", "(?P<snr>.+)"), 2, "must find a number"),
    (lambda f: None, ("--systems", "wiener", "wiener"), 2, "must differ in name"),
    (lambda f: None, ("--report_dir", "/dev/null/report"), 1, "Cannot write"),
    (lambda f: None, ("--test_windows", "windows"), 2, "`test_windows` needs a network"),
]


@pytest.mark.parametrize(("spoil", "options", "code", "sentence"), WRONG)
def test_wrong_input_ends_in_one_sentence(folders, evaluate, spoil, options, code, sentence):
    spoil(folders)
    outcome, _ = evaluate("--models", "", *options)
    assert outcome.code == code
    assert sentence in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_noisy_recordings_are_required(run_main):
    outcome = run_main("--mode", "evaluation")
    assert outcome.code == 2
    assert "needs --noisy_dir, and --clean_dir if" in outcome.err


def test_lengths_that_differ_by_less_than_50_ms_are_aligned_with_a_word(folders, evaluate):
    _, before = evaluate("--models", "")
    path = folders / "noisy" / "rain.wav"
    sound, _ = audio_io.load_audio(path)
    audio_io.save_audio(path, np.concatenate([np.zeros(320, np.float32), sound]), RATE)
    outcome, after = evaluate("--models", "")
    assert outcome.code == 0, outcome.err
    assert "20.0 ms longer or shorter" in after["remarks"][0]["remark"]
    assert "shifted by 20.0 ms" in after["remarks"][0]["remark"]
    assert after["scores"]["noisy"]["si_sdr"]["mean"] == pytest.approx(
        before["scores"]["noisy"]["si_sdr"]["mean"], abs=0.01
    )


@given(shift=st.integers(-800, 800), cut=st.integers(1, 400), seed=st.integers(0, 9))
def test_align_finds_any_shift_of_up_to_50_ms(shift, cut, seed):
    sound = np.random.default_rng(seed).standard_normal(12000).astype(np.float32)
    clean, other = sound[1000:10000], sound[1000 - shift : 10000 - shift - cut]
    first, second, remark = pairing.align(clean, other, RATE)
    assert remark is not None
    assert len(first) >= len(clean) - 1200
    assert (first == second).all()


def test_table_gives_class_and_snr(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("file,class,snr\nb.wav,bus,2.5\na,café,17.5\n")
    pairs = [Pair(name, tmp_path, tmp_path) for name in ("a", "b")]
    first, second = pairing.with_table(pairs, path)
    assert (first.noise_class, first.snr_db) == ("café", 17.5)
    assert (second.noise_class, second.snr_db) == ("bus", 2.5)
    path.write_text("file,snr\np232_2.5,2.5\np232_7.5.wav,7.5\n")
    pairs = [Pair(name, tmp_path, tmp_path) for name in ("p232_2.5", "p232_7.5")]
    assert [pair.snr_db for pair in pairing.with_table(pairs, path)] == [2.5, 7.5]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,class\nb,bus\n", "has no row for a"),
        ("name,class\na,bus\n", "must have the columns"),
        ("file,snr\na,loud\n", "must have the columns"),
        ("file,snr\na,inf\n", "must have the columns"),
    ],
)
def test_wrong_table_is_refused(tmp_path, text, sentence):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        pairing.with_table([Pair("a", tmp_path, tmp_path)], path)


def test_class_is_the_folder_below(folders):
    for side in ("clean", "noisy"):
        (folders / side / "street").mkdir()
        (folders / side / "rain.wav").rename(folders / side / "street" / "rain.wav")
    found = {
        p.name: p.noise_class for p in pairing.find_pairs(folders / "clean", folders / "noisy")
    }
    assert found == {"alarm": None, "bells": None, "street/rain": "street"}


def test_folders_of_results_must_differ_in_name(folders):
    twins = [folders / "a" / "noisy", folders / "b" / "noisy"]
    for folder in twins:
        folder.parent.mkdir()
        folder.symlink_to(folders / "noisy")
    found = pairing.find_pairs(folders / "clean", folders / "noisy", [folders / "noisy"])
    assert set(found[0].enhanced) == {"noisy"}
    with pytest.raises(UsageError, match="must differ in name"):
        pairing.find_pairs(folders / "clean", folders / "noisy", twins)


def test_confidence_interval_covers_the_mean_of_the_population():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        interval = score_summary.mean_of(rng.normal(3.0, 1.0, 60))
        covered += interval["low"] <= 3.0 <= interval["high"]
    assert 180 <= covered <= 198  # 95 % of 200, give or take four standard deviations


@given(st.floats(-40.0, 60.0))
def test_snr_band_holds_its_snr(snr_db):
    low, high = (float(word) for word in score_summary.snr_band(snr_db).split()[::2][:2])
    assert low <= snr_db < high


def test_input_snr_counts_the_voice_where_it_speaks(rng):
    clean = rng.standard_normal(RATE).astype(np.float32)
    clean[RATE // 2 :] = 0.0
    noise = 0.1 * rng.standard_normal(RATE).astype(np.float32)
    assert scoring.input_snr_db(clean, clean + noise, RATE) == pytest.approx(20.0, abs=0.2)
    assert scoring.input_snr_db(clean, clean, RATE) is None


def test_score_pairs_is_the_mean_over_the_pairs_that_can_be_scored(speech, rng):
    clean = speech(RATE, 1.0)
    noisy = clean + 0.01 * rng.standard_normal(RATE).astype(np.float32)
    silence = np.zeros(RATE, np.float32)
    scores = scoring.score_pairs(lambda sound: sound, [(clean, noisy), (silence, noisy)], RATE)
    assert scores == {
        "si_sdr": pytest.approx(metrics.si_sdr(clean, noisy, RATE)),
        "pesq": pytest.approx(metrics.pesq_wb(clean, noisy, RATE)),
    }
    assert np.isnan(scoring.score_pairs(lambda sound: sound, [(silence, noisy)], RATE)["pesq"])


def test_cost_of_a_network_counts_its_arithmetic(tmp_path):
    stem = small_networks.save_gate(tmp_path)
    known = card.ModelCard.load(stem.with_name(stem.name + ".json"))
    audio = known.audio
    # one 3 x 5 kernel over every bin and frame of a window
    expected = 15 * audio.n_bins * audio.n_frames * audio.sample_rate / audio.frame_length
    assert cost.macs_per_s(stem, known) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted((REPOSITORY / "weights").glob("*.json"))]
)
def test_cost_of_a_shipped_network_is_the_published_one(name):
    stem = REPOSITORY / "weights" / name
    published = json.loads((REPOSITORY / "benchmarks/RESULTS.json").read_text())[0]["cost"]
    macs = cost.macs_per_s(stem, card.ModelCard.beside(stem))
    assert macs == pytest.approx(published[name]["macs_per_s"], rel=1e-3)


def test_cost_counts_recurrent_layers_as_the_runtime_runs_them():
    stem = REPOSITORY / "weights" / "lstm"
    known = card.ModelCard.load(stem.with_suffix(".json"))
    audio, units = known.audio, known.hyperparameters["units"]
    layers = sum(2 * 4 * units * (n_inputs + units) for n_inputs in (audio.n_bins, 2 * units))
    dense = 2 * units * audio.n_bins
    expected = (layers + dense) * audio.n_frames * audio.sample_rate / audio.frame_length
    assert cost.macs_per_s(stem, known) == pytest.approx(expected)


def test_cost_of_a_network_elsewhere_is_measured_too(tmp_path, monkeypatch):
    small_networks.save_gate(tmp_path)
    monkeypatch.chdir(tmp_path)
    system = systems.System("gate", "network", "gate")
    measured = cost.measure(system, 8000)
    assert measured.real_time_factor is not None
    monkeypatch.setattr(cost, "TIME_LIMIT_S", 0.01)
    measured = cost.measure(system, 8000)
    assert measured.real_time_factor is None
    assert measured.parameters is not None


def test_a_result_without_its_beginning_is_compared_with_the_noise_that_it_had(folders, evaluate):
    for name in NAMES:
        sound, _ = audio_io.load_audio(folders / "noisy" / f"{name}.wav")
        audio_io.save_audio(folders / "mine" / f"{name}.wav", sound[160:], RATE)
    evaluate("--models", "", "--enhanced_dir", folders / "mine")
    snr = {(row["system"], row["file"]): row["snr_db"] for row in rows_of(folders)}
    for name in NAMES:
        assert snr["mine", name] == pytest.approx(snr["noisy", name], abs=0.2)


def test_rows_after_one_that_was_cut_short_are_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"file": "a.wav", "system": "s", "scores": {}, "unscored": {}, "snr_db": 0, "class": ""}
    path.write_text(json.dumps(row | {"key": "a"}) + '\n{"key": "b')
    scoring.ScoreStore(path).add(row | {"key": "c"})
    scoring.ScoreStore(path).add(row | {"key": "d"})
    store = scoring.ScoreStore(path)
    assert [key for key in "abcd" if store.get(key)] == ["a", "c", "d"]


def test_recordings_of_one_name_are_refused(folders):
    audio_io.save_audio(folders / "noisy" / "rain.flac", np.ones(RATE, np.float32) / 2, RATE)
    with pytest.raises(UserError, match="have the same name"):
        pairing.find_pairs(folders / "clean", folders / "noisy")


def test_all_networks_of_a_folder_without_any(evaluate, weights):
    outcome, summary = evaluate("--models", "all", "--weights_folder", weights)
    assert outcome.code == 1
    assert outcome.err == f"error: There are no networks in {weights}\n"
    assert summary is None


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "expected"),
    [
        ("Conv", [[1, 8, 10], [4, 2, 3]], [[1, 4, 8]], 4 * 8 * 2 * 3),  # four groups
        ("ConvTranspose", [[1, 8, 10], [8, 4, 3]], [[1, 4, 12]], 8 * 10 * 4 * 3),
        ("MatMul", [[2, 5, 7], [7, 3]], [[2, 5, 3]], 2 * 5 * 3 * 7),
        ("Gemm", [[5, 7], [7, 3]], [[5, 3]], 5 * 3 * 7),
        ("GRU", [[6, 2, 4]], [[6, 1, 2, 3]], 6 * 2 * (9 * 4 + 9 * 3)),
        ("LSTM", [[6, 2, 4]], [[6, 2, 2, 3]], 2 * 6 * 2 * (12 * 4 + 12 * 3)),
        ("Relu", [[5, 7]], [[5, 7]], 0),
    ],
)
def test_multiply_adds_of_nodes(operator, inputs, outputs, expected):
    assert cost._macs_of_node(operator, inputs, outputs) == expected


def test_cost_is_measured_in_a_process_of_its_own():
    figures = cost.measure(systems.System("wiener", "baseline", "wiener"), 8000)
    assert figures.start_up_s > 0.0
    assert figures.real_time_factor >= 0.0
    assert 20.0 < figures.peak_memory_mb < 2000.0
    assert figures.macs_per_s is None


def test_tables_say_how_many_files_a_mean_is_of():
    mean = {"mean": 2.0, "low": 1.9, "high": 2.1, "n": 2}
    whole = {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 3}
    table = report.score_table({"noisy": {"stoi": whole}, "x": {"stoi": mean}}, ["stoi"])
    assert table.splitlines() == [
        "| system | STOI ↑ |",
        "| --- | --: |",
        "| **Noisy** | 1.000 ± 0.500 |",
        "| x | 2.000 ± 0.100 (2 files) |",
    ]
