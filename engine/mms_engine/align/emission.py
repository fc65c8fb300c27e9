"""Emission of a whole recording, reduced to what an alignment reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mms_engine.encoder.batches import WindowRow
from mms_engine.encoder.emission import Emission
from mms_engine.errors import AlignmentError, BackendError
from mms_engine.text.vocabulary import BLANK, Vocabulary
from mms_engine.types import Float32Array

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
_GROWTH = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class TargetEmission:
    """Log-probabilities of the tokens of a target, and the best token of each frame."""

    log_probs: Float32Array
    """Shape `[T, C]`: natural-log probabilities over the whole vocabulary, of the blank (column 0)
    and the target's tokens."""
    columns: dict[int, int]
    """Column of each token."""
    best: Int32Array
    """Shape `[T]`: the most likely token of the vocabulary."""
    best_log_probs: Float32Array
    """Shape `[T]`: its natural-log probability."""

    @property
    def frames(self) -> int:
        """Frames T."""
        return len(self.best)


class EmissionSink:
    """Sink that collects the emission of one utterance in host memory, as float32."""

    def __init__(self, tokens: Sequence[int], max_bytes: int) -> None:
        """Keep some tokens of the vocabulary.

        Args:
            tokens: Distinct ids, without the blank.
            max_bytes: Limit of the memory.
        """
        self._tokens = [BLANK, *tokens]
        self._max_bytes = max_bytes
        self._frames = 0
        self._log_probs = np.zeros((0, len(self._tokens)), np.float32)
        self._best = np.zeros(0, np.int32)
        self._best_log_probs = np.zeros(0, np.float32)

    def take(self, rows: Sequence[WindowRow], emission: Emission) -> None:
        """Keep a batch; see `Sink.take`.

        Raises:
            AlignmentError: the emission exceeds its limit.
            BackendError: a logit is NaN or infinite.
        """
        for row, logits in zip(rows, emission.rows(), strict=True):
            self._append(logits[row.window.kept])

    def _append(self, logits: Float32Array) -> None:
        start, end = self._frames, self._frames + len(logits)
        self._reserve(end)
        best = logits.argmax(axis=1)
        greatest = np.take_along_axis(logits, best[:, None], axis=1)
        if not np.isfinite(greatest).all() or np.isnan(logits).any():
            raise BackendError(f"the encoder's logits of frames {start} to {end} are not finite")
        total = np.log(np.exp(logits - greatest).sum(axis=1, keepdims=True))
        self._log_probs[start:end] = logits[:, self._tokens] - greatest - total
        self._best[start:end] = best
        self._best_log_probs[start:end] = -total[:, 0]
        self._frames = end

    def _reserve(self, frames: int) -> None:
        if frames <= len(self._best):
            return
        row = 4 * (len(self._tokens) + 2)
        if frames * row > self._max_bytes:
            raise AlignmentError(
                f"the emission of more than {len(self._best)} frames of {len(self._tokens)} tokens "
                f"exceeds {self._max_bytes} bytes, the limit: split the audio and its text, or "
                "raise the limit (AlignerOptions.max_bytes)"
            )
        size = min(max(frames, int(len(self._best) * _GROWTH)), self._max_bytes // row)
        # In place: realloc moves the pages of large blocks and copies nothing.
        self._log_probs.resize((size, len(self._tokens)), refcheck=False)
        self._best.resize(size, refcheck=False)
        self._best_log_probs.resize(size, refcheck=False)

    def finish(self) -> TargetEmission:
        """Return the emission."""
        return TargetEmission(
            self._log_probs[: self._frames],
            {token: column for column, token in enumerate(self._tokens)},
            self._best[: self._frames],
            self._best_log_probs[: self._frames],
        )


@dataclass(frozen=True, slots=True, eq=False)
class DecodedLetters:
    """Letters of the most likely token of each frame, after repeats and blanks are removed."""

    tokens: Int64Array
    """Shape `[N]`: token ids."""
    starts: Int64Array
    """Shape `[N]`: first frame of each."""
    ends: Int64Array
    """Shape `[N]`: frame behind the last of each."""

    def within(self, start: int, end: int) -> slice:
        """Return the letters that begin in frames `[start, end)`."""
        first, last = np.searchsorted(self.starts, (start, end)).tolist()
        return slice(first, last)


def decode_letters(best: Int32Array, vocabulary: Vocabulary) -> DecodedLetters:
    """Return the letters of a greedy decoding, without word boundaries."""
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    ends = np.append(starts[1:], len(best))
    tokens = best[starts].astype(np.int64)
    is_letter = np.array([vocabulary.is_text(token) for token in range(len(vocabulary))], np.bool_)
    kept = is_letter[tokens]
    return DecodedLetters(tokens[kept], starts[kept], ends[kept])


def decoded_text(best: Int32Array, vocabulary: Vocabulary) -> str:
    """Return the text of a greedy decoding of some frames."""
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    return " ".join(vocabulary.text(token for token in best[starts].tolist() if token).split())
