"""NumPy: argmax and the collapse of its result, as most scripts decode."""

import numpy as np
import numpy.typing as npt

from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere
from mms_bench.peers.decoder import Labels, Ready, load_emission
from mms_engine.text.vocabulary import BLANK


class NumpyArgmax:
    """Labels only: no scores, no times."""

    name = "numpy"

    def version(self) -> dict[str, str]:
        """Return NumPy's version."""
        return {"numpy": np.__version__}

    def ready(self, task: Task) -> Ready:
        """Load the rows."""
        if task.kind != "greedy" or task.threads != 1:
            raise NotHere("is measured on greedy decoding on one thread only")
        emission = load_emission(task)
        return Ready(lambda: [_decode(row) for row in emission], lambda found: found)


def _decode(row: npt.NDArray[np.float32]) -> Labels:
    path: Labels = row.argmax(axis=1)
    first = np.diff(path, prepend=-1) != 0
    kept: Labels = path[first & (path != BLANK)]
    return kept
