"""torchaudio's forced alignment."""

import numpy as np

from mms_bench.errors import Skipped
from mms_bench.peers.base import Peer, Ready, Task
from mms_engine.text.vocabulary import BLANK


class Torchaudio(Peer):
    """`functional.forced_align` on one thread: it takes one utterance at a time."""

    packages = ("torch", "torchaudio")
    imports = ("torch", "torchaudio.functional")

    def ready(self, task: Task) -> Ready:
        """Wrap the arrays in tensors."""
        import torch
        from torchaudio.functional import forced_align

        if task.kind != "align":
            raise Skipped("is measured on alignment only")
        torch.set_num_threads(1)
        emission = torch.from_numpy(task.emission)
        targets = torch.from_numpy(np.asarray(task.targets, np.int32))[None]
        return Ready(
            lambda: forced_align(emission, targets, blank=BLANK),
            lambda found: [found[0][0].numpy().astype(np.int64)],
        )
