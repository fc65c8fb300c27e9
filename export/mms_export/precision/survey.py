"""Runs a bundle's graphs on speech in every arithmetic, and compares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mms_engine.bundle import Bundle
from mms_engine.bundle.schema import Stage
from mms_export.graphs.builder import Array, numpy_dtype
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.writer import data_path
from mms_export.parity import agreement, max_error
from mms_export.precision.arithmetic import (
    BF16,
    BF16_EVERYWHERE,
    FP16,
    FP16_EVERYWHERE,
    FP16_NARROW_SUMS,
    FP16_UNFUSED,
    FP32,
    Arithmetic,
)
from mms_export.precision.clips import Clip
from mms_export.precision.evaluator import Evaluator
from mms_export.precision.places import stream_gains
from mms_export.precision.ranges import RangeObserver
from mms_export.precision.result import SCHEMA, LayerRange, Row, Survey
from mms_export.precision.totals import layer_ranges, totals
from mms_export.precision.weights8 import Storage, store_weights
from mms_export.progress import Reporter

SWEPT = (FP32, FP16, BF16, FP16_EVERYWHERE, FP16_UNFUSED, BF16_EVERYWHERE)
_STAGES: tuple[Stage, ...] = ("frontend", "encoder")
STORAGES: tuple[Storage, ...] = ("int8", "fp8")


@dataclass(frozen=True, slots=True)
class SurveyOptions:
    """What a survey covers."""

    gains: tuple[float, ...]
    """Factors of the residual stream; powers of two leave a number's bits as they are."""
    formats: bool = True
    """Whether sums in float16 and 8-bit weights are tried too: slow, and the graph in memory."""


def survey(
    bundle: Bundle, clips: Sequence[Clip], options: SurveyOptions, reporter: Reporter
) -> Survey:
    """Return what rounding does to a bundle's model.

    Raises:
        MmsError: the bundle lacks a precision, or holds a graph of another exporter.
    """
    # One thread: the order of a sum, and so the last bits, must not depend on the machine.
    torch.set_num_threads(1)
    bench = _Bench(bundle, clips, reporter)
    ranges, expected = bench.reference()
    sweep = [bench.row(kind, gain, expected) for gain in options.gains for kind in SWEPT]
    formats = [row for row in sweep if row.gain == 1]
    if options.formats:
        formats.append(bench.row(FP16_NARROW_SUMS, 1.0, expected))
        formats += bench.eight_bits(expected)
    architecture = bundle.manifest.architecture
    return Survey(
        schema=SCHEMA,
        model=bundle.manifest.source.name,
        hidden_size=architecture.hidden_size,
        layers=architecture.num_hidden_layers,
        clips=len(clips),
        seconds=round(sum(len(clip.samples) for clip in clips) / 16000, 2),
        frames=sum(map(len, expected)),
        stream_peak=max(entry.peak for entry in ranges if entry.kind == "stream"),
        added_peak=max(entry.peak for entry in ranges if entry.kind == "added"),
        ranges=tuple(ranges),
        sweep=tuple(sweep),
        formats=tuple(formats),
        versions={name: version(name) for name in ("torch", "onnx")},
    )


class _Bench:
    """The graphs and clips of a survey."""

    def __init__(self, bundle: Bundle, clips: Sequence[Clip], reporter: Reporter) -> None:
        self._bundle = bundle
        self._clips = clips
        self._reporter = reporter
        used = {kind.graph for kind in SWEPT}
        # Once: the bundle checks gigabytes each time it is asked.
        self._paths = {
            (stage, precision): bundle.graph(stage, precision)[1]
            for precision in sorted(used)
            for stage in _STAGES
        }
        # By arithmetic: what the frontend gives does not depend on the stream.
        self._features: dict[str, list[Array]] = {}

    def reference(self) -> tuple[list[LayerRange], list[Array]]:
        """Run the fp32 graph: the ranges of its numbers, and each clip's logits `[T, V]`."""
        encoder = Evaluator(self._paths["encoder", "fp32"], FP32)
        observer = RangeObserver(encoder.graph, assumed=torch.float16)
        logits = list(self._run(FP32, encoder, observer))
        return layer_ranges(observer), logits

    def row(self, kind: Arithmetic, gain: float, expected: Sequence[Array]) -> Row:
        """Run the exported encoder in an arithmetic, its stream multiplied by `gain`."""
        path = self._paths["encoder", kind.graph]
        gains = stream_gains(Evaluator(path, kind).graph, gain) if gain != 1 else {}
        return self._compare(Evaluator(path, kind, gains), kind, gain, expected)

    def eight_bits(self, expected: Sequence[Array]) -> Iterator[Row]:
        """Run the fp16 encoder with its matrices stored in eight bits."""
        with TemporaryDirectory() as folder:
            for storage in STORAGES:
                kind = Arithmetic(f"fp16, weights {storage}", "fp16")
                path = Path(folder) / f"encoder.{storage}.onnx"
                store_weights(self._paths["encoder", "fp16"], path, storage)
                yield self._compare(Evaluator(path, kind), kind, 1.0, expected)
                data_path(path).unlink(missing_ok=True)

    def _compare(
        self, encoder: Evaluator, kind: Arithmetic, gain: float, expected: Sequence[Array]
    ) -> Row:
        observer = RangeObserver(encoder.graph)
        found = list(self._run(kind, encoder, observer, gain))
        overflowing, subnormal = totals(observer)
        error = max_error(found, expected)
        return Row(
            arithmetic=kind.name,
            gain=gain,
            agreement=agreement(found, expected),
            max_abs_error=error if isfinite(error) else None,
            overflowing=overflowing,
            subnormal=subnormal,
            first_overflow=observer.first_overflow,
            weight_bytes=encoder.weight_bytes,
        )

    def _run(
        self, kind: Arithmetic, encoder: Evaluator, observer: RangeObserver, gain: float = 1.0
    ) -> Iterator[Array]:
        label = f"{kind.name}, stream x {gain:g}"
        features = self._all_features(kind)
        with self._reporter.step(label, len(self._clips), "clip") as advance:
            for clip, frames in zip(self._clips, features, strict=True):
                feeds = {"features": frames} | self._feeds(clip, kind, frames.shape[1])
                yield encoder.run(feeds, observer)[0]
                advance(1)

    def _all_features(self, kind: Arithmetic) -> list[Array]:
        if kind.name not in self._features:
            frontend = Evaluator(self._paths["frontend", kind.graph], kind)
            self._features[kind.name] = [
                frontend.run({"audio": clip.samples[None]}) for clip in self._clips
            ]
        return self._features[kind.name]

    def _feeds(self, clip: Clip, kind: Arithmetic, frames: int) -> dict[str, Array]:
        weights = self._bundle.adapter(clip.language)
        dtype = numpy_dtype(NUMERICS[kind.graph].operands)
        bank = {
            "adapters": weights.adapter,
            "head_weight": weights.head_weight,
            "head_bias": weights.head_bias,
        }
        return {name: array[None].astype(dtype) for name, array in bank.items()} | {
            "lengths": np.array([frames]),
            "slot": np.array([0]),
        }
