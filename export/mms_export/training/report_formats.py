"""A report of a corpus as text and as JSON."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from mms_engine.system import printable
from mms_export.training.report import Character, Example, Fault, LeftOut, Report

_SHOWN, _LETTERS = 5, 80
"""Items of a list, and letters, in the text; JSON has all."""
_HOUR = 3600.0
FAULTS: Mapping[Fault, str] = {
    "unreadable": "recording that cannot be read",
    "empty": "no letter in the text",
    "note": "note of a transcriber in the text: replace it, or drop all such notes",
    "digits": "number in digits in the text: write it as it is spoken",
    "cut off": "recording that ends before the clip does",
    "short": "too short",
    "long": "too long: divide it at pauses, for example with mms segment",
    "crowded": "more letters than there is time for: a wrong text, or wrong times",
    "silent": "no sound",
    "duplicate": "the same sound and text as another clip",
    "contradiction": "the same sound as another clip, with another text",
}
"""Meaning of each kind of fault."""


def report_text(report: Report) -> str:
    """Return a report as text for people, ending in a newline."""
    return "".join(f"{printable(line)}\n" for line in _lines(report))


def report_json(report: Report) -> str:
    """Return a report as a JSON object on one line, with every clip and character."""
    document = {
        "corpus": report.path,
        "format": report.format,
        "language": report.language,
        "seconds": round(report.seconds, 3),
        "speakers": {k: round(v, 3) for k, v in report.seconds_by_speaker.items()},
        "split": report.split_unit,
        "train": [_example(example) for example in report.train],
        "held_out": [_example(example) for example in report.held_out],
        "vocabulary": report.vocabulary.tokens,
        "characters": report.characters,
        "left_out": report.left_out,
        "skipped": report.skipped,
        "warnings": report.warnings,
        "faults": report.faults,
    }
    # Bytes of a name that are not UTF-8 become escapes of JSON.
    written = json.dumps(document, ensure_ascii=False, default=asdict)
    return written.encode("utf-8", "backslashreplace").decode() + "\n"


def _example(example: Example) -> Mapping[str, object]:
    clip = example.clip
    return {
        "audio": str(clip.audio),
        "start": clip.start,
        "seconds": round(example.seconds, 3),
        "speaker": clip.speaker,
        "text": example.text,
        "where": clip.where,
    }


def _lines(report: Report) -> Iterator[str]:
    usable = len(report.train) + len(report.held_out)
    yield f"{report.path}: {report.format}, language {report.language}"
    yield f"Usable: {_clips(usable)}, {duration(report.seconds)}, {_speakers(report)}"
    if report.split_unit is not None:
        yield (
            f"Split by {report.split_unit}: {_clips(len(report.train))} to train on, "
            f"{len(report.held_out)} held out to measure with"
        )
    if report.left_out:
        yield f"Left out: {_clips(len(report.left_out))}"
        yield from _left_out(report.left_out)
    if report.skipped:
        yield "Not clips:"
        yield from _shown([f"{one.where}: {one.reason}" for one in report.skipped])
    yield f"Letters: {len(report.characters)}"
    yield from map(_character, report.characters[:_LETTERS])
    if len(report.characters) > _LETTERS:
        yield f"  and {len(report.characters) - _LETTERS} more"
    yield from (f"Warning: {warning}" for warning in report.warnings)
    yield from (f"Error: {fault}" for fault in report.faults)


def duration(seconds: float) -> str:
    """Return a duration in hours, minutes or seconds."""
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def _clips(count: int) -> str:
    return f"{count} clip{'s' * (count != 1)}"


def _speakers(report: Report) -> str:
    known = Counter({k: v for k, v in report.seconds_by_speaker.items() if k})
    if not known:
        return "speakers unknown"
    most, seconds = known.most_common(1)[0]
    return f"{len(known)} speakers (most of {most}: {duration(seconds)})"


def _left_out(left_out: tuple[LeftOut, ...]) -> Iterator[str]:
    kinds = Counter(one.kind for one in left_out)
    for kind, count in kinds.most_common():
        yield f"  {count} {kind}: {FAULTS[kind]}"
        yield from _shown([f"{one.where}: {one.detail}" for one in left_out if one.kind == kind])


def _shown(items: list[str]) -> Iterator[str]:
    yield from (f"    {item}" for item in items[:_SHOWN])
    if len(items) > _SHOWN:
        yield f"    and {len(items) - _SHOWN} more"


def _character(one: Character) -> str:
    codes = " ".join(f"U+{ord(c):04X} {unicodedata.name(c, '')}" for c in one.letter)
    similar = f"; looks like {' '.join(one.look_alikes)}" if one.look_alikes else ""
    shown = f"\u25cc{one.letter}" if unicodedata.combining(one.letter[0]) else one.letter
    return f"  {shown}  {one.count:>7}  {codes}{similar}"
