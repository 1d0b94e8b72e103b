"""How training mixtures are drawn: every probability and range, with its default and meaning."""

# ruff: noqa: RUF009 (`_option` makes a `dataclasses.field`)

from __future__ import annotations

import dataclasses
import fnmatch
import math
from pathlib import Path
from typing import Any

from speech_enhancement.errors import UsageError

Range = tuple[float, float]

LEAST = {
    "balance": 0.0,
    "speed": 0.1,
    "noise_speed": 0.1,
    "reverb_rt60_s": 0.05,
    "n_rooms": 1,
    "babble_voices": 1,
    "clip_fraction": 0.0,
    "low_pass_hz": 50.0,
    "steep_low_pass_hz": 50.0,
    "telephone_low_hz": 1.0,
    "telephone_high_hz": 50.0,
    "voice_low_cut_hz": 0.0,
    "turn_drop_db": 0.0,
    "offset": 0.0,
    "codec_compression": 0.0,
}


def _option(default: Any, help_text: str) -> Any:
    """A field whose text is also the help of its command-line option."""
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True)
class MixingConfig:
    """The recipe of mixtures; each field's `help` metadata says what it is.

    With `noise_factor`, voices and noises are multiplied by factors as they are, instead of being
    brought to levels, as in V. Belz's Speech-enhancement; `windows.MixedWindows` knows it.

    Raises:
        UsageError: a probability is outside 0..1 or a range is upside down.
    """

    balance: float = _option(0.5, "groups are drawn by their duration to this power: 0 all alike")
    group_weights: tuple[str, ...] = _option(
        (), "draw groups whose names match a pattern oftener or more rarely, as in 'vctk/*=3'"
    )
    turn_probability: float = _option(
        0.0, "share of voices that another one, or the same from further away, follows"
    )
    turn_drop_db: Range = _option((3.0, 35.0), "how much softer one of the two is, dB")
    whisper_probability: float = _option(0.0, "share of voices that are made to whisper")
    voice_low_cut_hz: float = _option(
        0.0, "take from voices, as noise in them, what lies below this, Hz; nothing if 0"
    )
    gap_probability: float = _option(0.25, "share of voices interrupted by silence")
    speed_probability: float = _option(0.5, "share of voices played faster or slower")
    speed: Range = _option((0.9, 1.1), "speed of those voices")
    equalise_probability: float = _option(0.5, "share of voices with a random tone colour")
    equalise_gain_db: Range = _option((-8.0, 8.0), "gain of its shelves and peaks, dB")
    reverb_probability: float = _option(0.4, "share of voices in a room")
    reverb_rt60_s: Range = _option((0.1, 0.8), "time in which synthesised rooms decay by 60 dB, s")
    reverb_dir: Path | None = _option(None, "folder of measured impulse responses to use instead")
    n_rooms: int = _option(100, "synthesised rooms to draw from")
    two_noises_probability: float = _option(0.35, "share of mixtures with two noises at once")
    second_noise_gain_db: Range = _option(
        (-10.0, 0.0), "level of the second noise re the first, dB"
    )
    babble_probability: float = _option(0.1, "share of noises that are many voices at once")
    babble_voices: tuple[int, int] = _option((6, 10), "voices in such a babble")
    synthetic_probability: float = _option(0.2, "share of noises that are synthetic")
    tones_probability: float = _option(0.0, "share of noises that are chords and beeps")
    noise_speed_probability: float = _option(0.3, "share of recorded noises with another speed")
    noise_speed: Range = _option((0.8, 1.25), "speed of those noises")
    noise_equalise_probability: float = _option(0.5, "share of noises with a random tone colour")
    snr_db: Range = _option((-5.0, 20.0), "level of the voice over the noise, active frames, dB")
    clean_only_probability: float = _option(0.03, "share of windows that are next to clean")
    clean_only_snr_db: float = _option(40.0, "their signal-to-noise ratio, dB")
    light_noise_probability: float = _option(0.0, "share of windows with little noise")
    light_noise_snr_db: Range = _option((20.0, 40.0), "their signal-to-noise ratio, dB")
    noise_only_probability: float = _option(0.04, "share of windows without voice")
    level_dbfs: Range = _option((-35.0, -12.0), "level of the mixture, active frames, dBFS")
    volume_probability: float = _option(0.0, "share of mixtures made louder or softer after that")
    volume_gain_db: Range = _option((-12.0, 12.0), "gain of those, dB")
    time_shift_probability: float = _option(0.0, "share of mixtures moved, silence moving in")
    time_shift_s: Range = _option((-0.1, 0.1), "delay of those, s; negative is earlier")
    artificial_noise_probability: float = _option(
        0.0, "share of mixtures with white, pink or brown noise on top of theirs"
    )
    artificial_noise_snr_db: Range = _option((5.0, 40.0), "level of the mixture over it, dB")
    hum_probability: float = _option(0.0, "share of mixtures with mains hum on top of theirs")
    hum_snr_db: Range = _option((0.0, 40.0), "level of the mixture over it, dB")
    rumble_probability: float = _option(0.0, "share of mixtures with rumble of 5 to 60 Hz")
    rumble_gain_db: Range = _option((-30.0, 0.0), "its level re the mixture, dB")
    pop_probability: float = _option(0.0, "share of mixtures with pops of the microphone")
    pop_gain_db: Range = _option((-6.0, 12.0), "their peak re the level of the mixture, dB")
    offset_probability: float = _option(0.0, "share of mixtures with a constant offset")
    offset: Range = _option((0.001, 0.03), "its size, full scale is 1")
    clip_probability: float = _option(0.03, "share of clipped mixtures")
    clip_fraction: Range = _option((0.001, 0.03), "share of their samples that is clipped")
    low_pass_probability: float = _option(0.03, "share of mixtures that lost their highs")
    low_pass_hz: Range = _option((3000.0, 7500.0), "where those highs begin, Hz")
    steep_low_pass_probability: float = _option(
        0.0, "share of mixtures that lost their highs at a steep edge"
    )
    steep_low_pass_hz: Range = _option((3200.0, 5800.0), "where that edge is, Hz")
    telephone_probability: float = _option(
        0.0, "share of mixtures that came through a telephone line"
    )
    telephone_low_hz: Range = _option((150.0, 400.0), "lower edge of its band, Hz")
    telephone_high_hz: Range = _option((3200.0, 3800.0), "upper edge of its band, Hz")
    codec_probability: float = _option(0.01, "share of mixtures that went through Vorbis or MP3")
    codec_compression: Range = _option((0.5, 1.0), "how much those compress: 0 least .. 1 most")
    noise_factor: Range | None = None
    voice_factor: Range = (1.0, 1.0)

    @classmethod
    def plain(cls, **values: Any) -> MixingConfig:
        """A recipe of one voice and one recorded noise at levels, and of nothing else.

        Args:
            values: fields to set; without them, the ratio is -5..15 dB and the level of the voice
                -35..-15 dBFS.
        """
        never = {
            field.name: 0.0
            for field in dataclasses.fields(cls)
            if field.name.endswith("_probability")
        }
        levels: dict[str, Any] = {"snr_db": (-5.0, 15.0), "level_dbfs": (-35.0, -15.0)}
        return cls(**never | levels | values)

    @classmethod
    def options(cls) -> list[dataclasses.Field[Any]]:
        """The fields that are options of the command line."""
        return [field for field in dataclasses.fields(cls) if "help" in field.metadata]

    def weight_of(self, group: str) -> float:
        """Weight of a group of recordings: the product of those whose pattern its name matches."""
        factors = [
            weight
            for pattern, weight in map(_pattern_and_weight, self.group_weights)
            if fnmatch.fnmatchcase(group, pattern)
        ]
        return math.prod(factors)

    def __post_init__(self) -> None:
        for text in self.group_weights:
            _pattern_and_weight(text)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0.0 <= value <= 1.0:
                raise UsageError(f"`{field.name}` must be in 0..1. Received: {value}")
            if field.name == "codec_compression" and value[1] > 1.0:
                raise UsageError(f"`{field.name}` must be in 0..1. Received: {value}")
            is_range = isinstance(value, tuple) and field.name != "group_weights"
            if is_range and not value[0] <= value[1]:
                raise UsageError(f"`{field.name}` must be LOW HIGH, rising. Received: {value}")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if (value[0] if isinstance(value, tuple) else value) < least:
                raise UsageError(f"`{name}` must be at least {least}. Received: {value}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON."""
        fields = dataclasses.asdict(self)
        return fields | {"reverb_dir": fields["reverb_dir"] and str(fields["reverb_dir"])}


def _pattern_and_weight(text: str) -> tuple[str, float]:
    """Name pattern and weight of PATTERN=WEIGHT."""
    pattern, _, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not pattern or not 0.0 < weight < math.inf:
        raise UsageError(
            f"`group_weights` must be PATTERN=WEIGHT with a weight above 0. Received: {text}"
        )
    return pattern, weight
