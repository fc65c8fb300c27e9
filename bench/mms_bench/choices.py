"""Fills in what the command line leaves open."""

from pathlib import Path
from typing import Any

import platformdirs

from mms_bench.errors import BenchError
from mms_bench.options import RunOptions
from mms_bench.race import Pace
from mms_bench.suites import Suite
from mms_engine.system import APPLICATION, demo_bundle
from mms_export.parity import SPEECH


def run_options(suite: Suite, given: dict[str, Any]) -> RunOptions:
    """Return the options of a run.

    Args:
        suite: Decides the pace where it is not given.
        given: The options of `mms-bench run` by name; None or empty where not given.

    Raises:
        BenchError: an option names something unknown.
    """
    cold = given["demo_bundle"] or demo_bundle()
    checkpoint, bundle = given["checkpoint"], given["bundle"]
    if checkpoint is None:
        if bundle is not None:
            raise BenchError(
                "--bundle needs --checkpoint, the model it was exported from: "
                "transformers runs that and is what the bundle is checked against"
            )
        checkpoint = _demo_checkpoint()
        bundle = cold if cold.is_dir() else None
    return RunOptions(
        peers=suite.choose_peers(given["peers"], given["device"]),
        checkpoint=checkpoint,
        model="demo" if given["checkpoint"] is None else checkpoint.resolve().name,
        bundle=bundle,
        demo_bundle=cold,
        audio=given["audio"] or (SPEECH,),
        recordings=given["recordings"] or _demo_recordings(),
        seconds=given["seconds"],
        threads=given["threads"],
        device=given["device"],
        backend=given["backend"],
        batch=given["batch"],
        languages=_names(given["languages"]),
        cases=_names(given["cases"]),
        cache=Path(platformdirs.user_cache_dir(APPLICATION)) / "bench",
        pace=Pace(
            warmup=suite.warmup if given["warmup"] is None else given["warmup"],
            min_time=suite.min_time if given["min_time"] is None else given["min_time"],
            min_samples=given["min_samples"] or suite.min_samples,
            seed=given["seed"],
        ),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(str.strip, text.split(",")))))


def _demo_recordings() -> Path:
    """Return the list of the demo's clips; it may be missing where there are no sources."""
    return _demo_checkpoint().with_name("clips") / "clips.tsv"


def _demo_checkpoint() -> Path:
    from mms_export.checkpoints.open import demo_checkpoint

    return demo_checkpoint()
