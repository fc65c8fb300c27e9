"""Language model and hotwords for the CUDA beam: arrays to copy, and a struct of addresses."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc
from mms_kernels.cuda.arguments import BeamScoring, HotwordsView, LmView, WordsView
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import NgramModel

Array = npt.NDArray[Any]

_ROUNDING = 1e-6


class BeamModels:
    """Flat models of the CUDA beam, shared by any number of streams.

    Copy `arrays` to the device and pass their addresses to `scoring`. Scores are those of
    `mms_kernels.BeamDecoder`.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        *,
        hotwords: Hotwords | None = None,
        lm: NgramModel | None = None,
        lm_weight: float = 0.0,
        word_score: float = 0.0,
        unit: Literal["word", "token"] = "word",
        separator: int = -1,
    ) -> None:
        """Flatten the models.

        Args:
            tokens: Text of each token, by id.
            hotwords: Hotwords over the same tokens.
            lm: Language model over words or tokens, according to `unit`.
            lm_weight: Weight of the model's log10 probabilities.
            word_score: Nats for each unit.
            unit: Unit of the model and of `word_score`.
            separator: Id of the token between words; -1 for none.

        Raises:
            ValueError: Hotwords of another vocabulary, or a model of words without a separator.
        """
        if hotwords is not None and hotwords.automaton.vocab != len(tokens):
            made_for = hotwords.automaton.vocab
            raise ValueError(f"the hotwords were made for {made_for} tokens, not {len(tokens)}")
        if lm is not None and unit == "word" and separator < 0:
            raise ValueError("a language model of words needs the separator: give its token")
        self.arrays: dict[str, Array] = {}
        """Arrays by name, uint8 or uint32, to copy to the device."""
        self._scoring = BeamScoring(
            word_score=word_score, separator=separator, scores_words=unit == "word"
        )
        gain = max(word_score, 0.0) if unit == "word" else word_score
        if hotwords is not None:
            self._add_hotwords(hotwords)
            gain += hotwords.automaton.max_bonus
        # A model of weight 0 is not queried: 0 times its -inf would be NaN.
        if lm is not None and lm_weight != 0:
            self._scoring.lm_weight = lm_weight
            self._add_lm(lm, tokens)
        self._scoring.max_gain = gain + _ROUNDING

    def scoring(self, addresses: Mapping[str, int]) -> BeamScoring:
        """Return the element of `BeamArgs.scorings` with the device addresses of the arrays."""
        result = BeamScoring.from_buffer_copy(self._scoring)
        for name in self.arrays:
            *path, field = name.split(".")
            target = getattr(result, path[0]) if path else result
            setattr(target, field, addresses[name])
        return result

    def _add_hotwords(self, hotwords: Hotwords) -> None:
        view, *arrays = _ctc.hotwords_arrays(hotwords.automaton)
        self._scoring.has_hotwords = 1
        self._scoring.hotwords = HotwordsView.from_buffer_copy(view.tobytes())
        self._name("hotwords", ("nodes", "rows", "pages"), arrays)

    def _add_lm(self, lm: NgramModel, tokens: Sequence[str]) -> None:
        model = cast("_ctc.NgramModel", lm.model)
        view, *arrays = _ctc.lm_arrays(model)
        self._scoring.has_lm = 1
        self._scoring.lm = LmView.from_buffer_copy(view.tobytes())
        self._name("lm", ("unigrams", "states", "arcs"), arrays)
        if not self._scoring.scores_words:
            self.arrays["units"] = np.array([lm.unit(token) for token in tokens], np.uint32)
            return
        view, *arrays = _ctc.words_arrays(model)
        self._scoring.words = WordsView.from_buffer_copy(view.tobytes())
        self._name("words", ("slots", "offsets", "text"), arrays)
        self._scoring.longest_word = _longest(self.arrays["words.offsets"])
        written = [token.encode() for token in tokens]
        offsets = np.cumsum([0, *map(len, written)])
        self.arrays["text_offsets"] = offsets.astype(np.uint32)
        self.arrays["text"] = np.frombuffer(b"".join(written) or b"\0", np.uint8)

    def _name(self, part: str, names: Sequence[str], arrays: Sequence[Array]) -> None:
        self.arrays |= {f"{part}.{name}": array for name, array in zip(names, arrays, strict=True)}


def longest_word(lm: NgramModel) -> int:
    """Return the bytes of the longest word, which `beam_least_arena` depends on."""
    _, _, offsets, _ = _ctc.words_arrays(cast("_ctc.NgramModel", lm.model))
    return _longest(offsets)


def _longest(offsets: Array) -> int:
    return int(np.diff(offsets.view(np.uint64)).max(initial=0))
