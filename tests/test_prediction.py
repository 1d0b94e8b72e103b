"""The prediction mode: what comes out, where it goes, what is done again and what is not."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import small_networks
import soundfile
from small_videos import write_sound

from speech_enhancement.errors import UserError
from speech_enhancement.files import audio_files, id3_pictures
from speech_enhancement.files.atomic import PARTIAL
from speech_enhancement.files.audio_io import load_audio
from speech_enhancement.inference import pictures as data_display
from speech_enhancement.inference.enhancer import Enhancer
from speech_enhancement.prediction.batch import BatchSettings
from speech_enhancement.prediction.one_file import FileOptions, denoise_file
from speech_enhancement.prediction.pipe import denoise_pipe
from speech_enhancement.signal import loudness

REPOSITORY = Path(__file__).resolve().parent.parent
FORBIDDEN = ("tensorflow", "keras", "librosa", "sklearn", "matplotlib", "numba", "pandas")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return small_networks.save_gate(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def predict(weights, tmp_path, run_main):
    """A function (arguments...) that denoises into `out` and returns the outcome."""
    folder, name = f"--weights_folder={weights.parent}", f"--name_model={weights.name}"

    def run(*arguments, out="out"):
        place = [f"--dir_save_prediction={tmp_path / out}"] if out else []
        return run_main(folder, name, *place, *arguments)

    return run


def noise(n_samples, seed=0, channels=None, level=0.05):
    shape = n_samples if channels is None else (n_samples, channels)
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def write(path, n_samples=12_000, rate=8000, channels=None, seed=0, **options):
    """Write a recording of noise, with pauses; gives its path."""
    sound = noise(n_samples, seed, channels)
    sound[n_samples // 3 : n_samples // 2] *= 0.01
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, **options)
    return path


def write_container(path, codec, with_video):
    """Write a second of stereo sound, if there is a codec, and of black video, if wanted."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Talk"
        video = container.add_stream("mpeg4", rate=5) if with_video else None
        audio = container.add_stream(codec, rate=48000, layout="stereo") if codec else None
        if video:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for _ in range(5):
                container.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
            container.mux(video.encode(None))
        if audio:
            frame = av.AudioFrame.from_ndarray(noise(48000, channels=2).T.copy(), "fltp", "stereo")
            frame.rate = 48000
            resampler = av.AudioResampler(
                audio.format, "stereo", 48000, frame_size=audio.frame_size or None
            )
            for part in (*resampler.resample(frame), *resampler.resample(None), None):
                container.mux(audio.encode(part))


def size_of(content, bits):
    """A size as ID3 has it, of 4 bytes."""
    return bytes(len(content) >> bits * k & (2**bits - 1) for k in (3, 2, 1, 0))


# A picture of one pixel.
PIXEL = (
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    b"gg=="
)


def names_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def results_in(folder):
    return [n for n in names_in(folder) if n not in ("denoised.jsonl", "summary.json")]


