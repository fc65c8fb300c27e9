"""Language models: compact n-gram files, and KenLM files through its package."""

import abc
import logging
import mmap
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Self

from mms_kernels import _ctc
from mms_kernels.arpa import convert_arpa, is_compressed, write_image

logger = logging.getLogger(__name__)

_COMPACT = b"MMSNGRAM"
_KENLM = b"mmap lm http://kheafield.com/code"
_SPECIAL = frozenset({"<s>", "</s>", "<unk>", "<UNK>", ""})
"""Words that stand for no text; KenLM files may hold an empty one."""

Rewrite = Callable[[Sequence[str]], list[str | None]]
"""Returns the form of each word that a decoder writes, such as `Spelling.written`; `None` for words
that it cannot write."""


class LanguageModel(abc.ABC):
    """Language model over words or tokens, its units. Thread-safe; scores are log10."""

    _model: _ctc.LanguageModel

    @property
    def model(self) -> _ctc.LanguageModel:
        """Native object, for the decoders."""
        return self._model

    @property
    @abc.abstractmethod
    def order(self) -> int:
        """Length of the longest n-gram."""

    @abc.abstractmethod
    def words(self) -> list[str]:
        """Return the words, with bytes that are not UTF-8 as surrogates (`surrogateescape`).

        A KenLM binary may have been built without them; then there are none.
        """

    @abc.abstractmethod
    def _renamed(self, words: Sequence[str], forms: Sequence[str]) -> Self:
        """Return a model in which each word has the form of the same index, equal ones merged."""

    def rewritten(self, rewrite: Rewrite) -> "tuple[Self, list[str], int]":
        """Return the model with its words in the form that a decoder writes.

        Words with equal forms become one: of their n-grams that become equal, the most probable
        one counts, with its back-off weight. Words without a form stay as they are.

        Args:
            rewrite: Returns the form of each word.

        Returns:
            The model, this one if no word changes; the words that have no form; and the number of
            words. `<s>`, `</s>` and `<unk>` are left out of both.
        """
        words = self.words()
        texts = [word for word in words if word not in _SPECIAL]
        forms = rewrite(texts)
        without = [text for text, form in zip(texts, forms, strict=True) if form is None]
        if all(form is None or form == text for text, form in zip(texts, forms, strict=True)):
            return self, without, len(texts)
        changed = dict(zip(texts, forms, strict=True))
        renamed = self._renamed(words, [changed.get(word) or word for word in words])
        return renamed, without, len(texts)

    def unit(self, text: str) -> int:
        """Return the id of a unit; that of `<unk>` if unknown."""
        return self._model.unit(text)

    def knows(self, text: str) -> bool:
        """Return whether a unit is in the model."""
        return self._model.knows(text)

    def score(self, words: Sequence[str], *, bos: bool = True, eos: bool = True) -> float:
        """Return log10 P of a sentence.

        Args:
            words: The units, as written in the model.
            bos: Begin with `<s>`; otherwise the context is empty.
            eos: Include the score of `</s>`.
        """
        return self._model.total(words, bos, eos)


class NgramModel(LanguageModel):
    """Memory-mapped back-off n-gram model in the compact format."""

    _model: _ctc.NgramModel

    @classmethod
    def open(cls, path: Path) -> "NgramModel":
        """Map and check a file written by `convert_arpa`.

        Such a file must be replaced as a whole, never written into while in use.

        Raises:
            OSError: The file cannot be read.
            ValueError: Not a compact file, or a damaged one.
        """
        model = cls()
        with path.open("rb") as file:
            try:
                model._model = _ctc.NgramModel(file.fileno())
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return model

    def __repr__(self) -> str:
        return f"NgramModel(order {self.order}, {self.ngrams} n-grams, {self.nbytes} bytes)"

    @property
    def order(self) -> int:
        """Length of the longest n-gram."""
        return self._model.order

    def words(self) -> list[str]:
        """Return the words by unit."""
        return self._model.words().decode("utf-8", "surrogateescape").split("\n")[:-1]

    def _renamed(self, words: Sequence[str], forms: Sequence[str]) -> "NgramModel":  # noqa: ARG002
        text = "".join([f"{form}\n" for form in forms]).encode("utf-8", "surrogateescape")
        return _mapped(lambda target: write_image(self._model.renamed(text), target))

    @property
    def ngrams(self) -> int:
        """Number of n-grams of all orders."""
        return self._model.ngrams

    @property
    def states(self) -> int:
        """Number of states: distinguishable contexts."""
        return self._model.states

    @property
    def nbytes(self) -> int:
        """File size in bytes."""
        return self._model.nbytes


