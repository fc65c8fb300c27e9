"""Error rates as a table or as JSON."""

from pathlib import Path

import msgspec

from mms_engine.asr.scoring import ErrorRate, Score


def score_json(score: Score) -> str:
    """Return the error rates as one JSON document."""
    return msgspec.json.format(msgspec.json.encode(score)).decode() + "\n"


def score_table(score: Score) -> str:
    """Return each transcript below its reference, then a table of error rates."""
    lines = []
    for file in score.files:
        mark = ", held out of training" if file.held_out else ""
        lines.append(f"{Path(file.file).name} ({file.language}{mark})")
        lines.append(f"  said        {file.reference}")
        lines.append(f"  transcribed {file.hypothesis}")
    lines.append("")
    lines.append(f"{'language':10} {'files':>6} {'words':>7} {'WER':>8} {'CER':>8}")
    rates = [*score.languages, score.total, *([score.held_out] if score.held_out else [])]
    lines.extend(_row(rate) for rate in rates)
    return "\n".join(lines) + "\n"


def _row(rate: ErrorRate) -> str:
    return f"{rate.language:10} {rate.files:6} {rate.words:7} {rate.wer:8.1%} {rate.cer:8.1%}"