class TestTheResultIsLikeTheRecording:
    @pytest.mark.parametrize(
        ("name", "rate", "channels", "subtype"),
        [
            ("a.wav", 8000, 1, "PCM_16"),
            ("a.wav", 16000, 8, "PCM_24"),
            ("a.wav", 96000, 2, "PCM_32"),
            ("a.wav", 44100, 2, "FLOAT"),
            ("a.wav", 44100, 1, "DOUBLE"),
            ("a.wav", 11025, 1, "PCM_U8"),
            ("a.flac", 48000, 2, "PCM_24"),
            ("a.flac", 192000, 1, "PCM_16"),
            ("a.ogg", 44100, 2, "VORBIS"),
            ("a.opus", 48000, 1, "OPUS"),
            ("a.mp3", 44100, 2, "MPEG_LAYER_III"),
            ("a.aiff", 22050, 3, "PCM_16"),
        ],
    )
    def test_format_length_and_tags_stay(self, name, rate, channels, subtype, predict, tmp_path):
        container = {"opus": "OGG"}.get(name.split(".")[1], name.split(".")[1].upper())
        source = tmp_path / "in" / name
        source.parent.mkdir()
        with soundfile.SoundFile(source, "w", rate, channels, subtype, format=container) as file:
            file.title, file.artist = "Gespräch", "somebody"
            file.write(noise(rate + 77, channels=channels))
        assert predict(source).code == 0
        with (
            soundfile.SoundFile(source) as noisy,
            soundfile.SoundFile(tmp_path / "out" / name) as denoised,
        ):
            assert denoised.frames == noisy.frames
            for attribute in ("samplerate", "channels", "format", "subtype"):
                assert getattr(denoised, attribute) == getattr(noisy, attribute)
            assert denoised.title == "Gespräch"
            assert denoised.artist == "somebody"

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8"])
    def test_without_strength_the_samples_stay_what_they_are(self, subtype, predict, tmp_path):
        source = write(tmp_path / "a.wav", rate=44100, channels=2, subtype=subtype)
        predict(source, "--strength=0")
        noisy, denoised = (
            soundfile.read(p, dtype="int32")[0] for p in (source, tmp_path / "out" / "a.wav")
        )
        assert np.array_equal(noisy, denoised)

    def test_it_is_what_the_enhancer_gives(self, predict, weights, tmp_path):
        source = write(tmp_path / "a.wav", 70_000, 44100, 2, subtype="FLOAT")
        predict(source)
        samples, rate = soundfile.read(source, dtype="float32")
        wanted = Enhancer.load(weights).enhance(samples, rate, channel_axis=-1)
        denoised, _ = soundfile.read(tmp_path / "out" / "a.wav", dtype="float32")
        assert np.array_equal(denoised, wanted)

    @pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "ULAW"), (".wav", "IMA_ADPCM")])
    def test_what_is_too_loud_for_telephones_is_cut_off(self, suffix, subtype, tmp_path):
        path = tmp_path / f"loud{suffix}"
        tone = 1.2 * np.sin(np.arange(4080) / 40)[np.newaxis].astype(np.float32)
        sound_format = audio_files.SoundFormat(8000, 1, "WAV", subtype)
        with audio_files.writing(path, sound_format) as writer:
            writer.write(tone)
        assert writer.clipped == np.count_nonzero(np.abs(tone) > 1.0)
        assert np.abs(load_audio(path)[0][: tone.size] - np.clip(tone[0], -1, 1)).max() < 0.2

    def test_the_size_of_blocks_and_the_number_of_processes_leave_no_trace(
        self, predict, tmp_path, monkeypatch
    ):
        for k in range(3):
            write(tmp_path / f"in/{k}.wav", 150_000, 22050, 2, seed=k, subtype="PCM_24")
        predict(tmp_path / "in")
        assert predict(tmp_path / "in", "--jobs=2", out="processes").code == 0
        monkeypatch.setattr(audio_files, "BLOCK_VALUES", 2 * 777)
        predict(tmp_path / "in", "--threads=1", out="blocks")
        for k in range(3):
            wanted = (tmp_path / f"out/{k}.wav").read_bytes()
            assert (tmp_path / f"processes/{k}.wav").read_bytes() == wanted
            assert (tmp_path / f"blocks/{k}.wav").read_bytes() == wanted

    def test_another_day_leaves_no_trace(self, predict, tmp_path):
        """Though libsndfile writes times and random numbers into these."""
        folder = tmp_path / "in"
        for name, options in {
            "a.wav": {"subtype": "FLOAT"},
            "a.aiff": {"subtype": "FLOAT"},
            "b.wav": {"subtype": "FLOAT", "format": "WAVEX", "channels": 2},
            "a.ogg": {"rate": 48000},
            "a.opus": {"rate": 48000, "format": "OGG", "subtype": "OPUS"},
        }.items():
            write(folder / name, 30_000, **options)
        predict(folder)
        time.sleep(1.1)  # those times are of whole seconds
        predict(folder, out="later")
        names = results_in(tmp_path / "out")
        assert len(names) == 5
        for name in names:
            assert (tmp_path / "out" / name).read_bytes() == (
                tmp_path / "later" / name
            ).read_bytes()
            assert soundfile.read(tmp_path / "out" / name)[0].shape[0] == 30_000

    def test_no_encoder_gets_more_than_it_can_take(self):
        """Vorbis keeps a whole block on the stack."""
        seen = []

        class Encoder:
            subtype = "VORBIS"
            write = seen.append

        sound = noise(3_000_000, channels=2).T
        audio_files.Writer(Encoder()).write(sound)
        assert max(map(len, seen)) <= 2**16
        assert np.array_equal(np.concatenate(seen), sound.T)

    @pytest.mark.parametrize("suffix", ["aiff", "au"])
    def test_what_is_too_large_for_its_container_is_refused(self, suffix, tmp_path):
        source = audio_files.SoundFormat(48000, 2, suffix.upper(), "PCM_16")
        audio_files.output_format(tmp_path / f"a.{suffix}", source, 10**9)
        with pytest.raises(UserError, match="use --format rf64"):
            audio_files.output_format(tmp_path / f"a.{suffix}", source, 2 * 10**9)

    def test_a_wav_beyond_4_gb_becomes_rf64(self, tmp_path):
        source = audio_files.SoundFormat(48000, 2, "WAV", "PCM_16")
        small = audio_files.output_format(tmp_path / "a.wav", source, 10**9)
        large = audio_files.output_format(tmp_path / "a.wav", source, 2 * 10**9)
        assert (small.container, large.container) == ("WAV", "RF64")
        assert large.subtype == "PCM_16"

    @pytest.mark.parametrize(
        ("suffix", "codec", "subtype"),
        [
            ("m4a", "aac", "PCM_16"),
            ("m4a", "alac", "PCM_24"),
            ("mp4", "aac", "PCM_16"),
            ("mov", "pcm_s24le", "PCM_24"),
            ("webm", "libopus", "PCM_16"),
            ("mkv", "pcm_f32le", "FLOAT"),
        ],
    )
    def test_sound_in_containers_is_written_as_wav(self, suffix, codec, subtype, predict, tmp_path):
        source = tmp_path / f"talk.{suffix}"
        write_container(source, codec, with_video=suffix == "mp4")
        outcome = predict(source)
        assert outcome.code == 0, outcome.err
        with soundfile.SoundFile(tmp_path / "out" / "talk.wav") as file:
            assert (file.samplerate, file.channels, file.subtype) == (48000, 2, subtype)
            assert file.frames == pytest.approx(48000, abs=2100)
            assert file.title == "Talk"

    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("talk.wav", "g722"),
            ("talk.wav", "g726"),
            ("talk.wav", "libmp3lame"),
            ("talk.wav", "ac3"),
            ("talk.g722", "g722"),
        ],
    )
    def test_codecs_of_telephones_are_read(self, name, codec, predict, tmp_path):
        """libsndfile refuses such WAV files, or reads what it cannot write."""
        rate = {"g722": 16000, "g726": 8000, "ac3": 48000}.get(codec, 16000)
        write_sound(tmp_path / name, codec, rate)
        outcome = predict(tmp_path / name, "--strength=0")
        assert outcome.code == 0, outcome.err
        result, result_rate = load_audio(tmp_path / "out" / "talk.wav")
        assert result_rate == rate
        assert len(result) == pytest.approx(rate, abs=3000)
        assert np.sqrt(np.mean(np.square(result))) == pytest.approx(0.2, rel=0.3)

    @pytest.mark.parametrize("suffix", ["mp4", "mkv"])
    def test_sound_that_begins_after_the_picture_keeps_its_place(self, suffix, predict, tmp_path):
        write_sound(tmp_path / f"talk.{suffix}", "aac", 48000, delay_s=1.5)
        outcome = predict(tmp_path / f"talk.{suffix}", "--strength=0")
        assert outcome.code == 0, outcome.err
        assert re.search(r"its sound begins 1\.(5|4)\d\d s after its picture", outcome.err)
        result, rate = load_audio(tmp_path / "out" / "talk.wav")
        first = np.flatnonzero(np.abs(result) > 0.05)[0] / rate
        assert first == pytest.approx(1.5, abs=0.03)

    def test_sound_that_begins_before_the_picture_is_said_to(self, predict, tmp_path):
        write_sound(tmp_path / "talk.mkv", "flac", 16000, delay_s=0.4, picture_delay_s=2.0)
        outcome = predict(tmp_path / "talk.mkv", "--strength=0")
        assert "its sound begins 1.600 s before its picture" in outcome.err
        assert soundfile.info(tmp_path / "out" / "talk.wav").frames == 16000

    def test_sound_that_begins_with_the_picture_gets_no_silence(self, predict, tmp_path):
        write_sound(tmp_path / "talk.mp4", "aac", 48000, delay_s=0.0)
        outcome = predict(tmp_path / "talk.mp4", "--strength=0")
        assert outcome.err == ""
        result, rate = load_audio(tmp_path / "out" / "talk.wav")
        assert np.flatnonzero(np.abs(result) > 0.05)[0] / rate < 0.05

    def test_one_of_several_sounds_is_chosen_and_said(self, predict, tmp_path):
        source = tmp_path / "talk.mkv"
        write_sound(source, "flac", 16000, delay_s=0.0, levels=(0.2, 0.02))
        found = []
        for track in ((), ("--sound_track=1",), ("--sound_track=2",)):
            outcome = predict(source, "--strength=0", *track)
            assert ("it has 2 tracks of sound; the first was taken" in outcome.err) == (not track)
            result, _ = load_audio(tmp_path / "out" / "talk.wav")
            found.append(np.sqrt(np.mean(np.square(result))))
        assert found == pytest.approx([0.2, 0.2, 0.02], rel=0.05)
        outcome = predict(source, "--sound_track=3")
        assert (outcome.code, outcome.err) == (
            1,
            f"error: {source} has 2 tracks of sound. Received: 3\n",
        )

    def test_a_playlist_leads_nowhere(self, predict, tmp_path):
        write_sound(tmp_path / "secret.ts", "aac", 48000)
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:1,", "secret.ts", "#EXT-X-ENDLIST"]
        (tmp_path / "list.mp4").write_text("\n".join(lines))
        outcome = predict(tmp_path / "list.mp4")
        assert outcome.code == 1
        assert "Cannot read" in outcome.err

    @pytest.mark.parametrize("version", [3, 4])
    @pytest.mark.parametrize("encoding", [0, 1, 3])
    def test_the_picture_on_the_cover_is_kept(self, version, encoding, predict, tmp_path):
        """PyAV, which does not share our code, finds the same bytes."""
        cover = base64.b64decode(PIXEL)
        source = write(tmp_path / "a.mp3", rate=16000)
        end = b"\0\0" if encoding == 1 else b"\0"
        words = "ab".encode("utf-16" if encoding == 1 else "ascii") + end
        body = bytes([encoding]) + b"image/png\0\3" + words + cover
        frames = b""
        for name, content in ((b"TIT2", b"\0Song"), (b"APIC", body)):
            frames += name + size_of(content, 7 if version == 4 else 8) + b"\0\0" + content
        tag = b"ID3" + bytes([version, 0, 0]) + size_of(frames, 7) + frames
        source.write_bytes(tag + source.read_bytes())
        outcome = predict(source)
        assert outcome.code == 0, outcome.err
        with soundfile.SoundFile(tmp_path / "out" / "a.mp3") as file:
            assert file.title == "Song"
            assert file.frames == pytest.approx(12_000, abs=2500)
        av = pytest.importorskip("av")
        with av.open(str(tmp_path / "out" / "a.mp3")) as container:
            (picture,) = container.streams.video
            assert bytes(next(container.demux(picture))) == cover

    @pytest.mark.parametrize("cut", range(10, 100, 7))
    def test_a_damaged_tag_costs_the_picture_only(self, cut, tmp_path):
        body = b"\0image/png\0\3\0" + base64.b64decode(PIXEL)
        tag = b"ID3\3\0\0" + size_of(body, 7) + b"APIC" + size_of(body, 8) + b"\0\0" + body
        (tmp_path / "a.mp3").write_bytes(tag[:cut])
        assert id3_pictures.read_pictures(tmp_path / "a.mp3") == ()

    def test_a_video_without_sound_is_refused(self, predict, tmp_path):
        write_container(tmp_path / "a.mp4", None, with_video=True)
        outcome = predict(tmp_path / "a.mp4")
        assert outcome.code == 1
        assert "No sound in" in outcome.err


