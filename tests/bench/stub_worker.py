"""A real worker process whose peers are small enough to be predictable.

Run as a script in place of `python -m mms_bench.worker`.
"""

import os
import subprocess
import sys
import time

import numpy as np

from mms_bench import peers
from mms_bench.ctc.scores import collapse
from mms_bench.errors import NotHere
from mms_bench.peers.decoder import Ready
from mms_bench.worker import main


class Stub:
    """Gives the audio's own samples as logits after a nap."""

    precision = "fp32"
    nap = 0.002

    def __init__(self, name):
        self.name = name

    def version(self):
        return {"stub": "1.0"}

    def build(self, setup):
        pass

    def prepare(self, setup):
        time.sleep(0.01)

    def run(self, batch):
        time.sleep(self.nap)
        # Some outputs depend on the language, as those of an adapter would.
        return [
            row[:300].reshape(-1, 3) + np.float32(len(language))
            for row, language in zip(batch.audio, batch.languages, strict=True)
        ]


class Noisy(Stub):
    def run(self, batch):
        sys.stdout.write("a library that prints where answers belong\n")
        os.write(1, b"and one that does so from C\n")
        return super().run(batch)


class Slow(Stub):
    nap = 0.02


class Wrong(Stub):
    def run(self, batch):
        return [-logits for logits in super().run(batch)]


class Misshapen(Stub):
    def run(self, batch):
        return [logits[:-1] for logits in super().run(batch)]


class Missing(Stub):
    def version(self):
        raise NotHere("nothing is not installed")


class Unbuildable(Stub):
    def build(self, setup):
        raise RuntimeError("cannot\n be   built")


class Dying(Stub):
    calls = 0

    def run(self, batch):
        self.calls += 1
        if self.calls == 3:
            sys.stderr.write("first line\nthe last words\n")
            sys.stderr.flush()
            os.abort()
        return super().run(batch)


class Parent(Stub):
    """Starts a process of its own and tells its id."""

    def version(self):
        child = subprocess.Popen(["sleep", "60"])
        return {"child": str(child.pid)}


class Hungry(Stub):
    def prepare(self, setup):
        self.block = np.ones(200_000_000, np.uint8)


class Switching(Stub):
    def switch(self, language, *, from_disk):
        if self.name == "transformers" and not from_disk:
            raise NotHere("keeps nothing")
        if from_disk:
            time.sleep(0.05 if self.name == "transformers" else 0.001)


class Decoding:
    """Gives the best path's labels, after as long a nap as the task's beam says."""

    def __init__(self, name):
        self.name = name
        self.calls = 0

    def version(self):
        return {self.name: "1.0"}

    def ready(self, task):
        if task.kind == "align":
            raise NotHere("aligns nothing")

        def call():
            self.calls += 1
            time.sleep(task.beam_size / 1000)
            return np.load(task.emission)

        return Ready(call, lambda rows: [self.labels(row) for row in rows])

    def labels(self, row):
        return collapse(row.argmax(axis=1))


class Dull(Decoding):
    """Finds a labelling, but not the best."""

    def labels(self, row):
        return super().labels(row)[:-1]


class Ageing(Decoding):
    """Has to be brought to its age before each call."""

    def ready(self, task):
        done = []
        return Ready(
            lambda: time.sleep(0.001),
            lambda _: [np.array([len(done)])],
            lambda: (done.append(1), time.sleep(0.2))[0],
        )


class Absent(Decoding):
    def version(self):
        raise NotHere("is not installed")


DECODERS = {
    "ours-avx2": Decoding,
    "ours-avx512": Dull,
    "ours-scalar": Ageing,
    "fast-ctc-decode": Decoding,
    "numpy": Dull,
    "torchaudio": Absent,
}
KINDS = {
    "transformers": Switching,
    "onnx": Noisy,
    "slow": Slow,
    "wrong": Wrong,
    "misshapen": Misshapen,
    "missing": Missing,
    "unbuildable": Unbuildable,
    "dying": Dying,
    "parent": Parent,
    "hungry": Hungry,
    "ours-fp32": Switching,
    "ours-int8": Missing,
}

if __name__ == "__main__":
    peers.PEERS.clear()
    for name, kind in KINDS.items():
        peers.PEERS[name] = lambda kind=kind, name=name: kind(name)
    for name, kind in DECODERS.items():
        peers.DECODERS[name] = lambda kind=kind, name=name: kind(name)
    main()
