"""--mode evaluation of recordings without clean ones, as a tester of devices has them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import small_networks
import soundfile
from conftest import REPOSITORY

from speech_enhancement.corpora import pairs as pairing
from speech_enhancement.files import audio_io
from speech_enhancement.scoring import condition, dnsmos, systems, verdict
from speech_enhancement.scoring import scorer as scoring
from speech_enhancement.scoring.frames import Unscorable
from speech_enhancement.signal import dsp

RATE = 16000
MAINS_HZ = 50.0


@pytest.fixture
def recordings(tmp_path, speech, rng):
    """A folder with a sub-folder for each of two devices; one has hum."""
    folder = tmp_path / "recordings"
    sound = speech(RATE, 2.5)
    noise = 0.005 * rng.standard_normal(len(sound)).astype(np.float32)
    audio_io.save_audio(folder / "phone" / "kitchen.wav", sound + noise, RATE)
    audio_io.save_audio(folder / "laptop" / "office.flac", sound + hum_of(len(sound)), RATE)
    return folder


def hum_of(n_samples, rate=RATE):
    """Three tones of the mains, 20 dB below full scale together."""
    time = np.arange(n_samples) / rate
    tones = [np.sin(2 * np.pi * MAINS_HZ * n * time) for n in (1, 2, 3)]
    return (0.08 * np.sum(tones, axis=0)).astype(np.float32)


@pytest.fixture
def evaluate(tmp_path, recordings, run_main):
    """A function (options...) -> the outcome and the report's JSON."""
    (tmp_path / "weights").mkdir()
    network = small_networks.save_gain(tmp_path / "weights", 6.0)

    def run(*options, models=(network.name,)):
        chosen = ("--weights_folder", tmp_path / "weights", "--models", *models) if models else ()
        outcome = run_main(
            *("--mode", "evaluation", "--noisy_dir", recordings, "--report_dir"),
            *(tmp_path / "report", *chosen, *options),
        )
        written = tmp_path / "report" / "report.json"
        return outcome, json.loads(written.read_text()) if written.exists() else None

    return run


def test_a_folder_of_silence_is_an_error_with_a_report(tmp_path, recordings, evaluate):
    for path in recordings.glob("*/*"):
        audio_io.save_audio(path, np.zeros(RATE, np.float32), RATE)
    outcome, summary = evaluate("--metrics", "dnsmos", "condition")
    assert outcome.code == 1
    assert outcome.err.endswith("error: No recording could be scored\n")
    assert summary["scores"] == {"noisy": {}, "gain_6.0": {}}
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| phone/kitchen.wav | gain_6.0 | the recording is silent |" in text
    line = "phone/kitchen.wav, noisy and gain_6.0, dnsmos and condition: the recording is silent"
    assert f"- {line}\n" in text


def test_a_folder_of_recordings_is_enough(tmp_path, evaluate):
    outcome, summary = evaluate()
    assert outcome.code == 0, outcome.err
    assert list(summary["scores"]) == ["noisy", "gain_6.0"]
    assert set(summary["by_class"]) == {"phone", "laptop"}
    noisy, denoised = (summary["scores"][name] for name in ("noisy", "gain_6.0"))
    assert set(noisy) == {
        *("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808", "snr_estimate_db", "hum_db"),
        *("noise_floor_dbfs", "speech_level_dbfs", "clipping_percent", "bandwidth_hz"),
        "offset_percent",
    }
    for name in ("noise_floor_dbfs", "speech_level_dbfs"):
        assert denoised[name]["mean"] == pytest.approx(noisy[name]["mean"] - 6.0, abs=0.5)
    assert summary["verdicts"]["noisy"][0].endswith(": 1 of 2 very noisy, 1 of 2 mains hum")
    text = (tmp_path / "report" / "report.md").read_text()
    table = text.partition("DNSMOS OVRL of each recording")[2].split("\n\n")[1]
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        *("| laptop/office.flac", "| phone/kitchen.wav", "| **mean**")
    ]
    with (tmp_path / "report" / "scores.csv").open(newline="") as file:
        verdicts = {(row["file"], row["system"]): row["verdict"] for row in csv.DictReader(file)}
    assert "mains hum" in verdicts["laptop/office.flac", "noisy"]
    assert "mains hum" not in verdicts["phone/kitchen.wav", "noisy"]


