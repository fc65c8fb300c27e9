"""Frontend in slices of one fixed length: it is frame-local, so slices join without a seam."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from mms_engine.backends.session import storage_dtype
from mms_engine.cuda.memory import DeviceArray
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.errors import BackendError
from mms_engine.tensorrt.session import TensorRtSession
from mms_engine.types import Float32Array


@dataclass(frozen=True, slots=True)
class Slices:
    """Slices of a plan of the frontend: T frames of N samples, of which neighbours share some."""

    session: TensorRtSession
    geometry: FrameGeometry
    frames: int
    """T: frames of a slice."""
    rows: int
    """Most slices of a run."""

    @classmethod
    def of(cls, session: TensorRtSession, geometry: FrameGeometry) -> "Slices":
        """Read the size of the slices from the profile of a plan.

        Raises:
            BackendError: the plan was built for whole utterances, by an earlier release.
        """
        buckets = session.buckets
        samples, rows = buckets.most("samples"), buckets.most("batch")
        if buckets.least("samples") != samples:
            raise BackendError(f"{session!r} is not in slices: build the plans again")
        return cls(session, geometry, geometry.frames(samples), rows)

    @property
    def samples(self) -> int:
        """N: samples of a slice."""
        return self.geometry.samples(self.frames)

    def of_frames(self, frames: int) -> int:
        """Return the number of slices that hold `frames` frames."""
        return -(-frames // self.frames)

    def padded(self, count: int) -> int:
        """Return at least `count` slices, as `run` takes: whole runs, and a power of two."""
        rest = count % self.rows
        return count - rest + (min(self.rows, 1 << (rest - 1).bit_length()) if rest else 0)

    def features(self, count: int) -> tuple[tuple[int, int, int], "np.dtype[np.generic]"]:
        """Return the shape and dtype of the features of `count` slices."""
        tensor = self.session.outputs[0]
        return (count, self.frames, int(tensor.shape[2])), storage_dtype(tensor.dtype)

    def cut(self, samples: Float32Array, target: Float32Array, *, before: int = 0) -> None:
        """Write the slices of one utterance `[n]` into `[slices, N]`, with zeros around it.

        Args:
            samples: The utterance.
            target: Its slices.
            before: Frames ahead of it.
        """
        step = self.frames * self.geometry.stride
        for index, slot in enumerate(target):
            start = index * step - before * self.geometry.stride
            ahead = min(slot.size, max(0, -start))
            part = samples[max(0, start) : max(0, start + slot.size)]
            slot[:ahead] = 0
            slot[ahead : ahead + part.size] = part
            slot[ahead + part.size :] = 0

    def run(self, audio: DeviceArray, features: DeviceArray) -> None:
        """Enqueue the runs of all slices, which write the features in place.

        Args:
            audio: Shape `[slices, N]`, as many as `padded` returns.
            features: Shape `[slices or more, T, F]`.
        """
        name, output = self.session.inputs[0].name, self.session.outputs[0].name
        for start in range(0, len(audio), self.rows):
            stop = min(len(audio), start + self.rows)
            given, made = audio.rows(start, stop), features.rows(start, stop)
            self.session.enqueue(0, {name: given}, {output: made})

    def convolve(self, samples: Sequence[Float32Array]) -> list[Float32Array]:
        """Return the features `[T, F]` of short sounds, several to a slice, in host memory."""
        frames = [self.geometry.frames(len(own)) for own in samples]
        # One frame between two sounds is made of both, and left out.
        ends = list(accumulate(own + 1 for own in frames))
        count = self.padded(self.of_frames(ends[-1]))
        stride = self.geometry.stride
        track = np.zeros((count * self.frames + 1) * stride, np.float32)
        for own, end, length in zip(samples, ends, frames, strict=True):
            start = (end - 1 - length) * stride
            part = own[: self.geometry.samples(length)]
            track[start : start + part.size] = part
        audio = np.empty((count, self.samples), np.float32)
        self.cut(track, audio)
        made = [
            self.session.run({self.session.inputs[0].name: audio[start : start + self.rows]})
            for start in range(0, count, self.rows)
        ]
        flat = np.concatenate([one[self.session.outputs[0].name] for one in made])
        flat = flat.reshape(-1, flat.shape[-1])
        return [
            flat[end - 1 - length : end - 1].copy()
            for end, length in zip(ends, frames, strict=True)
        ]
