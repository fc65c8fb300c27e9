"""flashlight's LexiconDecoder, with which the MMS zero-shot recipe was tuned, as an oracle."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

THRESHOLD = 1e9
"""Beam threshold that drops nothing: flashlight takes no infinity."""


class Peer:
    """flashlight's LexiconDecoder over the same words."""

    def __init__(
        self,
        spellings: Sequence[tuple[Sequence[int], int]],
        words: Sequence[str],
        vocab: int,
        separator: int,
        model: object | None = None,
        **options: object,
    ) -> None:
        """Make a decoder whose blank is 0; `model` is a KenLM model of the words."""
        reason = "the package flashlight-text is not installed"
        flashlight = pytest.importorskip("flashlight.lib.text.decoder", reason=reason)
        values = {
            "beam_size": 500,
            "beam_size_token": vocab,
            "beam_threshold": THRESHOLD,
            "lm_weight": 0.0,
            "word_score": 0.0,
            "unk_score": -math.inf,
            "sil_score": 0.0,
            "log_add": False,
            "criterion_type": flashlight.CriterionType.CTC,
        }
        self._lm = (
            flashlight.ZeroLM() if model is None else _flashlight_lm(flashlight, model, words)
        )
        trie = flashlight.Trie(vocab, separator)
        for tokens, word in spellings:
            trie.insert(list(tokens), word, 0.0)
        self._decoder = flashlight.LexiconDecoder(
            flashlight.LexiconDecoderOptions(**(values | options)),
            trie,
            self._lm,
            separator,
            0,
            len(words),
            [],
            False,
        )

    def decode(self, emission: np.ndarray) -> tuple[float, tuple[int, ...]]:
        """Return the score and the words of the best hypothesis."""
        best = self._decoder.decode(emission.ctypes.data, *emission.shape)[0]
        return best.score, tuple(word for word in best.words if word >= 0)


def _flashlight_lm(flashlight: object, model: object, words: list[str]) -> object:
    """Return flashlight's interface of a KenLM model."""
    import kenlm

    class Model(flashlight.LM):
        def __init__(self) -> None:
            flashlight.LM.__init__(self)
            self._states: dict = {}

        def start(self, start_with_nothing: bool) -> object:
            state, begin = flashlight.LMState(), kenlm.State()
            model.BeginSentenceWrite(begin)
            self._states[state] = begin
            return state

        def score(self, state: object, word: int) -> tuple[object, float]:
            after = state.child(word)
            if after not in self._states:
                self._states[after] = kenlm.State()
            return after, model.BaseScore(self._states[state], words[word], self._states[after])

        def finish(self, state: object) -> tuple[object, float]:
            after = state.child(-1)
            if after not in self._states:
                self._states[after] = kenlm.State()
            return after, model.BaseScore(self._states[state], "</s>", self._states[after])

    return Model()
