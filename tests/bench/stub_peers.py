"""Peers that are small enough to be predictable, in real worker processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mms_bench.errors import Skipped
from mms_bench.peers import PeerEntry
from mms_bench.peers.base import Peer, Ready, Switch, collapse

# Workers import this module.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])


class Stub(Peer):
    """Returns the audio's own samples as logits after a nap; prints as libraries do."""

    nap = 0.002

    def load(self, setup):
        self.setup = setup
        self.block = np.ones(50_000_000, np.uint8)
        time.sleep(0.01)

    def ready(self, work):
        if isinstance(work, Switch):
            raise Skipped("has one language")
        return Ready(lambda: self.run(work), list)

    def run(self, batch):
        os.write(1, b"printed from C\n")
        time.sleep(self.nap)
        # Outputs depend on the language, as those of an adapter would.
        return [
            row[:300].reshape(-1, 3) + np.float32(len(language))
            for row, language in zip(batch.audio, batch.languages, strict=True)
        ]


class Wrong(Stub):
    def run(self, batch):
        return [-logits for logits in super().run(batch)]


class Misshapen(Stub):
    def run(self, batch):
        return [logits[:-1] for logits in super().run(batch)]


class Missing(Stub):
    packages = ("no-such-package",)


class Unimportable(Stub):
    imports = ("no_such_module",)


class Unbuildable(Stub):
    def build(self, setup):
        raise RuntimeError("cannot\n be   built")


class Dying(Stub):
    """Starts a process of its own in each call, and dies in the third."""

    calls = 0

    def run(self, batch):
        self.calls += 1
        if self.calls == 3:
            sys.stderr.write("first line\nthe last words\n")
            sys.stderr.flush()
            os.abort()
        subprocess.Popen(["sleep", "60"])
        return super().run(batch)


class Switching(Stub):
    def ready(self, work):
        if not isinstance(work, Switch):
            return super().ready(work)
        return Ready(lambda: time.sleep(0.02 if self.setup.one_language else 0.001))


class Decoding(Peer):
    """Returns the best path's labels, after as many milliseconds as the beam is wide."""

    def ready(self, task):
        if task.kind == "align":
            raise Skipped("aligns nothing")

        def call():
            time.sleep(task.beam_size / 1000)
            return task.emission

        return Ready(call, lambda rows: [self.labels(row) for row in rows])

    def labels(self, row):
        return collapse(row.argmax(axis=1))


class Dull(Decoding):
    """Finds a labelling, but not the best."""

    def labels(self, row):
        return super().labels(row)[:-1]


TABLE = {
    name: PeerEntry(name, f"{__name__}:{kind.__name__}")
    for name, kind in {
        "transformers": Switching,
        "onnx": Stub,
        "wrong": Wrong,
        "misshapen": Misshapen,
        "missing": Missing,
        "unimportable": Unimportable,
        "unbuildable": Unbuildable,
        "dying": Dying,
        "ours-fp32": Switching,
        "ours-int8": Missing,
        "ours-avx2": Decoding,
        "ours-avx512": Dull,
        "fast-ctc-decode": Decoding,
        "numpy": Dull,
        "torchaudio": Missing,
    }.items()
}
