"""Tiers of annotation documents as clips: the choice of tiers, and words as phrases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mms_engine.errors import MmsError
from mms_engine.formats.timed_text import WORDS
from mms_engine.text.segmentation import is_by_character
from mms_export.training.corpus.clip import Clip, Part, Skipped, Unusable
from mms_export.training.corpus.reading import ReadingOptions

_WORDS_SHARE = 0.8
"""Share of single words in a tier of words: some may have been corrected to two."""
_PAUSE_SECONDS = 0.4
_PHRASE_SECONDS = 15.0
_PADDING_SECONDS = 0.2
"""Gap between words that ends a phrase, longest phrase, and sound kept around it."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A text and its span of a recording, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedTier:
    """A tier of a document."""

    name: str
    kind: str = ""
    """Type of its annotations, as the document names it."""
    participant: str = ""
    """Speaker as the document names it."""
    annotations: tuple[Annotation, ...]
    """Annotations with a text, in order."""
    skipped: tuple[Skipped, ...] = ()

    @property
    def is_words(self) -> bool:
        """Whether each annotation is a word, as `mms transcribe` writes them."""
        words = sum(len(one.text.split()) == 1 for one in self.annotations)
        return self.name == WORDS and words >= _WORDS_SHARE * len(self.annotations)

    @property
    def names(self) -> set[str]:
        """Names by which a user may choose the tier."""
        return {self.name, self.kind, self.participant} - {""}


def clips_of(
    document: Path,
    tiers: Sequence[AnnotatedTier],
    media: Sequence[str],
    options: ReadingOptions,
    offset: float = 0.0,
) -> Part:
    """Return the clips of a document.

    Words as `mms transcribe` writes them, in a tier `words`, are joined to phrases at pauses.

    Args:
        document: The document.
        tiers: Its tiers.
        media: Paths of the recording that it names.
        options: Choices of the user.
        offset: Seconds of the recording before the document's time 0.

    Raises:
        MmsError: several tiers have text, and none is chosen.
    """
    try:
        chosen = _choose(document, tiers, options.tiers)
        audio = options.recordings.find(document, media)
    except Unusable as error:
        return Part((), (Skipped(str(document), str(error)),))
    joiner = "" if options.language and is_by_character(options.language) else " "
    clips: list[Clip] = []
    skipped = [one for tier in chosen for one in tier.skipped]
    for tier in chosen:
        for one in phrases(tier.annotations, joiner) if tier.is_words else tier.annotations:
            where = f"{document}, {tier.name}, {one.start:.2f} s"
            try:
                clips.append(_clip(audio, one, where, tier.participant, offset))
            except Unusable as error:
                skipped.append(Skipped(where, str(error)))
    return Part(tuple(clips), tuple(skipped))


def _clip(audio: Path, one: Annotation, where: str, speaker: str, offset: float) -> Clip:
    return Clip(
        audio=audio,
        text=one.text,
        where=where,
        start=one.start + offset,
        end=one.end + offset,
        speaker=speaker,
        recording=str(audio),
    )


def _choose(
    document: Path, tiers: Sequence[AnnotatedTier], names: Sequence[str]
) -> list[AnnotatedTier]:
    with_text = [tier for tier in tiers if tier.annotations]
    listed = ", ".join(f"{tier.name} ({len(tier.annotations)})" for tier in with_text)
    if not with_text:
        raise Unusable("none of its tiers has text")
    if names:
        chosen = [tier for tier in with_text if tier.names.intersection(names)]
        if not chosen:
            raise Unusable(f"no tier {', '.join(names)} with text; its tiers are {listed}")
        return chosen
    if len(with_text) > 1:
        raise MmsError(
            f"{document} has several tiers with text: {listed}. Choose what was said word for word "
            "with --tier, by the name, the type or the participant"
        )
    return with_text


def phrases(words: Sequence[Annotation], joiner: str) -> Iterator[Annotation]:
    """Yield words as phrases between pauses.

    A phrase takes up to 0.2 s of the pauses around it, at most half of each: times of words are
    those of letters, which begin late and end early.
    """
    groups: list[list[Annotation]] = []
    for word in words:
        if (
            not groups
            or word.start - groups[-1][-1].end >= _PAUSE_SECONDS
            or word.end - groups[-1][0].start > _PHRASE_SECONDS
        ):
            groups.append([])
        groups[-1].append(word)
    before = 0.0
    for place, group in enumerate(groups):
        first, last = group[0].start, group[-1].end
        after = groups[place + 1][0].start if place + 1 < len(groups) else last + 1.0
        room_before = first - before if place == 0 else (first - before) / 2
        start = first - min(max(room_before, 0.0), _PADDING_SECONDS)
        end = last + min(max(after - last, 0.0) / 2, _PADDING_SECONDS)
        yield Annotation(start, end, joiner.join(word.text for word in group))
        before = last