# Kind: a result that is silent, or half of the sound, although nothing failed.
class TestSilence:
    def test_a_silent_recording(self, predict, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
        outcome = predict(tmp_path / "a.wav")
        assert outcome.err == f"note: {tmp_path}/a.wav: there is only silence in it\n"

    @pytest.mark.parametrize(("sign", "share"), [(-1.0, 1.0), (-0.9, 1.0), (1.0, 0.0), (0.5, 0.0)])
    def test_channels_that_cancel_each_other(self, sign, share, predict, tmp_path):
        sound = noise(16000)
        soundfile.write(tmp_path / "a.wav", np.stack([sound, sign * sound], axis=1), 16000)
        outcome = predict(tmp_path / "a.wav", "--mono")
        assert ("its channels cancel each other" in outcome.err) == bool(share)
        assert "cancel" not in predict(tmp_path / "a.wav").err

    def test_channels_without_anything_in_common_do_not_cancel(self, predict, tmp_path):
        soundfile.write(tmp_path / "a.wav", noise(16000, channels=16), 16000)
        assert predict(tmp_path / "a.wav", "--mono").err == ""

    def test_a_network_that_removes_everything(self, weights, predict, tmp_path):
        deaf = small_networks.save_gain(weights.parent, 45.0)
        soundfile.write(tmp_path / "a.wav", noise(16000), 8000)
        outcome = predict(tmp_path / "a.wav", f"--name_model={deaf.name}")
        assert outcome.err == (
            f"note: {tmp_path}/a.wav: the network removed nearly all of the sound\n"
        )

    def test_a_track_without_samples(self, predict, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
        assert f"No samples in {tmp_path}/a.wav" in predict(tmp_path / "a.wav").err


class TestOptions:
    def test_noise_and_result_add_up_to_the_recording(self, predict, tmp_path):
        source = write(tmp_path / "a.wav", rate=44100, subtype="FLOAT")
        predict(source, "--save_noise")
        parts = [load_audio(tmp_path / "out" / n)[0] for n in ("a.wav", "a_noise.wav")]
        assert np.allclose(sum(parts), load_audio(source)[0], atol=1e-6)
        assert np.abs(parts[1]).max() > 1e-3

    def test_mono_averages_the_channels_first(self, predict, tmp_path):
        source = write(tmp_path / "a.wav", channels=2, subtype="FLOAT")
        write(tmp_path / "b.wav", subtype="FLOAT")
        soundfile.write(tmp_path / "b.wav", load_audio(source)[0], 8000, subtype="FLOAT")
        predict(source, tmp_path / "b.wav", "--mono")
        first, second = (soundfile.read(tmp_path / "out" / n)[0] for n in ("a.wav", "b.wav"))
        assert first.ndim == 1
        assert np.array_equal(first, second)

    def test_start_and_end_cut_out_a_part(self, predict, tmp_path):
        source = write(tmp_path / "a.wav", 8000 * 3, subtype="FLOAT")
        predict(source, "--start=0.5", "--end=0:02", "--strength=0")
        part, _ = load_audio(tmp_path / "out" / "a.wav")
        assert np.allclose(part, load_audio(source)[0][4000:16000], atol=1e-6)

    def test_a_part_of_the_demonstration_has_no_score(self, predict):
        outcome = predict("--end", "0.5")
        assert outcome.code == 0, outcome.err
        assert "SI-SDR" not in outcome.out

    def test_an_end_beyond_the_end_is_the_end(self, predict, tmp_path):
        source = write(tmp_path / "a.wav")
        predict(source, "--end=1:00:00")
        assert soundfile.info(tmp_path / "out" / "a.wav").frames == 12_000

    @pytest.mark.parametrize("lufs", [-30.0, -23.0])
    def test_loudness_can_be_chosen(self, lufs, predict, tmp_path):
        source = write(tmp_path / "a.wav", 48000 * 3, 48000, 2)
        predict(source, f"--normalise_lufs={lufs}")
        samples, rate = soundfile.read(tmp_path / "out" / "a.wav")
        meter = loudness.LoudnessMeter(rate, 2)
        meter.feed(samples.T)
        assert meter.integrated_lufs() == pytest.approx(lufs, abs=0.1)

    def test_loudness_never_clips(self, predict, tmp_path):
        outcome = predict(write(tmp_path / "a.wav", 48000, 48000), "--normalise_lufs=0")
        samples, rate = load_audio(tmp_path / "out" / "a.wav")
        assert np.abs(samples).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
        meter = loudness.LoudnessMeter(rate, 1)
        meter.feed(samples[np.newaxis])
        reached = f"the loudness is {meter.integrated_lufs():.1f} LUFS, for the loudest sample"
        assert reached in outcome.err

    def test_the_level_is_kept_unless_it_is_not(self, predict, weights, tmp_path):
        source = write(tmp_path / "a.wav", subtype="FLOAT")
        predict(source)
        predict(source, "--no-keep_level", out="network")
        kept, other = (load_audio(tmp_path / f / "a.wav")[0] for f in ("out", "network"))
        gain = np.abs(other).max() / np.abs(kept).max()
        assert gain != pytest.approx(1.0, abs=0.05)
        assert np.allclose(other, gain * kept, atol=1e-4)

    def test_another_format(self, predict, tmp_path):
        source = write(tmp_path / "a.wav", subtype="PCM_24")
        predict(source, "--format=flac")
        info = soundfile.info(tmp_path / "out" / "a.flac")
        assert (info.format, info.subtype, info.frames) == ("FLAC", "PCM_24", 12_000)

    def test_samples_without_a_header_stay_without(self, predict, tmp_path):
        samples = (noise(3000, channels=2) * 32767).astype("<i2")
        (tmp_path / "a.pcm").write_bytes(samples.tobytes())
        predict(tmp_path / "a.pcm", "--raw_format=s16,16000,2", "--strength=0")
        assert (tmp_path / "out" / "a.pcm").read_bytes() == samples.tobytes()

    def test_the_picture_is_a_picture(self, predict, tmp_path):
        outcome = predict(write(tmp_path / "a $1$.wav"), "--plot")
        assert outcome.code == 0, outcome.err
        assert (tmp_path / "out" / "a $1$.png").read_bytes().startswith(b"\x89PNG")
        assert "a $1$.png" in outcome.out

    def test_a_recording_that_is_astronomically_loud_has_a_picture(self, predict, tmp_path):
        tone = np.sin(0.1 * np.arange(16000))
        soundfile.write(tmp_path / "a.wav", 1e30 * tone, 16000, "FLOAT")
        outcome = predict(tmp_path / "a.wav", "--plot")
        assert (outcome.code, outcome.err) == (0, "")
        assert (tmp_path / "out" / "a.png").read_bytes().startswith(b"\x89PNG")


class TestWhereResultsGo:
    def test_beside_the_recording(self, predict, tmp_path):
        predict(write(tmp_path / "in/a.wav"), out=None)
        assert results_in(tmp_path / "in") == ["a.wav", "a_denoised.wav"]

    def test_results_beside_recordings_are_no_recordings_later(self, predict, tmp_path):
        write(tmp_path / "in/a.wav")
        predict(tmp_path / "in", "--save_noise", out=None)
        outcome = predict(tmp_path / "in", "--save_noise", out=None)
        assert "1 skipped" in outcome.out
        assert results_in(tmp_path / "in") == ["a.wav", "a_denoised.wav", "a_denoised_noise.wav"]

    def test_folders_are_mirrored(self, predict, tmp_path):
        for name in ("a.wav", "b/a.wav", "b/c/a.flac"):
            write(tmp_path / "in" / name)
        predict(tmp_path / "in", "--recursive", "--suffix=_clean")
        assert results_in(tmp_path / "out") == ["a_clean.wav", "b/a_clean.wav", "b/c/a_clean.flac"]

    def test_folders_of_folders_only_on_demand(self, predict, tmp_path):
        for name in ("a.wav", "b/a.wav"):
            write(tmp_path / "in" / name)
        predict(tmp_path / "in")
        assert results_in(tmp_path / "out") == ["a.wav"]

    def test_patterns(self, predict, tmp_path):
        for name in ("x/a.wav", "x/y/b.wav", "x/y/c.flac"):
            write(tmp_path / "in" / name)
        predict(tmp_path / "in" / "**" / "*.wav")
        assert results_in(tmp_path / "out") == ["x/a.wav", "x/y/b.wav"]

    @pytest.mark.parametrize("suffix", [[], ["--suffix=_clean"]])
    def test_results_above_the_recordings(self, suffix, predict, tmp_path):
        write(tmp_path / "out/raw/a.wav")
        end = "_clean.wav" if suffix else ".wav"
        predict(tmp_path / "out/raw", *suffix)
        assert results_in(tmp_path / "out") == [f"a{end}", "raw/a.wav"]
        assert "1 skipped" in predict(tmp_path / "out/raw", *suffix).out

    def test_results_among_the_recordings(self, predict, tmp_path):
        write(tmp_path / "out/a.wav")
        predict(tmp_path / "out", "--suffix=_clean")
        assert "1 skipped" in predict(tmp_path / "out", "--suffix=_clean").out
        assert results_in(tmp_path / "out") == ["a.wav", "a_clean.wav"]

    def test_results_below_the_recordings(self, predict, tmp_path):
        write(tmp_path / "a.wav")
        predict(tmp_path, "--recursive")
        assert "1 skipped" in predict(tmp_path, "--recursive").out

    def test_the_options_of_the_reference(self, predict, tmp_path):
        for name in ("a.wav", "b.wav"):
            write(tmp_path / "in" / name)
        predict(
            f"--audio_dir_prediction={tmp_path / 'in'}",
            "--audio_input_prediction",
            "b.wav",
            "--audio_output_prediction=denoised.wav",
        )
        assert results_in(tmp_path / "out") == ["denoised.wav"]

    def test_all_of_the_folder_of_the_reference(self, predict, tmp_path):
        for name in ("a.wav", "b.wav"):
            write(tmp_path / "in" / name)
        predict(f"--audio_dir_prediction={tmp_path / 'in'}")
        assert results_in(tmp_path / "out") == ["a.wav", "b.wav"]


class TestDoneBefore:
    def outcome(self, predict, tmp_path, *options):
        return predict(tmp_path / "in", *options).out.splitlines()[-1].split(":")[0]

    @pytest.fixture(autouse=True)
    def recordings(self, predict, tmp_path):
        for name in ("a.wav", "b.wav"):
            write(tmp_path / "in" / name)
        assert self.outcome(predict, tmp_path) == "2 done"

    def test_it_is_not_done_again(self, predict, tmp_path):
        before = (tmp_path / "out" / "a.wav").stat().st_mtime_ns
        assert self.outcome(predict, tmp_path) == "2 skipped"
        assert (tmp_path / "out" / "a.wav").stat().st_mtime_ns == before

    def test_another_recording_is_done_again(self, predict, tmp_path):
        write(tmp_path / "in" / "a.wav", seed=1)
        assert self.outcome(predict, tmp_path) == "1 done, 1 skipped"

    def test_another_option_does_it_again(self, predict, tmp_path):
        assert self.outcome(predict, tmp_path, "--strength=0.5") == "2 done"

    def test_overwrite_does_it_again(self, predict, tmp_path):
        assert self.outcome(predict, tmp_path, "--overwrite") == "2 done"

    def test_a_missing_result_is_made(self, predict, tmp_path):
        (tmp_path / "out" / "b.wav").unlink()
        assert self.outcome(predict, tmp_path) == "1 done, 1 skipped"

    def test_another_network_does_it_again(self, predict, tmp_path, weights, run_main):
        other = small_networks.save_gain(weights.parent, 3.0)
        outcome = self.outcome(predict, tmp_path, f"--name_model={other.name}")
        assert outcome == "2 done"

    def test_an_option_of_a_later_version_leaves_old_results_be(self, predict, tmp_path):
        log = tmp_path / "out" / "denoised.jsonl"
        records = [json.loads(line) for line in log.read_text().splitlines()]
        for record in records:
            for name in {"sound_track", "normalise_lufs", "mono"} & record["options"].keys():
                del record["options"][name]
        log.write_text("".join(json.dumps(record) + "\n" for record in records))
        assert self.outcome(predict, tmp_path) == "2 skipped"
        assert self.outcome(predict, tmp_path, "--mono") == "2 done"

    def test_a_line_that_was_cut_off_does_not_swallow_the_next(self, predict, tmp_path):
        log = tmp_path / "out" / "denoised.jsonl"
        log.write_text(log.read_text() + '{"output": "c.w')
        write(tmp_path / "in" / "c.wav")
        assert self.outcome(predict, tmp_path) == "1 done, 2 skipped"
        started, done = map(json.loads, log.read_text().splitlines()[-2:])
        assert (started["status"], done["status"]) == ("started", "done")

    def test_the_log_tells_what_was_done(self, tmp_path):
        lines = (tmp_path / "out" / "denoised.jsonl").read_text().splitlines()
        record = [json.loads(line) for line in lines][-1]
        assert record["status"] == "done"
        assert record["output"] == "b.wav"
        assert len(record["input_sha256"]) == len(record["options"]["network_sha256"]) == 64
        assert record["audio_s"] == 1.5
        assert -60 < record["level_out_dbfs"] < record["level_in_dbfs"] < 0

    def test_the_summary_is_json(self, predict, tmp_path):
        (tmp_path / "in" / "c.wav").write_text("no sound")
        assert self.outcome(predict, tmp_path) == "2 skipped, 1 failed"
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert [record["status"] for record in summary] == ["skipped", "skipped", "failed"]
        assert "Cannot read" in summary[-1]["error"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_run_goes_on_where_it_stopped(jobs, weights, tmp_path, predict):
    for k in range(8):
        write(tmp_path / f"in/{k:02d}.wav", 400_000, 44100)
    log = tmp_path / "out" / "denoised.jsonl"
    command = [sys.executable, "main.py", tmp_path / "in", "--dir_save_prediction"]
    command += [tmp_path / "out", "--weights_folder", weights.parent, "--name_model", weights.name]
    command += [f"--jobs={jobs}"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        while not log.exists() or log.read_text().count('"done"') < 3:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    (tmp_path / "out" / f"{PARTIAL}0123456789abcdef.wav").write_bytes(b"half")
    outcome = predict(tmp_path / "in")
    assert outcome.code == 0, outcome.err
    done, skipped = map(int, re.search(r"(\d+) done, (\d+) skipped", outcome.out).groups())
    assert skipped >= 3
    assert done + skipped == 8
    assert results_in(tmp_path / "out") == [f"{k:02d}.wav" for k in range(8)]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stopped_run_leaves_nothing_half_written(stop, jobs, weights, tmp_path):
    for k in range(3):
        write(tmp_path / f"in/{k}.wav", 3_000_000, 44100)
    out = tmp_path / "out"
    command = [sys.executable, "main.py", tmp_path / "in", f"--jobs={jobs}"]
    command += ["--weights_folder", weights.parent, "--name_model", weights.name]
    command += ["--dir_save_prediction", out]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) as process:
        while not any(out.glob(f"{PARTIAL}*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(stop)
        assert process.stderr.read() == b"error: stopped by the user\n"
    assert process.returncode == 130
    assert not any(out.glob(f"{PARTIAL}*"))
    assert len(results_in(out)) < 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_terminal_shows_each_recording_and_all_of_them(jobs, weights, tmp_path):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    for k in range(2):
        write(tmp_path / f"in/{k}.wav", 300_000, 44100)
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))
    command = [sys.executable, "main.py", tmp_path / "in", f"--jobs={jobs}"]
    command += ["--weights_folder", weights.parent, "--name_model", weights.name]
    # A fast machine is done with a recording before its bar is due otherwise.
    environment = {**os.environ, "TQDM_MININTERVAL": "0"}
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=end, env=environment
    ) as process:
        os.close(end)
        shown = ""
        with contextlib.suppress(OSError):  # what reading gives when the last writer is gone
            while part := os.read(terminal, 4096):
                shown += part.decode()
    os.close(terminal)
    assert process.returncode == 0
    for name in ("0.wav", "1.wav", "2 of 2 recordings"):
        assert re.search(rf"{name}: +\d+%.*\d\d:\d\d<\d\d:\d\d, [\d.]+x real time", shown), shown


def test_prediction_needs_neither_tensorflow_nor_librosa(weights, tmp_path):
    source = write(tmp_path / "a.wav")
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in FORBIDDEN)
    arguments = [str(source), "--weights_folder", str(weights.parent), "--name_model", weights.name]
    run = f"from speech_enhancement.cli import main; sys.exit(main.main({arguments}))"
    code = f"import sys; {blocked}{run}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=REPOSITORY, check=True)
    assert (tmp_path / "a_denoised.wav").exists()


def test_the_light_requirements_are_enough(tmp_path):
    """In an environment of its own, which has nothing but them, with the shipped weights."""
    uv, python = [sys.executable, "-m", "uv"], tmp_path / "env" / "bin" / "python"
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, tmp_path / "env"], check=True)
    requirements = ["-r", REPOSITORY / "requirements-predict.txt"]
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, *requirements], check=True)
    source = write(tmp_path / "a.wav", 30_000, 44100, 2)
    command = [python, "main.py", source, "--normalise_lufs=-23", "--plot"]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    assert (tmp_path / "a_denoised.png").exists()
    assert soundfile.info(tmp_path / "a_denoised.wav").frames == 30_000


