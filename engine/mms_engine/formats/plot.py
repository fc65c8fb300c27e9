"""Picture of an alignment: waveform and words, in rows of 30 s, as SVG."""

import html
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mms_engine.types import AlignedWord, Alignment, Float32Array, Region

PEAKS_PER_SECOND = 50
"""Peaks of the waveform per second, as `alignment_svg` expects them."""

_ROW_SECONDS = 30.0
_WIDTH = 50.0
"""Pixels per second."""
_LEFT, _TOP, _ROW = 60, 44, 176
"""Left margin, top margin and height of a row, in pixels."""
_WAVE, _BOXES, _LABELS = 44, 80, 100
"""Centre of the waveform, top of the words' boxes and of their labels within a row, in pixels."""
_HALF, _BOX_HEIGHT = 30, 10
"""Half the height of the waveform, and the height of a word's box, in pixels."""
_TICK_SECONDS = 5
_SHOWN_CHARACTERS = 14
"""Characters of a word in the picture; its tooltip has all."""
_TRUSTED, _UNTRUSTED, _UNALIGNED = "#2a7f4f", "#c0392b", "#8a8a8a"
_STYLE = (
    "text{font:11px sans-serif;fill:#222}.t{font-size:10px;fill:#666}"
    ".w{fill:#5b7aa8;stroke:none}.r{fill:#f5c6c0;fill-opacity:.6}"
)


def peaks(pieces: Iterable[Float32Array], sample_rate: int) -> Float32Array:
    """Return the largest absolute sample of each 1/50 s of consecutive pieces of mono audio.

    Args:
        pieces: Arrays of shape `[N]`.
        sample_rate: Samples per second.
    """
    size = sample_rate // PEAKS_PER_SECOND
    found: list[Float32Array] = []
    rest = np.zeros(0, np.float32)
    for piece in pieces:
        samples = np.concatenate([rest, np.abs(piece)])
        whole = samples.size // size * size
        found.append(samples[:whole].reshape(-1, size).max(1))
        rest = samples[whole:]
    if rest.size:
        found.append(rest.max(keepdims=True))
    return np.concatenate(found) if found else rest


def alignment_svg(alignment: Alignment, waveform: Float32Array, title: str) -> str:
    """Return an SVG picture: trusted words green, untrusted ones red, unaligned ones grey.

    Regions where text and audio differ have a red background, with their kind.

    Args:
        alignment: The alignment.
        waveform: Result of `peaks` for its audio.
        title: Text of the heading.
    """
    count = max(1, int(np.ceil(alignment.seconds / _ROW_SECONDS)))
    width, height = int(_LEFT + _WIDTH * _ROW_SECONDS + 20), _TOP + _ROW * count
    share = f"{alignment.trusted_share:.0%} of the words are trusted"
    heading = _escape(f"{title} · {alignment.language} · {share}")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><style>{_STYLE}</style>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="{_LEFT}" y="22">{heading}</text>'
    )
    parts = [head]
    scale = 1 / max(float(waveform.max(initial=0.0)), 1e-4)
    for row in range(count):
        parts.extend(_row(alignment, waveform * np.float32(scale), row))
    return "\n".join([*parts, "</svg>", ""])


def _row(alignment: Alignment, waveform: Float32Array, row: int) -> Iterator[str]:
    start = row * _ROW_SECONDS
    top = _TOP + row * _ROW
    yield f'<text class="t" x="4" y="{top + _WAVE + 4}">{_clock(start)}</text>'
    for tick in range(0, int(_ROW_SECONDS) + 1, _TICK_SECONDS):
        x = _LEFT + _WIDTH * tick
        yield f'<path d="M{x:.0f} {top + 12}v78" stroke="#ddd"/>'
    for region in _within(alignment.regions, start):
        yield from _region(region, start, top)
    first = int(start * PEAKS_PER_SECOND)
    yield _wave(waveform[first : first + int(_ROW_SECONDS * PEAKS_PER_SECOND)], top)
    for word in _within(alignment.words, start):
        yield from _word(word, start, top)


def _within(spans: Sequence, start: float) -> Iterator:  # type: ignore[type-arg]
    """Yield the words or regions that overlap a row."""
    for span in spans:
        if span.start < start + _ROW_SECONDS and (span.end > start or span.start >= start):
            yield span


def _x(seconds: float, start: float) -> float:
    return _LEFT + _WIDTH * min(max(seconds - start, 0.0), _ROW_SECONDS)


def _wave(values: Float32Array, top: int) -> str:
    centre, step = top + _WAVE, _WIDTH / PEAKS_PER_SECOND
    xs = _LEFT + step * np.arange(values.size)
    upper = [f"{x:.0f},{centre - _HALF * y:.1f}" for x, y in zip(xs, values, strict=True)]
    lower = [f"{x:.0f},{centre + _HALF * y:.1f}" for x, y in zip(xs, values, strict=True)]
    return f'<polygon class="w" points="{" ".join([*upper, *reversed(lower)])}"/>'


def _region(region: Region, start: float, top: int) -> Iterator[str]:
    left, right = _x(region.start, start), _x(region.end, start)
    yield (
        f'<rect class="r" x="{left:.1f}" y="{top}" width="{max(right - left, 1):.1f}" '
        f'height="{_BOXES + _BOX_HEIGHT + 4}"/><text class="t" x="{left + 2:.1f}" y="{top + 10}">'
        f"{region.kind}</text>"
    )


def _word(word: AlignedWord, start: float, top: int) -> Iterator[str]:
    colour = (_TRUSTED if word.trusted else _UNTRUSTED) if word.aligned else _UNALIGNED
    left, right = _x(word.start, start), _x(word.end, start)
    yield (
        f'<rect x="{left:.1f}" y="{top + _BOXES}" width="{max(right - left, 1):.1f}" '
        f'height="{_BOX_HEIGHT}" fill="{colour}" fill-opacity=".4" stroke="{colour}">'
        f"<title>{_escape(word.text)} {word.start:.2f}\u2013{word.end:.2f} s, "
        f"score {word.score:.2f}</title></rect>"
    )
    if word.start >= start:
        cut = len(word.text) > _SHOWN_CHARACTERS
        text = f"{word.text[: _SHOWN_CHARACTERS - 1]}…" if cut else word.text
        yield (
            f'<text transform="translate({left:.1f} {top + _LABELS}) rotate(50)" '
            f'style="fill:{colour}">{_escape(text)}</text>'
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _escape(text: str) -> str:
    return html.escape("".join(c if c.isprintable() else "\ufffd" for c in text))
