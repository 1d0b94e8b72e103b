"""What the measures of a recording mean, in words; every threshold is here."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

Scores = Mapping[str, float]

# The words of ITU-T P.800, each from its lowest score. DNSMOS gives clean speech 3.0 to 3.6, which
# would be fair if it were rounded to the scale of P.800.
GRADE = "dnsmos_ovrl"
GRADES = {"good": 3.0, "fair": 2.4, "poor": 1.7}
WORST = "bad"
LEAST_CHANGE = 0.1


@dataclasses.dataclass(frozen=True)
class Rule:
    """A fault: a measure beyond a threshold.

    Args:
        measure: its name in `summary.COLUMNS`.
        fault: what it is called.
        value: how the measure is said, with `{:}` for the number.
        below, above: the threshold.
    """

    measure: str
    fault: str
    value: str
    below: float = float("-inf")
    above: float = float("inf")

    def holds(self, scores: Scores) -> bool:
        """Whether the measure is known and beyond the threshold."""
        value = scores.get(self.measure)
        return value is not None and (value < self.below or value > self.above)


# Of a recording with hardly any sound, nothing else can be said.
ALMOST_SILENT = Rule("speech_level_dbfs", "almost silent", "{:.0f} dBFS", below=-80.0)
# Of several rules for one measure, the first that holds is the one that speaks.
RULES = (
    ALMOST_SILENT,
    Rule("snr_estimate_db", "very noisy", "SNR about {:.0f} dB", below=8.0),
    Rule("snr_estimate_db", "noisy", "SNR about {:.0f} dB", below=18.0),
    Rule("hum_db", "mains hum", "{:.0f} dB", above=15.0),
    Rule("clipping_percent", "clipped", "{:.2f} % of the samples", above=0.05),
    Rule("offset_percent", "constant offset", "{:.0f} % of full scale", above=3.0),
    Rule("speech_level_dbfs", "quiet", "{:.0f} dBFS", below=-40.0),
    Rule("speech_level_dbfs", "loud", "{:.0f} dBFS", above=-12.0),
    Rule("bandwidth_hz", "narrow band", "no sound above {:.0f} Hz", below=5000.0),
)


def verdict(scores: Scores) -> str:
    """What is to be said of a recording: its grade, and what is wrong with it.

    Args:
        scores: measures by name; those that are missing say nothing.

    Returns:
        The empty text if none is known.
    """
    said = [f"{r.fault} ({r.value.format(scores[r.measure])})" for r in faults(scores)]
    return _sentence(scores, said, [scores])


def verdict_on_all(means: Scores, recordings: Sequence[Scores]) -> str:
    """What is to be said of many recordings: the grade of the mean, and how many have a fault.

    Args:
        means: of the recordings, by the names of measures.
        recordings: measures of each by name.

    Returns:
        The empty text if none is known.
    """
    counts = Counter(rule for each in recordings for rule in faults(each))
    n_scored = sum(map(bool, recordings))
    said = [f"{counts[rule]} of {n_scored} {rule.fault}" for rule in RULES if counts[rule]]
    return _sentence(means, said, recordings)


def faults(scores: Scores) -> list[Rule]:
    """The rules that hold for a recording, at most one for each measure."""
    if ALMOST_SILENT.holds(scores):
        return [ALMOST_SILENT]
    found: dict[str, Rule] = {}
    for rule in RULES:
        if rule.holds(scores):
            found.setdefault(rule.measure, rule)
    return list(found.values())


def _sentence(graded: Scores, said: Sequence[str], recordings: Sequence[Scores]) -> str:
    """A grade and faults, of which there are none where nothing is known."""
    measures = {GRADE, *(rule.measure for rule in RULES)}
    is_known = any(measures & each.keys() for each in recordings)
    words = ", ".join(said) or ("no technical fault" if is_known else "")
    return f"{grade(graded[GRADE])}: {words}" if GRADE in graded else words


def grade(score: float) -> str:
    """The word for a score from 1 to 5."""
    return next((word for word, lowest in GRADES.items() if score >= lowest), WORST)


def change(before: Scores, after: Scores) -> str:
    """How the grade has changed; empty where there is none."""
    if GRADE not in before or GRADE not in after:
        return ""
    difference = after[GRADE] - before[GRADE]
    if abs(difference) < LEAST_CHANGE:
        return "as before"
    return f"{'better' if difference > 0 else 'worse'} by {abs(difference):.1f}"
