"""One run of one suite, from its options to its result."""

import re
import shlex
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors import safe_open

from mms_bench.errors import BenchError
from mms_bench.peers import REFERENCE
from mms_bench.peers.base import Setup
from mms_bench.peers.transformers import has_cuda
from mms_bench.run.context import Context, RunOptions, Tell
from mms_bench.run.machine import describe_git, describe_machine, describe_versions
from mms_bench.run.race import SLOW, SLOW_SAMPLES
from mms_bench.run.result import QUIET, SCHEMA_VERSION, Model, Result, Row
from mms_bench.run.suite import Suite
from mms_engine.backends.registry import available, choose
from mms_engine.bundle import open_bundle

_FULL_SIZE_PARAMETERS = 950_000_000
_SHOWN_LANGUAGES = 12


def run_suite(suite: Suite, options: RunOptions, setup: Setup, tell: Tell) -> Result:
    """Measure a suite; BenchError if the options do not fit the checkpoint or the suite."""
    parts = suite.choose_parts(options.cases)
    backend = choose(setup.device, available(), setup.backend).backend
    machine = describe_machine()  # first: it holds the load from before
    if machine.load_before > QUIET:
        tell(f"warning: the load is {machine.load_before}: other programs disturb the times")
    model = describe_model(setup.checkpoint, options.model)
    _check_bundle(setup)
    setup = replace(setup, languages=_choose_languages(setup, suite.languages))
    settings = _settings(options, setup)
    if setup.device == "cuda":
        settings["device"] += f" ({backend})"
        settings["device"] += "" if has_cuda() else f", {REFERENCE} on the CPU"
    setup.cache.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="run-", dir=setup.cache) as folder:
        context = Context(options, setup, Path(folder), tell, describe_versions())
        for part in parts:
            tell(f"case {part.name}")
            rows += part.measure(context)
    rows.sort(key=lambda row: _position(row, options))
    return Result(
        schema=SCHEMA_VERSION,
        suite=suite.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        git=describe_git(),
        command=_command_line(),
        machine=machine,
        versions=dict(sorted(context.versions.items())),
        model=model,
        settings={name: settings[name] for name in suite.settings},
        cases=tuple(case for part in parts for case in part.cases),
        rows=tuple(replace(row, reason=_without_folders(row.reason)) for row in rows),
    )


def _command_line() -> str:
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(["mms-bench", *words])


def _without_folders(text: str) -> str:
    """Shorten absolute paths to their last component: results are published."""
    return re.sub(r"(?<![\w.])/(?:[^\s/'\":]+/)+", "", text)


def _position(row: Row, options: RunOptions) -> tuple[int, int]:
    """Order by group, then as the peers were named; other rows come last."""
    known = row.implementation in options.peers
    place = options.peers.index(row.implementation) if known else len(options.peers)
    return row.group, place


def _check_bundle(setup: Setup) -> None:
    if setup.bundle is None:
        return
    from mms_export.checkpoints.fingerprint import file_digests, fingerprint
    from mms_export.checkpoints.open import open_checkpoint

    source = open_bundle(setup.bundle, verify=False).manifest.source
    files = open_checkpoint(str(setup.checkpoint)).weight_files
    if source.fingerprint != fingerprint(file_digests(files)):
        raise BenchError(
            f"the bundle {setup.bundle} was exported from another checkpoint than "
            f"{setup.checkpoint}: remove it and export it again"
        )


def _choose_languages(setup: Setup, most: int | None) -> tuple[str, ...]:
    """Return the requested languages, or the first that checkpoint and bundle share."""
    found = _checkpoint_languages(setup.checkpoint)
    for language in setup.languages:
        if language not in found:
            raise BenchError(f"{setup.checkpoint} has no adapter for the language {language!r}")
    if setup.bundle is not None:
        exported = open_bundle(setup.bundle, verify=False).languages
        found = tuple(language for language in found if language in exported)
    return setup.languages or found[:most]


def _settings(options: RunOptions, setup: Setup) -> dict[str, str]:
    pace, others = options.pace, len(setup.languages) - _SHOWN_LANGUAGES
    languages = ", ".join(setup.languages[:_SHOWN_LANGUAGES])
    return {
        "device": setup.device,
        "clip": f"{options.seconds:g} s",
        "batch": str(options.batch),
        "threads": str(setup.threads),
        "languages": languages + (f" and {others} others" if others > 0 else ""),
        "recordings": options.recordings.name,
        "audio": ", ".join(path.name for path in options.audio),
        "pace": (
            f"warm-up {pace.warmup:g} s, then in turns, at least {pace.min_samples} calls "
            f"({SLOW_SAMPLES} where one takes over {SLOW:g} s) and {pace.min_time:g} s each"
        ),
    }


def _checkpoint_languages(checkpoint: Path) -> tuple[str, ...]:
    files = checkpoint.glob("adapter.*.safetensors")
    codes = sorted(file.name.split(".", 1)[1].removesuffix(".safetensors") for file in files)
    if not codes:
        raise BenchError(
            f"{checkpoint} holds no adapter.LANG.safetensors: "
            "name a folder in the layout of facebook/mms-1b-all with --checkpoint"
        )
    return tuple(codes)


def describe_model(checkpoint: Path, name: str) -> Model:
    """Return the size of a checkpoint, from the headers of its files."""
    files = sorted(checkpoint.glob("model*.safetensors"))
    if not files:
        raise BenchError(f"{checkpoint} holds no model.safetensors: check --checkpoint")
    parameters = 0
    for file in files:
        with safe_open(str(file), framework="numpy") as reader:
            shapes = (reader.get_slice(key).get_shape() for key in reader.keys())  # noqa: SIM118
            parameters += sum(int(np.prod(shape)) for shape in shapes)
    return Model(
        name=name,
        parameters=parameters,
        languages=len(_checkpoint_languages(checkpoint)),
        full_size=parameters >= _FULL_SIZE_PARAMETERS,
    )
