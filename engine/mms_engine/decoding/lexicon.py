"""Beam search over a list of words: their spellings in a language's tokens, and the decoder."""

import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mms_engine.decoding.language_models import open_language_model
from mms_engine.decoding.options import LexiconSearch
from mms_engine.decoding.search import first_few
from mms_engine.errors import LanguageModelError
from mms_engine.text.targets import MAX_CHARACTERS, spellings
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_kernels.lexicon import Lexicon, LexiconDecoder, LexiconOptions
from mms_kernels.lm import LanguageModel

# Hypotheses have different words, but equal texts where words have several spellings.
_SPARE = 4


@dataclass(frozen=True, slots=True, eq=False)
class LanguageLexicon:
    """Decoder of one language, and the text of each of its words."""

    decoder: LexiconDecoder
    words: tuple[str, ...]
    warnings: tuple[str, ...]
    """Words that cannot be spelled, or that the language model does not know."""


class LexiconConfig:
    """List of words and language model as the caller configured them, for any language."""

    def __init__(self, search: LexiconSearch, *, romanized: bool) -> None:
        """Read the words and load the language model.

        Args:
            search: Options.
            romanized: Whether the model's vocabulary holds romanised letters.

        Raises:
            LanguageModelError: one of them cannot be read, or there are no words.
        """
        self._search = search
        self._romanized = romanized
        self._words = read_words(search.words)
        self._lm = None if search.lm is None else open_language_model(search.lm)
        self._lock = threading.Lock()
        self._by_language: dict[tuple[str, Vocabulary], LanguageLexicon] = {}

    @property
    def nbest(self) -> int:
        """Distinct texts that are wanted of an utterance."""
        return self._search.nbest

    @property
    def wanted(self) -> int:
        """Hypotheses to fetch per utterance; some may have equal text."""
        return _SPARE * self.nbest if self.nbest > 1 else 1

    def of(self, language: str, vocabulary: Vocabulary) -> LanguageLexicon:
        """Return the search of a language, made once.

        Raises:
            LanguageModelError: no word can be spelled, or the language model knows none of them.
            MmsError: a package of the extra `[align]` is needed and not installed.
        """
        with self._lock:
            key = (language, vocabulary)
            if key not in self._by_language:
                self._by_language[key] = self._made(language, vocabulary)
            return self._by_language[key]

    def _made(self, language: str, vocabulary: Vocabulary) -> LanguageLexicon:
        found = spellings(self._words, language, vocabulary, romanized=self._romanized)
        spelled = [
            (word, tokens) for word, tokens in zip(self._words, found, strict=True) if tokens
        ]
        without = [word for word, tokens in zip(self._words, found, strict=True) if not tokens]
        warnings = self._missing(without, f"cannot be written with the letters of {language}")
        if not spelled:
            raise LanguageModelError(f"{warnings[0]}; choose a list in the language")
        words = tuple(word for word, _ in spelled)
        separator = None
        end: tuple[int, ...] = ()
        if vocabulary.word_delimiter is not None and vocabulary.has_boundary:
            separator = vocabulary.tokens.index(vocabulary.word_delimiter)
            end = (separator,)
        forms = words
        if self._lm is not None:
            forms = tuple(_known_form(word, self._lm) for word in words)
            unknown = [w for w, f in zip(words, forms, strict=True) if not self._lm.knows(f)]
            warnings += self._missing(unknown, f"are not in {self._search.lm}")
            if len(unknown) == len(words):
                raise LanguageModelError(f"{warnings[-1]}; choose a model of whole words")
        lexicon = Lexicon([((*t, *end), i) for i, (_, t) in enumerate(spelled)], forms)
        decoder = LexiconDecoder(lexicon, self._options(separator), lm=self._lm)
        return LanguageLexicon(decoder, words, warnings)

    def _options(self, separator: int | None) -> LexiconOptions:
        search = self._search
        return LexiconOptions(
            beam_size=search.beam_size,
            blank=BLANK,
            separator=separator,
            beam_threshold=search.beam_threshold,
            lm_weight=search.lm_weight if self._lm else 0.0,
            word_score=search.score_of_word(),
        )

    def _missing(self, words: Sequence[str], what: str) -> tuple[str, ...]:
        if not words:
            return ()
        count = f"{len(words):,} of {len(self._words):,} words of the list"
        return (f"{count} {what}: {first_few(words, ', ')}",)


def read_words(source: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Return the different words of a file, or of a sequence, in their order.

    White space separates words, so a text can serve as a list.

    Raises:
        LanguageModelError: the file cannot be read, is not UTF-8, or is too large, or there are no
            words.
    """
    name = "the list of words"
    if isinstance(source, str | Path):
        name = str(source)
        try:
            size = Path(source).stat().st_size
            if size > 4 * MAX_CHARACTERS:
                raise LanguageModelError(
                    f"{name} has {size:,} bytes, a list of words may have {4 * MAX_CHARACTERS:,}"
                )
            text = Path(source).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise LanguageModelError(f"cannot read {name}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise LanguageModelError(
                f"{name} is not UTF-8 (byte {error.start}): save the list in UTF-8"
            ) from error
        source = [text]
    words = tuple(dict.fromkeys(word for part in source for word in part.split()))
    if not words:
        raise LanguageModelError(f"{name} has no words")
    return words


def _known_form(word: str, lm: LanguageModel) -> str:
    """Return the form of a word that a language model knows; the word itself if it knows none."""
    normal = unicodedata.normalize("NFC", word)
    forms = (word, normal, normal.lower(), unicodedata.normalize("NFD", word))
    return next((form for form in forms if lm.knows(form)), word)
