"""ELAN annotation documents (EAF)."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from mms_engine.audio.probe import AUDIO_SUFFIXES
from mms_engine.errors import MmsError
from mms_export.training.corpus.clip import Part, Skipped
from mms_export.training.corpus.media import path_of_url
from mms_export.training.corpus.reading import ReadingOptions
from mms_export.training.corpus.tiers import AnnotatedTier, Annotation, clips_of

Span = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """A point of the document's time line."""

    place: int
    seconds: float | None
    """`None` for a point between its neighbours."""


def read(path: Path, options: ReadingOptions) -> Part:
    """Return the clips of a document; see `Reader`."""
    root = _parse(path)
    try:
        return _read(path, root, options)
    except ValueError as error:
        raise MmsError(f"{path} is damaged: {error}") from error


def _read(path: Path, root: ET.Element, options: ReadingOptions) -> Part:
    media = root.findall("HEADER/MEDIA_DESCRIPTOR")
    # A film's sound is usually beside it, and better.
    media.sort(key=lambda one: Path(_url(one)).suffix.lower() not in AUDIO_SUFFIXES)
    named = [path_of_url(url) for one in media for url in (_relative(one), _url(one)) if url]
    offset = float(media[0].get("TIME_ORIGIN") or 0) / 1000 if media else 0.0
    return clips_of(path, _tiers(path, root), named, options, offset)


def _parse(path: Path) -> ET.Element:
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - expat bounds what entities expand to
    except OSError as error:
        raise MmsError(f"{path} cannot be read: {error.strerror}") from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise MmsError(f"{path} is no ELAN document: {error}") from error
    header = root.find("HEADER")
    if root.tag != "ANNOTATION_DOCUMENT" or header is None:
        raise MmsError(f"{path} is no ELAN document, but {root.tag}")
    if header.get("TIME_UNITS", "milliseconds") != "milliseconds":
        raise MmsError(
            f"{path} counts time in {header.get('TIME_UNITS')}: save it with ELAN 4 or later, "
            "which counts milliseconds"
        )
    return root


def _url(media: ET.Element) -> str:
    return media.get("MEDIA_URL", "")


def _relative(media: ET.Element) -> str:
    return media.get("RELATIVE_MEDIA_URL", "")


def _tiers(path: Path, root: ET.Element) -> list[AnnotatedTier]:
    slots = {
        one.get("TIME_SLOT_ID", ""): _Slot(place, _seconds(one.get("TIME_VALUE")))
        for place, one in enumerate(root.iterfind("TIME_ORDER/TIME_SLOT"))
    }
    tiers = root.findall("TIER")
    spans: dict[str, Span] = {}
    for tier in tiers:
        spans.update(_aligned(tier, slots))
    parents = {
        one.get("ANNOTATION_ID", ""): one.get("ANNOTATION_REF", "")
        for one in root.iterfind("TIER/ANNOTATION/REF_ANNOTATION")
    }
    return [_tier(path, tier, spans, parents) for tier in tiers]


def _seconds(milliseconds: str | None) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000


def _aligned(tier: ET.Element, slots: Mapping[str, _Slot]) -> Iterator[tuple[str, Span]]:
    """Yield the spans of a tier's annotations with times of their own, in order of time.

    Annotations between which a time is unknown share the span around them.
    """
    rows = []
    for one in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
        first, last = (slots.get(one.get(f"TIME_SLOT_REF{i}", "")) for i in (1, 2))
        if first is not None and last is not None:
            rows.append((first, last, one.get("ANNOTATION_ID", "")))
    rows.sort(key=lambda row: (row[0].place, row[1].place))
    waiting: list[str] = []
    start, following = 0.0, -1
    for first, last, name in rows:
        if first.seconds is not None:
            waiting, start = [], first.seconds
        elif not waiting or first.place != following:
            continue  # nothing before it has a time
        waiting.append(name)
        following = last.place
        if last.seconds is not None:
            yield from ((one, (start, last.seconds)) for one in waiting)
            waiting = []


def _tier(
    path: Path, tier: ET.Element, spans: Mapping[str, Span], parents: Mapping[str, str]
) -> AnnotatedTier:
    name = tier.get("TIER_ID", "")
    texts: dict[str, list[str]] = {}
    skipped: list[Skipped] = []
    for one in tier.iterfind("ANNOTATION/*"):
        text = one.findtext("ANNOTATION_VALUE", "").strip()
        timed = _timed(one.get("ANNOTATION_ID", ""), spans, parents)
        if text and timed is None:
            skipped.append(Skipped(f"{path}, {name}", f"{text!r} has no time"))
        elif text and timed is not None:
            texts.setdefault(timed, []).append(text)
    ordered = [one for one in spans if one in texts]
    ordered.sort(key=spans.__getitem__)
    return AnnotatedTier(
        name=name,
        kind=tier.get("LINGUISTIC_TYPE_REF", ""),
        # A common way to write the speaker where there is no participant: `tx@Anna`.
        participant=tier.get("PARTICIPANT", "") or name.partition("@")[2],
        annotations=tuple(
            Annotation(*span, " ".join(text for one in group for text in texts[one]))
            for span, group in itertools.groupby(ordered, key=spans.__getitem__)
        ),
        skipped=tuple(skipped),
    )


def _timed(name: str, spans: Mapping[str, Span], parents: Mapping[str, str]) -> str | None:
    """Return the annotation with a time to which one refers at any depth, or is itself."""
    for _ in range(len(parents) + 1):
        if name in spans:
            return name
        name = parents.get(name, "")
    return None
