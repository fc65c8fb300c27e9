"""Language models for the decoders: our compact n-gram files, and KenLM's through its package."""

import abc
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mms_kernels import _ctc
from mms_kernels.arpa import convert_arpa

logger = logging.getLogger(__name__)

_COMPACT = b"MMSNGRAM"
_KENLM = b"mmap lm http://kheafield.com/code"
_GZIP = b"\x1f\x8b"


class LanguageModel(abc.ABC):
    """What gives words (or tokens: whatever the units of the model are) their probability.

    Scores are log10. One model may serve any number of streams and threads.
    """

    _model: _ctc.LanguageModel

    @property
    def model(self) -> _ctc.LanguageModel:
        """What the decoders take."""
        return self._model

    @property
    @abc.abstractmethod
    def order(self) -> int:
        """The length of the longest n-gram."""

    def unit(self, text: str) -> int:
        """Return the id of a unit, that of `<unk>` where the model does not know it."""
        return self._model.unit(text)

    def knows(self, text: str) -> bool:
        """Return whether a unit is in the model."""
        return self._model.knows(text)

    def score(self, words: Sequence[str], *, bos: bool = True, eos: bool = True) -> float:
        """Return log10 P of a sentence.

        Args:
            words: The units, as they are written in the model.
            bos: Whether a sentence begins before them; otherwise nothing is known of it.
            eos: Whether the sentence ends after them: `</s>` counts too.
        """
        return self._model.total(words, bos, eos)


class NgramModel(LanguageModel):
    """A back-off n-gram model in the compact format, mapped into memory."""

    _model: _ctc.NgramModel

    @classmethod
    def open(cls, path: Path) -> "NgramModel":
        """Map a file that `convert_arpa` wrote, and check all of it.

        Replace such a file as a whole; do not write into it while it is in use.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not such a file, or a damaged one.
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
        """The length of the longest n-gram."""
        return self._model.order

    @property
    def ngrams(self) -> int:
        """N-grams of all orders."""
        return self._model.ngrams

    @property
    def states(self) -> int:
        """Contexts that can be told apart."""
        return self._model.states

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return self._model.nbytes


class KenlmModel(LanguageModel):
    """A KenLM binary or ARPA file, asked through the optional package `kenlm`.

    Much slower than `NgramModel`, which should be taken wherever there is an ARPA file: each
    question that was not asked before goes through Python. Memory grows with the number of
    different contexts that are met.
    """

    _model: _ctc.KenlmModel

    def __init__(self, path: Path) -> None:
        """Load a file.

        Raises:
            ImportError: the package `kenlm` is not installed.
            OSError: the file cannot be read.
            ValueError: KenLM cannot load it, or was built for a lower order.
        """
        try:
            import kenlm
        except ImportError as error:
            raise ImportError(
                f"{path} is a KenLM file, which takes the package kenlm (pip install kenlm-ex): "
                "or convert the model's ARPA file with `mms lm convert`, which takes nothing"
            ) from error
        with path.open("rb"):  # An ordinary error where there is none to read.
            pass
        try:
            self._kenlm = kenlm.Model(str(path))
        except (OSError, RuntimeError) as error:
            raise ValueError(_kenlm_error(path, error)) from error
        self._model = _ctc.KenlmModel(self._kenlm, kenlm.State)

    def __repr__(self) -> str:
        return f"KenlmModel(order {self.order})"

    @property
    def order(self) -> int:
        """The length of the longest n-gram."""
        return int(self._kenlm.order)


def _kenlm_error(path: Path, error: Exception) -> str:
    """KenLM's message is long and of several lines; its last sentence is the cause."""
    message = " ".join(str(error.__cause__ or error).split())
    if "KENLM_MAX_ORDER" in message or "max order" in message.lower():
        return (
            f"{path}: its order is above the one the package kenlm was built for. Build kenlm "
            "with a larger MAX_ORDER, or convert the model's ARPA file with `mms lm convert`"
        )
    return f"{path}: KenLM cannot load it: {message}"


def open_lm(path: Path) -> LanguageModel:
    """Open a language model of any kind, told by its first bytes.

    A compact file is mapped. A KenLM binary takes the package `kenlm`. An ARPA file, plain or
    gzip, is converted into a temporary file: slow for a large one, so convert it once instead.

    Raises:
        ImportError: a KenLM binary, and the package `kenlm` is not installed.
        OSError: the file cannot be read.
        ValueError: it is none of these, or damaged.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_COMPACT):
        return NgramModel.open(path)
    if start.startswith(_KENLM):
        return KenlmModel(path)
    if not start.startswith(_GZIP) and b"\0" in start:
        raise ValueError(f"{path} is neither an ARPA file nor a KenLM binary nor a compact model")
    with tempfile.TemporaryDirectory(prefix="mms-lm-") as folder:
        compact = Path(folder) / "model"
        convert_arpa(path, compact)
        logger.info("%s was converted for this once: `mms lm convert` does it for good", path)
        return NgramModel.open(compact)
