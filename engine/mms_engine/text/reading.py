"""Reading of sentences by a voice: numbers in words, tokens, words and the pauses inside."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from mms_engine.errors import TextError
from mms_engine.text.aligned import AlignedText
from mms_engine.text.numbers import number_language, read_numbers
from mms_engine.text.segmentation import SENTENCE_END, is_by_character, word_spans
from mms_engine.text.sentences import CLAUSE_END, CLAUSE_PAUSE, Sentence
from mms_engine.text.symbols import read_symbols
from mms_engine.text.tokenizer import VoiceText, VoiceTokenizer, VoiceTokens
from mms_engine.types import Dropped, SpokenNumbers

_CLOSERS = "\"'\u00bb\u2019\u201d\u203a)]}\u300d\u300f\uff09\u3011 "
_INNER_PAUSE = CLAUSE_END | SENTENCE_END


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word of a sentence and its letters."""

    text: str
    """Word as written, with its punctuation."""
    first: int
    """Index in `VoiceTokens.letters` of its first letter."""
    last: int
    """Index behind its last letter."""


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """A sentence as a voice speaks it."""

    sentence: Sentence
    tokens: VoiceTokens
    words: tuple[ReadWord, ...]
    """Words that have letters, in order."""
    pauses: tuple[tuple[int, float], ...]
    """Index of the letter behind which there is a pause, and its seconds, in order."""

    @property
    def lost(self) -> tuple[Dropped, ...]:
        """Dropped characters that the speech lacks."""
        return tuple(one for one in self.tokens.dropped if one.is_loss)


class Reader:
    """Reader of the sentences of one voice. Methods are thread-safe."""

    def __init__(
        self,
        voice: VoiceText,
        language: str,
        *,
        numbers: SpokenNumbers = "words",
        numbers_language: str | None = None,
        map_look_alikes: bool = False,
    ) -> None:
        """Take a voice and the treatment of what it cannot say.

        Args:
            voice: Fields of its tokenizer.
            language: Code of the voice, as in MMS.
            numbers: Treatment of numbers, dates and symbols.
            numbers_language: Language in which they are read; by default the voice's.
            map_look_alikes: As for `VoiceTokenizer`.

        Raises:
            LanguageError: numbers are not read in that language.
        """
        self._tokenizer = VoiceTokenizer(voice, map_look_alikes=map_look_alikes)
        self._vocabulary = voice.vocabulary
        self._language = language
        self._numbers = numbers
        self._numbers_language = number_language(numbers_language) if numbers_language else language
        self._by_character = is_by_character(language)

    def read(self, sentence: Sentence) -> ReadSentence:
        """Return a sentence as the voice speaks it.

        Raises:
            TextError: a number cannot be read, and that is an error.
            MmsError: a package of the extra `[tts]` is needed and not installed.
        """
        text = AlignedText.from_source(sentence.text, sentence.start)
        if self._numbers != "keep":
            text = read_symbols(text, self._numbers_language)
            text = read_numbers(text, self._numbers_language, cldr=True)
        tokens = self._tokenizer.encode(text, sentence.text, sentence.start)
        unread = [one for one in tokens.dropped if one.kind == "digit"]
        if self._numbers == "error" and unread:
            raise TextError(
                f"the voice {self._language} cannot read {unread[0].text!r} at character "
                f"{unread[0].start}: write it in words, or choose the language to read numbers in "
                "(numbers_language, --numbers-language)"
            )
        words = self._words(sentence, tokens)
        return ReadSentence(sentence, tokens, words, tuple(self._pauses(words)))

    def _words(self, sentence: Sentence, tokens: VoiceTokens) -> tuple[ReadWord, ...]:
        offset = sentence.start
        kept = [
            (i, letter.start - offset, letter.end - offset)
            for i, letter in enumerate(tokens.letters)
            if not self._tokenizer.is_space(letter.token)
        ]
        spans = word_spans(
            sentence.text,
            (0, len(sentence.text)),
            [(start, end) for _, start, end in kept],
            by_character=self._by_character,
        )
        words: list[ReadWord] = []
        done = 0
        for i, (start, end) in enumerate(spans):
            bound = spans[i + 1][0] if i + 1 < len(spans) else len(sentence.text)
            first = done
            while done < len(kept) and kept[done][1] < bound:
                done += 1
            if first < done:
                text = sentence.text[start:end]
                words.append(ReadWord(text, kept[first][0], kept[done - 1][0] + 1))
        return tuple(words)

    def _pauses(self, words: tuple[ReadWord, ...]) -> Iterator[tuple[int, float]]:
        """Yield the pauses of punctuation inside the sentence that the voice does not speak."""
        for word, following in itertools.pairwise(words):
            mark = word.text.rstrip(_CLOSERS)[-1:]
            if mark in _INNER_PAUSE and mark not in self._vocabulary:
                # On the white space, if there is a token of it.
                yield max(following.first - 1, word.last - 1), CLAUSE_PAUSE
