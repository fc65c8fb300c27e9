"""NumPy: argmax and the collapse of its result, as in most scripts."""

from mms_bench.errors import Skipped
from mms_bench.peers.base import Peer, Ready, Task, collapse


class NumpyArgmax(Peer):
    """Greedy labels, without scores or times."""

    packages = ("numpy",)

    def ready(self, task: Task) -> Ready:
        """Prepare greedy decoding."""
        if task.kind != "greedy":
            raise Skipped("is measured on greedy decoding only")
        return Ready(lambda: [collapse(row.argmax(axis=1)) for row in task.emission], list)