class KenlmModel(LanguageModel):
    """KenLM binary or ARPA file, queried through the optional package `kenlm`.

    Much slower than `NgramModel`, since queries that are not cached go through Python; convert the
    ARPA file if there is one. Memory grows with the number of different contexts.
    """

    _model: _ctc.KenlmModel

    def __init__(self, path: Path) -> None:
        """Load a file.

        Raises:
            ImportError: The package `kenlm` is not installed.
            OSError: The file cannot be read.
            ValueError: KenLM cannot load it, or was built for a lower order.
        """
        try:
            import kenlm
        except ImportError as error:
            raise ImportError(
                f"{path} is a KenLM file, which needs the package kenlm (pip install kenlm-ex); "
                "or convert the model's ARPA file with `mms lm convert`"
            ) from error
        with path.open("rb"):  # raises the ordinary error if it is missing
            pass
        try:
            self._kenlm = kenlm.Model(str(path))
        except (OSError, RuntimeError) as error:
            raise ValueError(_kenlm_error(path, error)) from error
        self._path = path
        self._state = kenlm.State
        self._model = _ctc.KenlmModel(self._kenlm, self._state)

    def __repr__(self) -> str:
        return f"KenlmModel(order {self.order})"

    @property
    def order(self) -> int:
        """Length of the longest n-gram."""
        return int(self._kenlm.order)

    def words(self) -> list[str]:
        """Return the words, which end a KenLM binary; none of an ARPA file."""
        with (
            self._path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
        ):
            start = m.rfind(b"<unk>\0") if m[: len(_KENLM)] == _KENLM else -1
            text = m[start:] if start >= 0 else b""
        return text.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def _renamed(self, words: Sequence[str], forms: Sequence[str]) -> "KenlmModel":
        """Return a view of the model. Of words that become equal only one is used."""
        other = object.__new__(KenlmModel)
        other._path, other._kenlm, other._state = self._path, self._kenlm, self._state
        other._model = _ctc.KenlmModel(self._kenlm, self._state)
        known = set(words)
        for word, form in zip(words, forms, strict=True):
            if form != word and form not in known:
                other._model.alias(form, word)
        return other


def _kenlm_error(path: Path, error: Exception) -> str:
    """Return the cause of a KenLM error, whose message has several lines."""
    message = " ".join(str(error.__cause__ or error).split())
    if "KENLM_MAX_ORDER" in message or "max order" in message.lower():
        return (
            f"{path}: its order is above the one the package kenlm was built for. Build kenlm "
            "with a larger MAX_ORDER, or convert the model's ARPA file with `mms lm convert`"
        )
    return f"{path}: KenLM cannot load it: {message}"


def open_lm(path: Path) -> LanguageModel:
    """Open a language model, whose format is detected by its first bytes.

    A compact file is mapped. A KenLM binary needs the package `kenlm`. An ARPA file, plain or
    compressed, is converted to a temporary file, which is slow for a large one: convert it once
    instead.

    Raises:
        ImportError: A KenLM binary without the package `kenlm`.
        OSError: The file cannot be read.
        ValueError: Another format, or a damaged file.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_COMPACT):
        return NgramModel.open(path)
    if start.startswith(_KENLM):
        return KenlmModel(path)
    if not is_compressed(start) and b"\0" in start:
        raise ValueError(f"{path} is neither an ARPA file nor a KenLM binary nor a compact model")
    model = _mapped(lambda target: convert_arpa(path, target))
    logger.info("%s was converted temporarily; `mms lm convert` converts it once for all", path)
    return model


def _mapped(write: Callable[[IO[bytes]], None]) -> NgramModel:
    """Return the model in a file that `write` writes, which exists only while it is mapped."""
    with tempfile.TemporaryDirectory(prefix="mms-lm-") as folder:
        compact = Path(folder) / "model"
        with compact.open("wb") as stream:
            write(stream)
        return NgramModel.open(compact)
