"""The worker's side of a decoder: makes each task ready once, calls it, keeps its labels."""

from pathlib import Path

import numpy as np

from mms_bench.ctc.task import Task
from mms_bench.messages import Answer, Order
from mms_bench.peers.decoder import Decoder, Ready
from mms_bench.timing import peak_memory, repeat, timed


class DecoderDesk:
    """Carries out orders on one decoder."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._ready: dict[Task, Ready] = {}

    def carry_out(self, order: Order) -> Answer:
        """Do one step.

        Raises:
            NotHere: the decoder cannot do it.
        """
        if order.step == "memory":
            return Answer(peak_memory=peak_memory())
        if order.task is None:
            raise ValueError(f"the order {order.step} names no task")
        if order.task not in self._ready:
            self._ready = {order.task: self._decoder.ready(order.task)} | self._ready
        ready = self._ready[order.task]
        if order.step == "first":
            return Answer(seconds=(self._first(ready, order.keep),))
        return Answer(seconds=repeat(ready.call, order.seconds, order.most, ready.before))

    def _first(self, ready: Ready, folder: str) -> float:
        found: list[object] = []
        if ready.before is not None:
            ready.before()
        seconds = timed(lambda: found.append(ready.call()))
        for number, labels in enumerate(ready.labels(found[0])):
            np.save(Path(folder) / f"{number}.npy", labels)
        return seconds