def test_the_page_has_a_player_and_a_picture_of_every_version(tmp_path, evaluate):
    evaluate()
    folder = tmp_path / "report" / "listen"
    page = (folder / "index.html").read_text()
    means = re.findall(r"<tr><td>(.*?)</td>", page.partition("<section>")[0])
    assert means == ["system", "noisy", "gain_6.0"]
    sounds, images = (re.findall(rf'src="([^"]+\.{suffix})"', page) for suffix in ("wav", "png"))
    assert len(sounds) == len(images) == 4  # two recordings, before and after
    assert all((folder / name).stat().st_size > 1000 for name in (*sounds, *images))
    before, after = (audio_io.load_audio(folder / name)[0] for name in sounds[:2])
    assert dsp.active_rms(after, RATE) == pytest.approx(dsp.active_rms(before, RATE) / 2, rel=0.05)
    note = folder / "001_note.txt"
    note.write_text("of mine")
    evaluate("--listen", 1)
    assert (folder / "index.html").read_text().count("<audio") == 2
    assert note.exists()
    evaluate("--listen", 0)
    assert [path.name for path in folder.iterdir()] == ["001_note.txt"]


def test_pairs_have_a_page_as_well(tmp_path, recordings, evaluate):
    outcome, summary = evaluate(
        *("--clean_dir", recordings, "--metrics", "si_sdr", "condition", "--no-measure_cost"),
        models=(),
    )
    assert outcome.code == 0, outcome.err
    assert "bandwidth_hz" in summary["scores"]["noisy"]
    page = (tmp_path / "report" / "listen" / "index.html").read_text()
    assert page.index("<b>clean</b>") < page.index("<b>noisy</b>")


def test_clean_recordings_change_no_measure_that_needs_none(
    tmp_path, recordings, speech, evaluate, rng
):
    noise = 0.01 * rng.standard_normal(48000).astype(np.float32)
    audio_io.save_audio(recordings / "telephone.wav", speech(8000, 1.0), 8000)
    audio_io.save_audio(recordings / "studio.wav", np.clip(9 * noise, -0.1, 0.1), 48000)
    verdicts, measured = [], []
    for options in (
        ("--metrics", "condition"),
        ("--metrics", "condition", "si_sdr", "--clean_dir", recordings, "--no-measure_cost"),
    ):
        outcome, summary = evaluate(*options, "--listen", 1)
        assert outcome.code == 0, outcome.err
        verdicts.append(summary["verdicts"])
        with (tmp_path / "report" / "scores.csv").open(newline="") as file:
            measured.append({(Path(r["file"]).stem, r["system"]): r for r in csv.DictReader(file)})
    alone, beside_clean = measured
    assert verdicts[0] == verdicts[1]
    assert "1 of 4 narrow band" in verdicts[0]["noisy"][0]
    for key, row in beside_clean.items():
        assert row.pop("si_sdr")
        names = row.keys() - {"file", "snr_db"}
        assert {name: row[name] for name in names} == {name: alone[key][name] for name in names}
    assert float(beside_clean["studio", "noisy"]["bandwidth_hz"]) > 20000.0
    assert float(beside_clean["studio", "noisy"]["clipping_percent"]) > 1.0
    page = tmp_path / "report" / "listen"
    rates = {path.name: soundfile.info(path).samplerate for path in page.glob("*.wav")}
    assert rates == dict.fromkeys(("001_clean.wav", "001_noisy.wav", "001_gain_6.0.wav"), RATE)
    text = (tmp_path / "report" / "report.md").read_text()
    assert "- recordings with another rate than 8000 Hz: 3; DNSMOS, " in text


def test_a_pair_at_the_rate_of_the_comparison_is_denoised_once(recordings, monkeypatch):
    calls = []

    class Network:
        def enhance(self, samples, rate):
            calls.append(rate)
            return 0.5 * samples

    monkeypatch.setattr(scoring, "made", lambda system: Network())
    (pair,) = pairing.find_pairs(recordings / "phone", recordings / "phone")
    system = systems.System("half", "network")
    row = scoring.Scorer(RATE, ("si_sdr", "condition")).row(pair, system)
    assert {"si_sdr", "bandwidth_hz"} <= set(row["scores"])
    assert calls == [RATE]
    scoring.Scorer(8000, ("si_sdr", "condition")).row(pair, system)
    assert calls[1:] == [8000, RATE]
    scoring.Scorer(8000, ("si_sdr",)).row(pair, system)
    assert calls[3:] == [8000]


