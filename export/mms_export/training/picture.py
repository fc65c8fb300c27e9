"""Picture of a corpus: durations of its clips, speech of its speakers, its letters, as SVG."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mms_export.training.report import Report

_WIDTH, _LEFT, _HEIGHT, _GAP = 1000, 60, 150, 70
"""Width of the picture, left margin, height of a chart and gap below it, in pixels."""
_TOP = 50
_BINS = 40
_MOST_BARS = 80
_TRAIN, _HELD_OUT = "#5b7aa8", "#d08c3c"
_STYLE = "text{font:12px sans-serif;fill:#222}.s{font-size:10px;fill:#666}"


@dataclass(frozen=True, slots=True)
class _Bar:
    """A bar of two parts."""

    label: str
    train: float
    held_out: float

    @property
    def total(self) -> float:
        return self.train + self.held_out


def report_svg(report: Report) -> str:
    """Return an SVG picture of a report; what is held out has a colour of its own."""
    charts = (
        ("Clips by duration in seconds", _durations(report)),
        ("Minutes by speaker", _speakers(report)),
        ("Letters by frequency", _letters(report)),
    )
    height = _TOP + len(charts) * (_HEIGHT + _GAP)
    usable = len(report.train) + len(report.held_out)
    title = f"{report.path}: {usable} clips, {report.seconds / 60:.1f} minutes"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-weight="bold">{_escape(title)}</text>',
        *_legend(),
    ]
    for place, (heading, bars) in enumerate(charts):
        parts += _chart(heading, bars, _TOP + place * (_HEIGHT + _GAP))
    return "".join(f"{part}\n" for part in (*parts, "</svg>"))


def _durations(report: Report) -> list[_Bar]:
    sides = [[one.seconds for one in side] for side in (report.train, report.held_out)]
    longest = max((max(side, default=0.0) for side in sides), default=0.0) or 1.0
    train, held_out = (np.histogram(side, _BINS, (0.0, longest))[0] for side in sides)
    return [
        _Bar(f"{longest * i / _BINS:.1f}" if i % 4 == 0 else "", float(a), float(b))
        for i, (a, b) in enumerate(zip(train, held_out, strict=True))
    ]


def _speakers(report: Report) -> list[_Bar]:
    held_out = {example.clip.speaker for example in report.held_out}
    train = {example.clip.speaker for example in report.train}
    bars = []
    for name, seconds in report.seconds_by_speaker.most_common(_MOST_BARS):
        minutes = seconds / 60
        is_held_out = name in held_out - train
        bars.append(_Bar(name or "unknown", 0.0 if is_held_out else minutes, minutes * is_held_out))
    return bars


def _letters(report: Report) -> list[_Bar]:
    return [_Bar(one.letter, float(one.count), 0.0) for one in report.characters[:_MOST_BARS]]


def _legend() -> Iterator[str]:
    for place, (colour, label) in enumerate(((_TRAIN, "to train on"), (_HELD_OUT, "held out"))):
        x = _WIDTH - 240 + 120 * place
        yield f'<rect x="{x}" y="15" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="25">{label}</text>'


def _chart(heading: str, bars: Sequence[_Bar], top: int) -> Iterator[str]:
    yield f'<text x="{_LEFT}" y="{top + 12}">{heading}</text>'
    most = max((bar.total for bar in bars), default=0.0) or 1.0
    base, room = top + _HEIGHT, _HEIGHT - 24
    yield f'<text class="s" x="{_LEFT - 6}" y="{base - room}" text-anchor="end">{most:.4g}</text>'
    step = (_WIDTH - 2 * _LEFT) / max(len(bars), 1)
    width = min(step * 0.8, 30.0)
    for place, bar in enumerate(bars):
        x = _LEFT + place * step
        y = float(base)
        for value, colour in ((bar.train, _TRAIN), (bar.held_out, _HELD_OUT)):
            size = room * value / most
            y -= size
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{size:.1f}" '
                f'fill="{colour}"><title>{_escape(bar.label)}: {bar.total:.4g}</title></rect>'
            )
        label = bar.label if len(bar.label) * 7 <= max(step, 20) else f"{bar.label[:2]}\u2026"
        yield (
            f'<text class="s" x="{x + width / 2:.1f}" y="{base + 14}" text-anchor="middle">'
            f"{_escape(label)}</text>"
        )


def _escape(text: str) -> str:
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))
