"""Error rates and differences as a table or as JSON."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from mms_engine.asr.scoring import (
    AlignedText,
    Differences,
    ErrorRate,
    Score,
    Scored,
    differences,
    score,
)
from mms_engine.cli.transcribe.recordings import Recording
from mms_engine.system import printable
from mms_engine.types import Transcript

_NO_RATE = "n/a"


def score_report(
    outcomes: Iterable[tuple[Recording, Transcript]], *, as_json: bool, with_differences: bool
) -> str:
    """Return the error rates of transcripts, empty for none, and the differences of each."""
    files = [
        Scored(
            file=printable(recording.name),
            language=recording.spoken or transcript.language,
            reference=recording.reference,
            hypothesis=transcript.text,
            held_out=recording.held_out,
        )
        for recording, transcript in outcomes
    ]
    if not files:
        return ""
    write = score_json if as_json else score_table
    return write(score(files), with_differences=with_differences)


def score_json(score: Score, *, with_differences: bool) -> str:
    """Return the error rates as one JSON document, and the differences of each file."""
    document = msgspec.to_builtins(score)
    if with_differences:
        for row, file in zip(document["files"], score.files, strict=True):
            row["differences"] = msgspec.to_builtins(differences(file))
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"


def score_table(score: Score, *, with_differences: bool) -> str:
    """Return each transcript below its reference, then a table of error rates.

    Differences are written as `git diff --word-diff` does, and coloured on a terminal.
    """
    lines = []
    for file in score.files:
        mark = ", held out of training" if file.held_out else ""
        lines.append(f"{Path(file.file).name} ({file.language}{mark})")
        lines.append(f"  said        {file.reference}")
        lines.append(f"  transcribed {file.hypothesis}")
        if with_differences:
            found = differences(file)
            lines.append(f"  differences {_marked(found)}")
            lines.append(f"              {_counted(found)}")
    lines.append("")
    lines.append(f"{'language':10} {'files':>6} {'words':>7} {'WER':>8} {'CER':>8}")
    rates = [*score.languages, score.total, *([score.held_out] if score.held_out else [])]
    lines.extend(_row(rate) for rate in rates)
    if score.no_reference is not None:
        files = _number(score.no_reference.files, "file")
        words = _number(score.no_reference.word_edits.insertions, "inserted word")
        lines.append(f"{files} without a reference: {words}, counted in the rates above")
    return "\n".join(lines) + "\n"


def _row(rate: ErrorRate) -> str:
    wer, cer = (_NO_RATE if value is None else f"{value:.1%}" for value in (rate.wer, rate.cer))
    return f"{rate.language:10} {rate.files:6} {rate.words:7} {wer:>8} {cer:>8}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _counted(found: Differences) -> str:
    edits = found.edits
    kinds = (
        _number(edits.substitutions, "substitution"),
        _number(edits.deletions, "deletion"),
        _number(edits.insertions, "insertion"),
    )
    return f"{', '.join(kinds)} ({found.unit}s)"


def _marked(found: Differences) -> str:
    space = "" if found.unit == "character" else " "
    return space.join(_part(part) for part in found.alignment)


def _part(part: AlignedText) -> str:
    if part.kind == "equal":
        return part.reference
    deleted = _coloured(f"[-{part.reference}-]", "red") if part.reference else ""
    inserted = _coloured(f"{{+{part.hypothesis}+}}", "green") if part.hypothesis else ""
    return deleted + inserted


def _coloured(text: str, colour: str) -> str:
    """Return text in colour if standard output is a terminal (https://no-color.org)."""
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return text if is_plain or not sys.stdout.isatty() else click.style(text, fg=colour)