def test_every_kind_of_recording_is_scored_or_named(tmp_path, recordings, speech, evaluate):
    loud = speech(48000, 1.0)
    stereo = np.stack([np.zeros_like(loud), np.clip(20.0 * loud, -1.0, 1.0)], axis=1)
    audio_io.save_audio(recordings / "dead_left.wav", stereo, 48000)
    audio_io.save_audio(recordings / "telephone.wav", speech(8000, 1.0), 8000)
    audio_io.save_audio(recordings / "short.wav", speech(RATE, 0.02), RATE)
    audio_io.save_audio(recordings / "silence.wav", np.zeros(RATE, np.float32), RATE)
    (recordings / "damaged.wav").write_bytes(b"RIFF and no more")
    outcome, summary = evaluate("--metrics", "condition", "--listen", 1, models=())
    assert outcome.code == 1  # for the damaged one
    text = (tmp_path / "report" / "report.md").read_text()
    page = (tmp_path / "report" / "listen" / "index.html").read_text()
    assert outcome.out.startswith("system (4 of 7 recordings)  estimated SNR")
    assert "\n- 4 of 7 recordings without clean ones, " in text
    assert "\n| system (4 of 7 recordings) | estimated SNR" in text
    assert "<p>Means of 4 of 7 recordings:</p>" in page
    assert {it["file"] for it in summary["failed"]} == {"damaged.wav"}
    assert (
        outcome.err.count("failed: damaged.wav: Cannot read ") == outcome.err.count("failed") == 1
    )
    scores = {each["file"]: each["scores"]["noisy"] for each in summary["recordings"]}
    assert scores["dead_left.wav"]["clipping_percent"] > 1.0
    assert scores["telephone.wav"]["bandwidth_hz"] <= 4000.0
    assert "hum_db" not in scores["telephone.wav"]  # which lasts 1 s
    assert scores["short.wav"] == scores["silence.wav"] == {}
    assert (
        "left out: silence.wav, noisy and dpcrn_offline, condition: the recording is silent"
        in outcome.err
    )
    verdicts = {each["file"]: each["verdicts"]["noisy"][0] for each in summary["recordings"]}
    assert verdicts["silence.wav"] == "the recording is silent"
    assert verdicts["short.wav"] == "the recording is shorter than 0.25 s"


def test_results_of_other_programs_need_no_clean_recordings(tmp_path, recordings, evaluate):
    for path in audio_io.find_audio_files(recordings):
        sound, rate = audio_io.load_audio(path)
        target = tmp_path / "program" / path.relative_to(recordings).with_suffix(".wav")
        audio_io.save_audio(target, 0.5 * sound[: len(sound) // 2], rate)
    outcome, summary = evaluate("--enhanced_dir", tmp_path / "program", models=())
    assert outcome.code == 0, outcome.err
    assert list(summary["scores"]) == ["noisy", "program"]


def test_without_dnsmos_the_rest_is_reported(tmp_path, evaluate, monkeypatch):
    monkeypatch.setattr(dnsmos.importlib.util, "find_spec", lambda name: None)
    outcome, summary = evaluate(models=())
    assert outcome.code == 0, outcome.err
    assert "skipped: DNSMOS was left out, because speechmos is not installed" in outcome.err
    assert "snr_estimate_db" in summary["scores"]["noisy"]
    text = (tmp_path / "report" / "report.md").read_text()
    assert "- DNSMOS was left out" in text
    assert "## estimated SNR (dB) of each recording" in text


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--metrics", "pesq"), 2, "`metrics` can be dnsmos and condition only. Received: pesq"),
        (("--worst", 1), 2, "`--worst` only has an effect with --clean_dir"),
        (("--listen", -1), 2, "`--listen` must be a whole number of at least 0"),
        (("--enhanced_dir", "nowhere"), 1, "No such folder: nowhere"),
    ],
)
def test_what_does_not_apply_is_refused_in_a_sentence(evaluate, options, code, sentence):
    outcome, _ = evaluate(*options)
    assert outcome.code == code
    assert sentence in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_folder_of_damaged_recordings_has_no_report(recordings, evaluate):
    for path in audio_io.find_audio_files(recordings):
        path.write_bytes(b"nothing")
    outcome, summary = evaluate(models=())
    assert outcome.code == 1
    assert "None of the 2 recordings can be scored: Cannot read" in outcome.err
    assert summary is None


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_noise_floor_and_speech_level_are_those_of_the_mixture(rng, speech, rate):
    voice, pause = speech(rate, 2.0), np.zeros(2 * rate, np.float32)
    sound = np.concatenate([voice, pause])
    noise = 0.003 * rng.standard_normal(len(sound)).astype(np.float32)
    measured = condition.condition(sound + noise, rate)
    assert measured["noise_floor_dbfs"] == pytest.approx(20 * np.log10(0.003), abs=1.0)
    assert measured["speech_level_dbfs"] == pytest.approx(-25.0, abs=1.0)  # without the pause
    true_snr_db = measured["speech_level_dbfs"] - 20 * np.log10(0.003)
    assert measured["snr_estimate_db"] == pytest.approx(true_snr_db, abs=1.0)


