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


def _option(default: Any, help_text: str, needs: str | None = None, of_pairs: bool = False) -> Any:
    """A field that is a command-line option, too.

    Args:
        default: its value where none is given.
        help_text: what it is, for the help of the option.
        needs: name of the field without which, or with 0 for which, it has no effect.
        of_pairs: whether recorded pairs are changed by it as well.
    """
    metadata = {"help": help_text, "needs": needs, "of_pairs": of_pairs}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class MixingConfig:
    """The recipe of mixtures; each field's `help` metadata says what it is.

    With `noise_factor`, voices and noises are multiplied by factors as they are, instead of being
    brought to levels, as in V. Belz's Speech-enhancement; `windows.MixedWindows` knows it.

    Raises:
        UsageError: a probability is outside 0..1 or the limits of a range are in the wrong order.
    """

    balance: float = _option(
        0.5,
        "exponent of a group's duration in the probability that the group is drawn; with 0, all "
        "groups are equally likely",
    )
    group_weights: tuple[str, ...] = _option(
        (),
        "factors of the probability of groups whose names match a pattern, for example 'vctk/*=3'",
    )
    turn_probability: float = _option(
        0.0,
        "share of voices that are followed by another voice, or by the same one from further away",
    )
    turn_drop_db: Range = _option(
        (3.0, 35.0), "difference in level between the two, dB", needs="turn_probability"
    )
    whisper_probability: float = _option(0.0, "share of voices that are turned into whispers")
    voice_low_cut_hz: float = _option(
        0.0,
        "frequency below which voices are filtered out, so that the network learns to remove all "
        "that is below it, Hz; with 0, voices are not filtered",
    )
    gap_probability: float = _option(0.25, "share of voices that are interrupted by silence")
    speed_probability: float = _option(0.5, "share of voices whose speed is changed", of_pairs=True)
    speed: Range = _option(
        (0.9, 1.1),
        "speed of these voices, relative to the recording",
        needs="speed_probability",
        of_pairs=True,
    )
    equalise_probability: float = _option(
        0.5, "share of voices with a random equalisation", of_pairs=True
    )
    equalise_gain_db: Range = _option(
        (-8.0, 8.0), "gain of its shelves and peaks, dB", of_pairs=True
    )
    reverb_probability: float = _option(0.4, "share of voices with reverberation")
    reverb_rt60_s: Range = _option(
        (0.1, 0.8),
        "reverberation time of synthetic rooms, in which they decay by 60 dB, s",
        needs="reverb_probability",
    )
    reverb_dir: Path | None = _option(
        None,
        "folder of measured impulse responses, which replace the synthetic rooms",
        needs="reverb_probability",
    )
    n_rooms: int = _option(
        100, "number of synthetic rooms to draw from", needs="reverb_probability"
    )
    two_noises_probability: float = _option(0.35, "share of mixtures with two noises")
    second_noise_gain_db: Range = _option(
        (-10.0, 0.0),
        "level of the second noise relative to the first one, dB",
        needs="two_noises_probability",
    )
    babble_probability: float = _option(0.1, "share of noises that consist of many voices")
    babble_voices: tuple[int, int] = _option(
        (6, 10), "number of voices in such a noise", needs="babble_probability"
    )
    synthetic_probability: float = _option(0.2, "share of noises that are synthetic")
    tones_probability: float = _option(0.0, "share of noises that are chords and beeps")
    noise_speed_probability: float = _option(0.3, "share of noises whose speed is changed")
    noise_speed: Range = _option(
        (0.8, 1.25),
        "speed of these noises, relative to the recording",
        needs="noise_speed_probability",
    )
    noise_equalise_probability: float = _option(0.5, "share of noises with a random equalisation")
    snr_db: Range = _option((-5.0, 20.0), "signal-to-noise ratio of the active frames, dB")
    clean_only_probability: float = _option(0.03, "share of windows that are almost clean")
    clean_only_snr_db: float = _option(
        40.0, "signal-to-noise ratio of these windows, dB", needs="clean_only_probability"
    )
    light_noise_probability: float = _option(0.0, "share of windows with little noise")
    light_noise_snr_db: Range = _option(
        (20.0, 40.0), "signal-to-noise ratio of these windows, dB", needs="light_noise_probability"
    )
    noise_only_probability: float = _option(0.04, "share of windows without a voice")
    level_dbfs: Range = _option(
        (-35.0, -12.0), "level of the active frames of a mixture, dBFS", of_pairs=True
    )
    volume_probability: float = _option(
        0.0, "share of mixtures that are then made louder or quieter", of_pairs=True
    )
    volume_gain_db: Range = _option(
        (-12.0, 12.0), "gain of these mixtures, dB", needs="volume_probability", of_pairs=True
    )
    time_shift_probability: float = _option(
        0.0,
        "share of mixtures that are shifted in time; the gap is filled with silence",
        of_pairs=True,
    )
    time_shift_s: Range = _option(
        (-0.1, 0.1),
        "delay of these mixtures, s; negative values make them earlier",
        needs="time_shift_probability",
        of_pairs=True,
    )
    artificial_noise_probability: float = _option(
        0.0, "share of mixtures to which white, pink or brown noise is added", of_pairs=True
    )
    artificial_noise_snr_db: Range = _option(
        (5.0, 40.0),
        "level of the mixture relative to this noise, dB",
        needs="artificial_noise_probability",
        of_pairs=True,
    )
    hum_probability: float = _option(
        0.0, "share of mixtures to which mains hum is added", of_pairs=True
    )
    hum_snr_db: Range = _option(
        (0.0, 40.0),
        "level of the mixture relative to this hum, dB",
        needs="hum_probability",
        of_pairs=True,
    )
    rumble_probability: float = _option(
        0.0, "share of mixtures to which rumble of 5 to 60 Hz is added", of_pairs=True
    )
    rumble_gain_db: Range = _option(
        (-30.0, 0.0),
        "level of this rumble relative to the mixture, dB",
        needs="rumble_probability",
        of_pairs=True,
    )
    pop_probability: float = _option(
        0.0, "share of mixtures to which pops of a microphone are added", of_pairs=True
    )
    pop_gain_db: Range = _option(
        (-6.0, 12.0),
        "peak of these pops relative to the level of the mixture, dB",
        needs="pop_probability",
        of_pairs=True,
    )
    offset_probability: float = _option(
        0.0, "share of mixtures to which a constant offset is added", of_pairs=True
    )
    offset: Range = _option(
        (0.001, 0.03),
        "size of this offset, relative to full scale",
        needs="offset_probability",
        of_pairs=True,
    )
    clip_probability: float = _option(0.03, "share of mixtures that are clipped", of_pairs=True)
    clip_fraction: Range = _option(
        (0.001, 0.03),
        "share of their samples that are clipped",
        needs="clip_probability",
        of_pairs=True,
    )
    low_pass_probability: float = _option(
        0.03, "share of mixtures that are low-pass filtered", of_pairs=True
    )
    low_pass_hz: Range = _option(
        (3000.0, 7500.0),
        "cutoff frequency of this filter, Hz",
        needs="low_pass_probability",
        of_pairs=True,
    )
    steep_low_pass_probability: float = _option(
        0.0, "share of mixtures that are low-pass filtered with a steep edge", of_pairs=True
    )
    steep_low_pass_hz: Range = _option(
        (3200.0, 5800.0),
        "cutoff frequency of this filter, Hz",
        needs="steep_low_pass_probability",
        of_pairs=True,
    )
    telephone_probability: float = _option(
        0.0, "share of mixtures that are limited to the band of a telephone line", of_pairs=True
    )
    telephone_low_hz: Range = _option(
        (150.0, 400.0), "lower limit of this band, Hz", needs="telephone_probability", of_pairs=True
    )
    telephone_high_hz: Range = _option(
        (3200.0, 3800.0),
        "upper limit of this band, Hz",
        needs="telephone_probability",
        of_pairs=True,
    )
    codec_probability: float = _option(
        0.01, "share of mixtures that are encoded as Vorbis or MP3 and decoded", of_pairs=True
    )
    codec_compression: Range = _option(
        (0.5, 1.0),
        "compression of this codec, from 0 (least) to 1 (most)",
        needs="codec_probability",
        of_pairs=True,
    )
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
                raise UsageError(f"`{field.name}` must be between 0 and 1. Received: {value}")
            if field.name == "codec_compression" and value[1] > 1.0:
                raise UsageError(f"`{field.name}` must be between 0 and 1. Received: {value}")
            is_range = isinstance(value, tuple) and field.name != "group_weights"
            if is_range and not value[0] <= value[1]:
                raise UsageError(
                    f"`{field.name}` must be a low and a high value. Received: {value}"
                )
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
