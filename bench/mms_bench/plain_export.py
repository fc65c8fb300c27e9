"""What people do today, as a command: `python -m mms_bench.plain_export CHECKPOINT LANG OUT`."""

import sys
from pathlib import Path

from mms_bench.peers.base import Setup
from mms_bench.peers.onnx import export_graph


def main(checkpoint: str, language: str, out: str) -> None:
    """Export transformers' model with one language baked in to the folder `out`."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    setup = Setup(checkpoint=checkpoint, bundle="", cache=out, languages=(language,), threads=0)
    export_graph(setup, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