def test_active_speech_level_is_that_of_a_steady_tone(rng):
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(3 * RATE) / RATE)
    level_dbfs = 20 * np.log10(0.1 / np.sqrt(2))
    assert condition.speech_level(tone, RATE) == pytest.approx(level_dbfs, abs=0.1)
    with_silence = np.concatenate([tone, np.zeros(9 * RATE)])
    assert condition.speech_level(with_silence, RATE) == pytest.approx(level_dbfs, abs=0.5)


@pytest.mark.parametrize("tone_hz", [50.0, 120.0])
def test_a_single_tone_of_the_mains_is_hum(rng, tone_hz):
    time = np.arange(4 * RATE) / RATE
    noise = 3e-3 * rng.standard_normal(len(time))
    assert "mains hum" in _faults(noise + 0.02 * np.sin(2 * np.pi * tone_hz * time), RATE)
    assert "mains hum" not in _faults(noise + 0.02 * np.sin(2 * np.pi * 440 * time), RATE)


@pytest.mark.parametrize("mains_hz", [50.0, 60.0])
def test_hum_is_told_from_speech_and_from_noise(rng, speech, mains_hz):
    voice = speech(RATE, 4.0)
    noise = 0.01 * rng.standard_normal(len(voice))
    time = np.arange(len(voice)) / RATE
    tones = sum(0.01 * np.sin(2 * np.pi * mains_hz * n * time) for n in (1, 2, 4))
    threshold_db = next(rule.above for rule in verdict.RULES if rule.measure == "hum_db")
    assert condition.hum(voice + noise + tones, RATE) > threshold_db
    for sound in (voice, noise, voice + noise):
        assert condition.hum(sound, RATE) < threshold_db


def test_clipping_counts_flat_tops_and_no_peaks(speech):
    voice = speech(RATE, 2.0)
    voice = voice / np.abs(voice).max()
    assert condition.clipping(voice) == 0.0
    for gain in (1.0, 0.3):  # also where the level was lowered afterwards
        clipped = gain * np.clip(4.0 * voice, -1.0, 1.0)
        expected = 100.0 * np.mean(np.abs(4.0 * voice) >= 1.0)
        assert condition.clipping(clipped) == pytest.approx(expected, rel=0.3)


def test_clipping_is_seen_in_float_files_and_not_in_what_is_hardly_there(speech):
    voice = speech(RATE, 2.0)
    loud = 4.0 * voice / np.abs(voice).max()
    beyond = 100.0 * np.mean(np.abs(loud) >= 1.0)
    assert condition.clipping(loud) == pytest.approx(beyond, rel=0.3)
    rest = np.round(3e-4 * voice / np.abs(voice).max() * 2**15) / 2**15
    assert condition.clipping(rest) == 0.0


def test_an_offset_is_a_fault_of_its_own_and_no_noise(rng, speech):
    voice = np.concatenate([speech(RATE, 2.0), np.zeros(RATE, np.float32)])
    voice += 1e-3 * rng.standard_normal(len(voice)).astype(np.float32)
    plain, shifted = (condition.condition(sound, RATE) for sound in (voice, voice + 0.2))
    assert shifted["offset_percent"] == pytest.approx(20.0, abs=0.1)
    assert [rule.fault for rule in verdict.faults(shifted)] == ["constant offset"]
    for name in plain.keys() - {"offset_percent"}:
        assert shifted[name] == pytest.approx(plain[name], abs=0.01)
    with pytest.raises(Unscorable, match="the recording is silent"):
        condition.condition(np.full(RATE, 0.3), RATE)


