"""From the options of `mms-bench roofline` to its document."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mms_bench.errors import BenchError
from mms_bench.machine import describe_git, describe_machine
from mms_bench.progress import Progress
from mms_bench.roofline.document import (
    SCHEMA_VERSION,
    Question,
    Roofline,
    bounds,
    live_streams,
    memory,
    stage_work,
)
from mms_bench.roofline.hardware import gpus
from mms_bench.roofline.processor import Measured, Trial, measurable, measure
from mms_bench.roofline.streams import Pace
from mms_bench.session import command_line
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_export.checkpoints.config import parse_config
from mms_export.synthetic import TEMPLATE


def answer(given: dict[str, Any]) -> Roofline:
    """Work out the document.

    Args:
        given: The options of `mms-bench roofline` by name.

    Raises:
        BenchError: an option names something unknown.
        BundleError: a bundle cannot be read.
    """
    model, architecture = sizes(given["bundle"])
    question = Question(
        seconds=given["seconds"],
        batches=_numbers(given["batches"]),
        pace=Pace(chunk=given["chunk"], window=given["window"]),
    )
    devices = gpus(tuple(filter(None, map(str.strip, given["gpus"].split(",")))))
    machine = describe_machine() if given["measure"] else None
    return Roofline(
        schema=SCHEMA_VERSION,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        git=describe_git(),
        command=command_line(),
        model=model,
        question=question,
        stages=stage_work(architecture, question),
        gpus=devices,
        bounds=bounds(architecture, devices, question),
        streams=live_streams(architecture, devices, question),
        memory=memory(architecture, question),
        machine=machine,
        measured=_measure(given["measure"], given["seconds"], given["threads"]),
    )


def sizes(bundle: Path | None) -> tuple[str, Wav2Vec2Ctc]:
    """Return the name and the sizes of a bundle's model, without one those of mms-1b-all."""
    if bundle is not None:
        opened = open_bundle(bundle, verify=False)
        return opened.manifest.source.name, opened.model(Wav2Vec2Ctc)
    document = json.loads((TEMPLATE / "config.json").read_text(encoding="utf-8"))
    return TEMPLATE.name, parse_config(document, where="config.json").ctc(normalize=True)


def _measure(bundles: tuple[Path, ...], seconds: float, threads: int) -> tuple[Measured, ...]:
    progress = Progress(sys.stderr)
    try:
        return tuple(
            measure(
                Trial(bundle=bundle, precision=precision, seconds=seconds, threads=threads),
                progress,
            )
            for bundle in bundles
            for precision in measurable(bundle)
        )
    finally:
        progress.close()


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in text.split(","))
    except ValueError:
        found = (0,)
    if min(found) < 1:
        raise BenchError(f"--batches takes positive whole numbers with commas, not {text!r}")
    return found
