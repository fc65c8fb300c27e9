"""Triton model of live streams: one sequence each, whose requests bring audio.

Inputs `audio` (FP32, samples at 16 kHz) and, in the first request of a sequence, `language` (BYTES,
a code). Each response has one `event` (BYTES, the JSON object that `mms stream --json` prints). A
request is complete when nothing more follows from its audio; the last one, when the stream ended.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import triton_python_backend_utils as pb_utils

from mms_engine.asr.pool import PooledStream
from mms_engine.asr.streaming import Endpoint, Event
from mms_engine.asr.streaming.events import event_fields
from mms_engine.audio import SAMPLE_RATE
from mms_engine.errors import AudioError, MmsError, StreamError
from mms_engine.triton.backend import (
    Request,
    failure,
    open_recognizer,
    strings,
    text,
    values,
)

_MICROSECONDS = 1e-6
_MAX_SECONDS = 30.0
"""Longest audio of a request."""


class TritonPythonModel:
    """Pool of streams, by the correlation id of their sequences."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the bundle, and start the pool.

        Raises:
            TritonModelException: it cannot be opened.
        """
        batching = json.loads(args["model_config"])["sequence_batching"]
        self._idle_seconds = int(batching["max_sequence_idle_microseconds"]) * _MICROSECONDS
        self._sequences: dict[int, _Sequence] = {}
        self._recognizer = open_recognizer(args)
        self._pool = self._recognizer.pool()
        try:
            # Measured here, for the first stream would wait for it.
            self._pool.describe_capacity(self._recognizer.languages[0])
        except MmsError as error:
            self.finalize()
            raise pb_utils.TritonModelException(str(error)) from error

    def execute(self, requests: Sequence[Request]) -> None:
        """Queue the audio of each request; responses follow from the threads of the pool."""
        self._drop_idle()
        for request in requests:
            sender = request.get_response_sender()
            key = int(values(request, "CORRID")[0])
            try:
                self._begin(key, request)
                sequence = self._sequences.get(key)
                if sequence is None:
                    raise StreamError(f"the sequence {key} has ended or failed: begin another")
                sequence.take(sender, values(request, "audio"), is_last=_flag(request, "END"))
            except MmsError as error:
                self._drop(key)
                sender.send(failure(error), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            else:
                if sequence.is_ending:
                    del self._sequences[key]

    def _begin(self, key: int, request: Request) -> None:
        """Open the stream of a sequence that starts, in place of one that its client left.

        Raises:
            MmsError: it cannot be opened, or the machine has no room for it.
        """
        if not _flag(request, "START"):
            return
        self._drop(key)
        sequence = _Sequence()
        sequence.stream = self._pool.open(
            text(request, "language"), listener=sequence.listen, advanced=sequence.advanced
        )
        self._sequences[key] = sequence

    def _drop(self, key: int) -> None:
        sequence = self._sequences.pop(key, None)
        if sequence is not None:
            sequence.close()

    def _drop_idle(self) -> None:
        """End the streams of sequences that Triton has given up, which it does without a word."""
        limit = time.monotonic() - self._idle_seconds
        for key in [key for key, one in self._sequences.items() if one.last_seconds < limit]:
            self._drop(key)

    def finalize(self) -> None:
        """End all streams, and free the graphs."""
        for key in list(self._sequences):
            self._drop(key)
        self._pool.close()
        self._recognizer.close()


class _Sequence:
    """Stream of a sequence, and the requests that are not complete, oldest first."""

    stream: PooledStream
    """Set before the first request."""

    def __init__(self) -> None:
        self.last_seconds = time.monotonic()
        """Time of the last request."""
        self.is_ending = False
        """Whether the last request has come."""
        self._senders: deque[Any] = deque()
        self._lock = threading.RLock()

    def take(self, sender: Any, samples: Any, *, is_last: bool) -> None:  # noqa: ANN401
        """Feed the audio of a request.

        Raises:
            MmsError: it is not valid audio, or the stream has failed.
        """
        self.last_seconds = time.monotonic()
        samples = np.zeros(0, np.float32) if samples is None else np.asarray(samples, np.float32)
        seconds = len(samples) / SAMPLE_RATE
        if seconds > _MAX_SECONDS:
            raise AudioError(
                f"a request brings {seconds:.1f} s of audio, the limit is {_MAX_SECONDS:g}: send "
                "shorter pieces"
            )
        with self._lock:
            self._senders.append(sender)
        try:
            self.stream.feed(samples, SAMPLE_RATE)
            if is_last:
                self.is_ending = True
                self.stream.finish()
        except MmsError as error:
            with self._lock:
                if sender not in self._senders:  # it has the error of the stream
                    return
                self._senders.remove(sender)
            raise self.stream.error or error from error
        self.advanced()

    def close(self) -> None:
        """End the stream; requests that are not complete fail."""
        self.stream.cancel()
        with self._lock:
            self._complete(failure(StreamError("the sequence was ended")))

    # Also called by the threads of the pool:

    def listen(self, event: Event | MmsError) -> None:
        """Send an event as a response to the oldest request."""
        with self._lock:
            if isinstance(event, MmsError):
                self._complete(failure(event))
                return
            if self._senders:
                self._senders[0].send(_response(event))
            if isinstance(event, Endpoint) and event.reason == "end":
                self._complete(None)

    def advanced(self) -> None:
        """Complete the requests from whose audio nothing more follows."""
        with self._lock:
            if not self.is_ending and self.stream.is_idle:
                self._complete(None)

    def _complete(self, response: Any) -> None:  # noqa: ANN401
        """End the responses of all requests; the oldest gets `response` before, if any."""
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        while self._senders:
            sender = self._senders.popleft()
            if response is None:
                sender.send(flags=final)
            else:
                sender.send(response, flags=final)
                response = None


def _flag(request: Request, name: str) -> bool:
    found = values(request, name)
    return found is not None and bool(found[0])


def _response(event: Event) -> Any:  # noqa: ANN401
    content = msgspec.json.encode(event_fields(event))
    return pb_utils.InferenceResponse(output_tensors=[strings("event", [content])])