def test_progress_runs_from_the_beginning_to_the_end(weights, tmp_path):
    source, seen = write(tmp_path / "a.wav", 600_000, 44100), []
    denoise_file(
        Enhancer.load(weights), source, tmp_path / "b.wav", None, lambda *state: seen.append(state)
    )
    assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})
    assert len(seen) > 1
    assert seen[-1] == (600_000, 600_000, 44100)


class TestPictures:
    def picture(self, sound, rate, block):
        picture = data_display.RecordingPicture(rate, sound.shape[1])
        for begin in range(0, sound.shape[1], block):
            part = sound[:, begin : begin + block]
            picture.feed(part, 0.5 * part)
        picture.finish()
        return picture

    @pytest.mark.parametrize("n_samples", [1, 100, 16_000, 3_000_000])
    def test_a_recording_of_any_length_has_bounded_columns(self, n_samples):
        picture = self.picture(noise(n_samples)[np.newaxis], 16_000, 100_000)
        _, bins, columns = picture.spectrograms_db().shape
        assert bins == 257
        assert columns <= data_display.COLUMNS
        assert picture.envelopes().shape[2] <= data_display.COLUMNS

    def test_the_blocks_size_does_not_show(self):
        sound = noise(200_000, channels=2).T
        pictures = [self.picture(sound, 8000, block) for block in (999, 70_000)]
        for method in ("spectrograms_db", "envelopes"):
            assert np.allclose(*(getattr(p, method)() for p in pictures), atol=1e-3)

    def test_a_tone_stands_where_and_as_loud_as_it_is(self):
        time = np.arange(160_000) / 16_000
        tone = 0.1 * np.sin(2 * np.pi * 2000 * time)[np.newaxis]
        noisy, denoised, removed = self.picture(tone, 16_000, 5000).spectrograms_db()
        assert noisy[:, 100].argmax() == 2000 * 512 // 16_000
        assert noisy[64, 100] == pytest.approx(-20.0, abs=0.1)
        assert denoised[64, 100] == pytest.approx(-26.0, abs=0.1)
        assert removed[64, 100] == pytest.approx(-26.0, abs=0.1)

    def test_the_spectrograms_share_one_scale_and_one_time(self):
        figure = data_display.recording_figure(self.picture(noise(8000)[None], 8000, 999), "a_b")
        spectrograms, others = figure.axes[:3], figure.axes[3:5]
        limits = {axis.images[0].get_clim() for axis in spectrograms}
        assert len(limits) == 1
        assert {axis.get_xlim() for axis in [*spectrograms, *others]} == {(0.0, 1.0)}
        assert len({axis.get_position().x1 for axis in [*spectrograms, *others]}) == 1

    @pytest.mark.parametrize(
        ("highest_hz", "top_khz"), [(3000, (3.0, 4.0)), (20_000, (24.0, 24.0))]
    )
    def test_frequencies_that_are_empty_take_no_place(self, highest_hz, top_khz):
        rng, rate = np.random.default_rng(0), 48_000
        spectrum = np.fft.rfft(rng.standard_normal(rate))
        spectrum[np.fft.rfftfreq(rate, 1 / rate) > highest_hz] = 0.0
        figure = data_display.recording_figure(
            self.picture(0.1 * np.fft.irfft(spectrum)[None], rate, 999)
        )
        for axis in figure.axes[:3]:
            assert axis.get_ylim()[0] == 0.0
            assert top_khz[0] <= axis.get_ylim()[1] <= top_khz[1]

    @pytest.mark.parametrize(
        ("seconds", "total", "wanted"),
        [(1.5, 3, "1.5"), (90, 600, "0:01:30"), (7200, 1e4, "2:00:00")],
    )
    def test_the_clock(self, seconds, total, wanted):
        assert data_display.clock(seconds, total) == wanted