def test_digital_silence_around_a_recording_is_not_its_noise_floor(rng, speech):
    sound = np.concatenate([speech(RATE, 2.0), np.zeros(RATE, np.float32)])
    sound += 0.01 * rng.standard_normal(len(sound)).astype(np.float32)
    measured = [condition.condition(np.pad(sound, n), RATE) for n in (0, RATE)]
    for name in ("noise_floor_dbfs", "snr_estimate_db"):
        assert measured[1][name] == pytest.approx(measured[0][name], abs=0.5)


def test_telephone_speech_is_narrow_at_every_rate(speech):
    voice = speech(RATE, 2.0)
    voice += 1e-3 * np.random.default_rng(0).standard_normal(len(voice)).astype(np.float32)
    telephone = scipy.signal.butter(8, (300, 3400), "bandpass", fs=RATE, output="sos")
    narrow = scipy.signal.sosfilt(telephone, voice)
    assert "narrow band" not in _faults(voice, RATE)
    assert "narrow band" in _faults(narrow, RATE)
    assert "narrow band" in _faults(dsp.resample(narrow, RATE, 48000), 48000)
    assert "narrow band" in _faults(dsp.resample(voice, RATE, 8000), 8000)


def test_of_a_recording_with_hardly_any_sound_nothing_else_is_said(speech):
    voice = speech(RATE, 2.0)
    almost_silent = np.round(2e-4 * voice / np.abs(voice).max() * 2**15) / 2**15
    assert _faults(almost_silent, RATE) == ["almost silent"]
    assert "bandwidth_hz" not in condition.condition(almost_silent, RATE)


def _faults(sound, rate):
    """What is wrong with a recording."""
    return [rule.fault for rule in verdict.faults(condition.condition(sound, rate))]


def test_bandwidth_is_that_before_resampling(rng):
    noise = 0.1 * rng.standard_normal(2 * 8000).astype(np.float32)
    assert condition.bandwidth(noise, 8000) == pytest.approx(4000.0, abs=100.0)
    assert condition.bandwidth(dsp.resample(noise, 8000, 48000), 48000) == pytest.approx(
        4000.0, abs=200.0
    )


def test_verdict_names_the_grade_and_the_faults():
    scores = {"dnsmos_ovrl": 2.6, "snr_estimate_db": 5.0, "hum_db": 20.0, "bandwidth_hz": 8000.0}
    assert verdict.verdict(scores) == "fair: very noisy (SNR about 5 dB), mains hum (20 dB)"
    assert verdict.verdict({"dnsmos_ovrl": 3.35}) == "good: no technical fault"  # clean speech
    assert [verdict.grade(score) for score in (2.4, 1.9, 1.1)] == ["fair", "poor", "bad"]
    assert verdict.verdict({"pesq": 1.0}) == verdict.verdict({}) == ""
    assert verdict.change(scores, scores | {"dnsmos_ovrl": 3.1}) == "better by 0.5"
    assert verdict.change(scores, scores | {"dnsmos_ovrl": 2.55}) == "as before"
    assert verdict.change({}, scores) == ""


def test_the_verdict_on_many_recordings_counts_their_faults():
    noisy, clean = {"snr_estimate_db": 10.0, "hum_db": 20.0}, {"snr_estimate_db": 40.0}
    means = {"dnsmos_ovrl": 3.6, "hum_db": 20.0}
    assert verdict.verdict_on_all(means, [noisy, clean, noisy, {}]) == (
        "good: 2 of 3 noisy, 2 of 3 mains hum"
    )
    assert verdict.verdict_on_all(means, [clean]) == "good: no technical fault"
    assert verdict.verdict_on_all({}, [{}]) == verdict.verdict_on_all({}, []) == ""


def test_dnsmos_says_whether_it_is_installed(monkeypatch):
    assert dnsmos.is_installed()
    monkeypatch.setattr(dnsmos.importlib.util, "find_spec", lambda name: None)
    assert not dnsmos.is_installed()


def test_the_page_of_the_measures_states_every_threshold():
    page = (REPOSITORY / "docs" / "recordings.md").read_text()
    stated = page.partition("| measure | threshold | verdict |")[2].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in stated.splitlines()[2:]]
    assert len(rows) == len(verdict.RULES)
    for (_, threshold, words), rule in zip(rows, verdict.RULES, strict=True):
        limit = f"below {rule.below:g}" if np.isfinite(rule.below) else f"above {rule.above:g}"
        assert threshold.startswith(limit)
        assert rule.fault == words
