"""Tables with one line per interval: NIST CTM, Audacity labels and CSV."""

import csv as csv_module
import io

from mms_engine.formats.timed_text import WORDS, TimedText


def ctm(timed: TimedText) -> str:
    """Return NIST CTM: recording, channel, start, duration, word, confidence; one line per word."""
    recording = "_".join(timed.name.split()) or "-"
    return "".join(
        f"{recording} 1 {word.start:.3f} {word.end - word.start:.3f} "
        f"{_field(word.text)} {word.score or 0.0:.3f}\n"
        for word in timed.intervals(WORDS)
    )


def _field(text: str) -> str:
    """Return a text without white space, and without the mark `;;` of a comment at its start."""
    return "_".join(text.split()).replace(";;", ";_") or "-"


def audacity(timed: TimedText) -> str:
    """Return an Audacity label track: start, end and word, separated by tabs."""
    return "".join(
        f"{word.start:.6f}\t{word.end:.6f}\t{' '.join(word.text.split())}\n"
        for word in timed.intervals(WORDS)
    )


def csv(timed: TimedText) -> str:
    """Return comma-separated values with the columns tier, start, end, text, score, trusted."""
    stream = io.StringIO()
    rows = csv_module.writer(stream, lineterminator="\n")
    rows.writerow(("tier", "start", "end", "text", "score", "trusted"))
    for tier in timed.tiers:
        for interval in tier.intervals:
            score = "" if interval.score is None else f"{interval.score:.3f}"
            trusted = {None: "", True: "true", False: "false"}[interval.trusted]
            times = f"{interval.start:.3f}", f"{interval.end:.3f}"
            rows.writerow((tier.name, *times, interval.text, score, trusted))
    return stream.getvalue()
