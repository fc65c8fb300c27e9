"""torchaudio's forced alignment."""

from importlib import metadata

import numpy as np

from mms_bench.ctc.task import Task
from mms_bench.errors import NotHere
from mms_bench.peers.decoder import Ready, load_emission


class Torchaudio:
    """`functional.forced_align` on one thread: it takes one utterance at a time."""

    name = "torchaudio"

    def version(self) -> dict[str, str]:
        """Return its version and torch's."""
        try:
            import torch
            from torchaudio.functional import forced_align  # noqa: F401 - imported before timing
        except ImportError as error:
            raise NotHere(f"{error.name} is not installed") from error
        except OSError as error:
            raise NotHere(f"does not load beside this torch: {error.__cause__}") from error
        torch.set_num_threads(1)
        return {"torch": str(torch.__version__), "torchaudio": metadata.version("torchaudio")}

    def ready(self, task: Task) -> Ready:
        """Wrap the arrays into tensors."""
        import torch
        from torchaudio.functional import forced_align

        if task.kind != "align" or task.memory is not None:
            raise NotHere("aligns only, with no bound on memory")
        emission = torch.from_numpy(load_emission(task))
        targets = torch.from_numpy(np.load(task.targets).astype(np.int32))[None]
        return Ready(
            lambda: forced_align(emission, targets, blank=0),
            lambda found: [found[0][0].numpy().astype(np.int64)],
        )
