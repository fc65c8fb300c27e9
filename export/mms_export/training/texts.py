"""Texts of clips as a model is trained on them: the user's replacements, then MMS's own rules."""

import re
import unicodedata
from dataclasses import dataclass

from mms_engine.languages.table import language_from_code
from mms_engine.text.aligned import AlignedText
from mms_engine.text.normalization import normalize

_DOTLESS_I = frozenset({"aze", "azj", "bak", "crh", "gag", "kaa", "kaz", "tat", "tur"})
"""Turkic languages, whose Latin script has an i without a dot, with the capital I."""
_DOTLESS, _DOTTED_CAPITAL, _DOT_ABOVE = "\u0131", "\u0130", "\u0307"
_DOUBLY_DOTTED = frozenset({"lit"})
"""Languages that write a dot above i and an accent above the dot."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = re.compile("[\u00ad\u2060\ufeff]")
"""Soft hyphen, word joiner, byte order mark: they are not to be seen, so nobody misses them."""
_DASHES = re.compile("[\u2012-\u2015]")
"""Dashes, which MMS's rules keep."""
NOTE = re.compile(r"\[[^\]]*\]|<[^>]*>|\{[^}]*\}|\b[xX]{3,}\b")
"""Notes of transcribers, which are not spoken: `[laughs]`, `<noise>`, `{...}`, `xxx`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """Preparation of texts."""

    language: str
    """Code of the language."""
    replacements: tuple[tuple[str, str], ...] = ()
    """Pairs of a text and what to write in its place, in their order; both as in the corpus."""
    drop_notes: bool = False
    """Whether notes of transcribers go; otherwise clips that have some are left out."""
    normalized: bool = True
    """Whether MMS's rules apply: lower case, and no punctuation but the hyphens and
    apostrophes of words."""

    def apply(self, text: str) -> str:
        """Return a text in NFC, with single spaces, as the model is to write it."""
        text = self.replaced(text)
        if self.normalized:
            # Lower case of the dotted capital would be i with a second dot.
            iso = language_from_code(self.language).iso
            text = text.replace("I", _DOTLESS) if iso in _DOTLESS_I else text
            source = AlignedText.from_source(text.replace(_DOTTED_CAPITAL, "i"))
            text = normalize(source, self.language).text
            text = text if iso in _DOUBLY_DOTTED else text.replace(f"i{_DOT_ABOVE}", "i")
            words = _DASHES.sub(" ", text).split()
            text = " ".join(word for word in words if not all(map(_is_punctuation, word)))
        return " ".join(unicodedata.normalize("NFC", text).split())

    def replaced(self, text: str) -> str:
        """Return a text in NFC, with the user's replacements alone."""
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", _CONTROL.sub(" ", text)))
        for old, new in self.replacements:
            text = text.replace(unicodedata.normalize("NFC", old), new)
        return NOTE.sub(" ", text) if self.drop_notes else text


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] == "P"
