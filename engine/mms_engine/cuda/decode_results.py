"""The hypotheses of the device's beam, on their way to the host."""

import math
from collections.abc import Sequence

import numpy as np

from mms_engine.cuda.decode_search import joined
from mms_engine.cuda.decode_state import TokenBuffers, TokenPiece, Workspace
from mms_engine.cuda.streams import Stream
from mms_engine.decode import Hypothesis
from mms_kernels.cuda.arguments import STATUS, BeamOutput


class BeamResults:
    """Where mms_beam_results writes."""

    def __init__(self, workspace: Workspace, rows: int, wanted: int, capacity: int) -> None:
        """Take memory for `wanted` hypotheses of each row, of at most `capacity` tokens."""
        self._shape = (rows, wanted)
        self._tokens = TokenBuffers(workspace, "results", rows * wanted, capacity)
        self._counts = workspace.device("result_counts", self._shape, np.int64)
        self._stable = workspace.device("stable", (rows,), np.int64)
        self._numbers = {
            name: workspace.device(name, self._shape, np.float64)
            for name in ("log_probs", "lm_scores", "bonuses", "scores")
        }
        self.status = workspace.device("status", (rows,), STATUS)

    def output(self) -> BeamOutput:
        """Return the kernel's argument."""
        numbers = {name: array.address for name, array in self._numbers.items()}
        return BeamOutput(
            tokens=self._tokens.view(),
            counts=self._counts.address,
            stable=self._stable.address,
            **numbers,
            nbest=self._shape[1],
            finish=1,
        )

    def download(
        self, stream: Stream, pieces: Sequence[Sequence[TokenPiece]]
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of each row after its `pieces`; waits for the stream."""
        counts = np.empty(self._shape, np.int64)
        scores, log_probs = np.empty((2, *self._shape))
        stream.download(counts, self._counts)
        stream.download(scores, self._numbers["scores"])
        stream.download(log_probs, self._numbers["log_probs"])
        stream.synchronize()
        tokens = self._tokens.download(stream, counts.ravel().tolist())
        rows, wanted = self._shape
        return [
            [
                joined(
                    [*pieces[row], tokens[row * wanted + rank]],
                    float(scores[row, rank]),
                    float(log_probs[row, rank]),
                )
                for rank in range(wanted)
                if scores[row, rank] > -math.inf
            ]
            for row in range(rows)
        ]
