"""A process that holds one peer and does what it is told on stdin: `python -m mms_bench.worker`.

One process a peer keeps the memory, the thread pools and the allocators of the peers apart. It
waits in a read, so it costs no processor time while another is measured.
"""

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
import numpy as np

from mms_bench.ctc.desk import DecoderDesk
from mms_bench.errors import NotHere
from mms_bench.messages import Answer, Begin, Order, Workload
from mms_bench.peers import create_peer
from mms_bench.peers.base import Batch, Peer, Setup, SwitchesLanguage
from mms_bench.peers.decoder import Decoder
from mms_bench.timing import peak_memory, repeat, timed
from mms_engine.types import Float32Array

Call = Callable[[], list[Float32Array]]


class Desk(Protocol):
    """Where orders are carried out."""

    def carry_out(self, order: Order) -> Answer:
        """Do one step.

        Raises:
            NotHere: the peer cannot do it.
        """


class RecogniserDesk:
    """Carries out orders on one recogniser."""

    def __init__(self, peer: Peer, setup: Setup) -> None:
        self._peer = peer
        self._setup = setup
        self._calls: dict[Workload, Call] = {}

    def carry_out(self, order: Order) -> Answer:
        """Do one step.

        Raises:
            NotHere: the peer cannot do it.
        """
        if order.step == "build":
            self._peer.build(self._setup)
            return Answer()
        if order.step == "prepare":
            seconds = timed(lambda: self._peer.prepare(self._setup))
            return Answer(seconds=(seconds,), precision=self._peer.precision)
        if order.step == "memory":
            return Answer(peak_memory=peak_memory())
        if order.workload is None:
            raise ValueError(f"the order {order.step} names no workload")
        call = self._call(order.workload)
        if order.step == "first":
            return Answer(seconds=(self._first(call, order.keep),))
        return Answer(seconds=repeat(call, order.seconds, order.most))

    def _first(self, call: Call, folder: str) -> float:
        found: list[Float32Array] = []
        seconds = timed(lambda: found.extend(call()))
        if folder:
            for number, logits in enumerate(found):
                np.save(Path(folder) / f"{number}.npy", logits)
        return seconds

    def _call(self, workload: Workload) -> Call:
        """Return what is timed, made once, so that no call pays for reading its input."""
        if workload not in self._calls:
            self._calls[workload] = self._make_call(workload)
        return self._calls[workload]

    def _make_call(self, workload: Workload) -> Call:
        if workload.action == "run":
            batch = Batch(np.load(workload.audio), workload.languages)
            return lambda: self._peer.run(batch)
        peer = self._peer
        if not isinstance(peer, SwitchesLanguage):
            raise NotHere("has one language baked in: to switch is to load another model")
        languages = itertools.cycle(workload.languages)
        from_disk = workload.action == "switch-disk"

        def switch() -> list[Float32Array]:
            peer.switch(next(languages), from_disk=from_disk)
            return []

        return switch


def serve(orders: BinaryIO, answers: BinaryIO) -> None:
    """Answer each order until there are no more."""
    desk: Desk | None = None
    for line in orders:
        try:
            if desk is None:
                begin = msgspec.json.decode(line, type=Begin)
                peer = create_peer(begin.peer)
                answer = Answer(versions=peer.version())
                desk = _open(peer, begin.setup)
            else:
                answer = desk.carry_out(msgspec.json.decode(line, type=Order))
        except NotHere as reason:
            answer = Answer(not_here=str(reason))
        except Exception as error:  # noqa: BLE001 - whatever a peer raises becomes a row
            answer = Answer(error=_one_line(error))
        answers.write(msgspec.json.encode(answer) + b"\n")
        answers.flush()


def _open(peer: Peer | Decoder, setup: Setup) -> Desk:
    return DecoderDesk(peer) if isinstance(peer, Decoder) else RecogniserDesk(peer, setup)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:300]}"


def main() -> None:
    """Serve stdin; what libraries print goes to stderr, so that it cannot spoil an answer."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
