"""Praat TextGrids, long or short.

Of a text file Praat reads strings in quotes, numbers and flags that stand alone, and takes the rest
for comments; so one grammar reads both forms.
"""

import re
from pathlib import Path

from mms_engine.errors import MmsError
from mms_export.training.corpus.clip import Part
from mms_export.training.corpus.reading import ReadingOptions
from mms_export.training.corpus.tiers import AnnotatedTier, Annotation, clips_of

_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"'
    r"|(?<!\S)(?P<number>[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|[-+]?\.\d+)(?!\S)"
)


def read(path: Path, options: ReadingOptions) -> Part:
    """Return the clips of a TextGrid; see `Reader`.

    Where several tiers are chosen, their names are those of speakers.
    """
    text = _text(path)
    try:
        tiers = _tiers(text, has_speakers=len(options.tiers) > 1)
    except (StopIteration, ValueError, OverflowError) as error:
        raise MmsError(
            f"{path} is damaged, or no TextGrid: {str(error) or 'it ends too early'}"
        ) from error
    return clips_of(path, tiers, [], options)


def _text(path: Path) -> str:
    """Return the text of a file in UTF-8 or UTF-16, as Praat writes them."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MmsError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return content.decode(_BYTE_ORDER_MARKS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise MmsError(
            f"{path} is binary, or in an encoding of one kind of machine: open it in Praat, choose "
            "UTF-8 under Text writing preferences, and save it as a text file"
        ) from error


def _tiers(text: str, *, has_speakers: bool) -> list[AnnotatedTier]:
    """Return the interval tiers of a document.

    Raises:
        StopIteration: it ends too early.
        ValueError: it has a text for a number, or the reverse.
    """
    tokens = _Tokens(text)
    kind = tokens.text(), tokens.text()
    if kind != ("ooTextFile", "TextGrid"):
        raise ValueError(f"it begins with {' '.join(kind)[:40]!r}")
    tokens.number()
    tokens.number()
    tiers = []
    for _ in range(round(tokens.number())):
        is_interval, name = tokens.text() == "IntervalTier", tokens.text()
        tokens.number()
        tokens.number()
        annotations = []
        for _ in range(round(tokens.number())):
            start = tokens.number()
            end = tokens.number() if is_interval else start
            label = tokens.text().strip()
            if label and is_interval:
                annotations.append(Annotation(start, end, label))
        participant = name if has_speakers else ""
        tiers.append(
            AnnotatedTier(name=name, participant=participant, annotations=tuple(annotations))
        )
    return tiers


class _Tokens:
    """Strings and numbers of a document, in order."""

    def __init__(self, text: str) -> None:
        self._matches = _TOKEN.finditer(text)

    def text(self) -> str:
        match = next(self._matches)
        if match["text"] is None:
            raise ValueError(f"{match[0]} stands for a text")
        return match["text"].replace('""', '"')

    def number(self) -> float:
        match = next(self._matches)
        if match["number"] is None:
            raise ValueError(f"{match[0][:40]} stands for a number")
        return float(match["number"])