class TestLoudness:
    """Against the recommendation's own numbers."""

    def test_the_filters_are_those_of_the_recommendation_at_48_khz(self):
        shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285]
        shelf += [1.0, -1.69065929318241, 0.73248077421585]
        high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
        assert np.allclose(loudness.k_weighting(48_000), [shelf, high_pass], atol=1e-8)

    @pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
    @pytest.mark.parametrize(("channels", "lufs"), [(1, -26.01), (2, -23.0)])
    def test_a_tone_of_1_khz(self, rate, channels, lufs):
        meter = loudness.LoudnessMeter(rate, channels)
        tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * np.arange(10 * rate) / rate)
        for part in np.array_split(np.tile(tone, (channels, 1)), 7, axis=1):
            meter.feed(part)
        assert meter.integrated_lufs() == pytest.approx(lufs, abs=0.05)

    def test_pauses_are_left_out(self):
        """Case 3 of EBU Tech 3341: a tone at -36, -23 and -36 dBFS measures -23 LUFS."""
        time = np.arange(80 * 48_000) / 48_000
        level = np.where((time >= 10) & (time < 70), -23.0, -36.0)
        tone = 10 ** (level / 20) * np.sin(2 * np.pi * 1000 * time)
        meter = loudness.LoudnessMeter(48_000, 2)
        meter.feed(np.tile(tone, (2, 1)))
        assert meter.integrated_lufs() == pytest.approx(-23.0, abs=0.1)

    def test_silence_and_scraps_have_none(self):
        for length in (0, 1000, 100_000):
            meter = loudness.LoudnessMeter(48_000, 1)
            meter.feed(np.zeros((1, length)))
            assert meter.integrated_lufs() == -np.inf


