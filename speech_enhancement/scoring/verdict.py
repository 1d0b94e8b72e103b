"""What the measures of a recording mean, in words; every threshold is here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

Scores = Mapping[str, float]

# The scale of ITU-T P.800: a grade is what it rounds to.
GRADE = "dnsmos_ovrl"
GRADES = {1: "bad", 2: "poor", 3: "fair", 4: "good", 5: "excellent"}
LEAST_CHANGE = 0.1


@dataclasses.dataclass(frozen=True)
class Rule:
    """Words for a measure beyond a threshold.

    Args:
        measure: its name in `summary.COLUMNS`.
        words: what is then said, with `{:}` for the value.
        below, above: the threshold.
    """

    measure: str
    words: str
    below: float = float("-inf")
    above: float = float("inf")

    def holds(self, scores: Scores) -> bool:
        """Whether the measure is known and beyond the threshold."""
        value = scores.get(self.measure)
        return value is not None and (value < self.below or value > self.above)


# Of several rules for one measure, the first that holds is the one that speaks.
RULES = (
    Rule("snr_estimate_db", "very noisy (SNR about {:.0f} dB)", below=8.0),
    Rule("snr_estimate_db", "noisy (SNR about {:.0f} dB)", below=18.0),
    Rule("hum_db", "mains hum ({:.0f} dB)", above=15.0),
    Rule("clipping_percent", "clipped ({:.2f} % of the samples)", above=0.05),
    Rule("speech_level_dbfs", "quiet ({:.0f} dBFS)", below=-40.0),
    Rule("speech_level_dbfs", "loud ({:.0f} dBFS)", above=-12.0),
    Rule("bandwidth_hz", "no sound above {:.0f} Hz", below=4100.0),
)


def verdict(scores: Scores) -> str:
    """What is to be said of a recording: its grade, and what is wrong with it.

    Args:
        scores: measures by name; those that are missing say nothing.

    Returns:
        The empty text if none is known.
    """
    said: dict[str, str] = {}
    for rule in RULES:
        if rule.holds(scores):
            said.setdefault(rule.measure, rule.words.format(scores[rule.measure]))
    known = {GRADE, *(rule.measure for rule in RULES)} & scores.keys()
    faults = ", ".join(said.values()) or ("no technical fault" if known else "")
    return f"{grade(scores[GRADE])}: {faults}" if GRADE in scores else faults


def grade(score: float) -> str:
    """The word for a score from 1 to 5."""
    return GRADES[min(max(round(score), 1), 5)]


def change(before: Scores, after: Scores) -> str:
    """How the grade has changed; empty where there is none."""
    if GRADE not in before or GRADE not in after:
        return ""
    difference = after[GRADE] - before[GRADE]
    if abs(difference) < LEAST_CHANGE:
        return "as before"
    return f"{'better' if difference > 0 else 'worse'} by {abs(difference):.1f}"