class TestLivePipe:
    @pytest.mark.parametrize("raw_format", ["s16,16000", "s24,16000,2", "f32,44100"])
    def test_raw_samples_come_out_as_they_go_in(self, raw_format, tmp_path):
        stem = small_networks.save_stream(tmp_path, 0.5)
        raw = audio_files.RawFormat.parse(raw_format)
        sound = noise(50_000, channels=raw.channels).T
        source, sink = io.BytesIO(raw.encode(sound)), io.BytesIO()
        source.read1 = lambda size: source.read(1001)
        denoise_pipe(source, sink, BatchSettings(stem, file_options=FileOptions(raw=raw)), ".raw")
        wanted = Enhancer.load(stem).enhance(
            raw.decode(raw.encode(sound)), raw.sample_rate, channel_axis=0
        )
        assert np.allclose(raw.decode(sink.getvalue()), wanted, atol=1e-4)

    def test_a_live_result_does_not_wait_for_the_end(self, tmp_path):
        stem = small_networks.save_stream(tmp_path, 0.5)
        raw = audio_files.RawFormat("PCM_16", 16000, 1)
        sent, sink = [], io.BytesIO()

        class Microphone:
            def read1(self, size):
                sent.append(len(sink.getvalue()))
                return raw.encode(noise(1600)[None]) if len(sent) <= 5 else b""

        settings = BatchSettings(stem, file_options=FileOptions(raw=raw))
        denoise_pipe(Microphone(), sink, settings, ".raw")
        assert sent[0] == 0
        assert all(np.diff(sent) > 0)
        assert len(sink.getvalue()) == 5 * 1600 * 2
