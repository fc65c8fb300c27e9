"""One run of one suite, from its options to its result."""

import re
import shlex
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mms_bench.errors import BenchError
from mms_bench.inputs import checkpoint_languages, describe_model
from mms_bench.machine import describe_git, describe_machine, describe_versions
from mms_bench.options import Context, RunOptions, Tell
from mms_bench.peers import REFERENCE
from mms_bench.peers.base import Setup
from mms_bench.peers.transformers import has_cuda
from mms_bench.race import SLOW, SLOW_SAMPLES
from mms_bench.schema import QUIET, SCHEMA_VERSION, Result, Row
from mms_bench.suites import Part, Suite
from mms_engine.backends.registry import available, choose
from mms_engine.bundle import open_bundle

_SHOWN = 12


def run_suite(suite: Suite, options: RunOptions, command: str, tell: Tell) -> Result:
    """Measure a suite.

    Args:
        suite: What to measure.
        options: How.
        command: The command line that asked for it, kept in the result.
        tell: Takes a line of progress.

    Raises:
        BenchError: the options do not fit the checkpoint or the suite.
        BackendError: nothing here can run on the device.
    """
    parts = suite.choose_parts(options.cases)
    device = describe_device(options)
    machine = describe_machine()  # first: it holds the load from before
    if machine.load_before > QUIET:
        tell(f"warning: the load is {machine.load_before}, other programs will spoil the times")
    model = describe_model(options.checkpoint, options.model)
    check_bundle(options)
    languages = choose_languages(options, suite.languages)
    settings = _settings(options, languages) | {"device": device}
    rows, versions = _measure(parts, options, languages, tell)
    return Result(
        schema=SCHEMA_VERSION,
        suite=suite.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        git=describe_git(),
        command=command,
        machine=machine,
        versions=dict(sorted(versions.items())),
        model=model,
        settings={name: settings[name] for name in suite.settings},
        cases=tuple(case for part in parts for case in part.cases),
        rows=tuple(sorted(rows, key=lambda row: _place(row, options))),
    )


def describe_device(options: RunOptions) -> str:
    """Return the device and, of a GPU, what the engine runs on it with.

    Raises:
        BackendError: nothing here can run on the device.
    """
    backend = choose(options.device, available(), options.backend).backend
    if options.device == "cpu":
        return options.device
    reference = "" if has_cuda() else f", {REFERENCE} on the CPU"
    return f"{options.device} ({backend}){reference}"


def _measure(
    parts: tuple[Part, ...], options: RunOptions, languages: tuple[str, ...], tell: Tell
) -> tuple[list[Row], dict[str, str]]:
    """Return the rows of all parts, and the versions of what took part."""
    options.cache.mkdir(parents=True, exist_ok=True)
    setup = Setup(
        checkpoint=str(options.checkpoint.resolve()),
        bundle=str(options.bundle.resolve()) if options.bundle else "",
        cache=str(options.cache.resolve()),
        languages=languages,
        threads=options.threads,
        device=options.device,
        backend=options.backend,
    )
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.cache) as folder:
        context = Context(options, setup, Path(folder), tell, describe_versions())
        for part in parts:
            tell(f"case {part.name}")
            rows += part.measure(context)
    published = [replace(row, reason=without_folders(row.reason)) for row in rows]
    return published, context.versions


def command_line() -> str:
    """Return the command as typed, folders cut down to their last part: they differ elsewhere."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(["mms-bench", *words])


def without_folders(text: str) -> str:
    """Cut absolute paths down to their last part: results are published, machines differ."""
    return re.sub(r"(?<![\w.])/(?:[^\s/'\":]+/)+", "", text)


def _place(row: Row, options: RunOptions) -> tuple[int, int]:
    """Order by heat, then as the peers were named; what is not a peer comes last."""
    peers = options.peers
    here = row.implementation in peers
    return row.heat, peers.index(row.implementation) if here else len(peers)


def check_bundle(options: RunOptions) -> None:
    """See to it that the bundle was exported from the checkpoint.

    Raises:
        BenchError: it was exported from another one.
        BundleError: it cannot be read.
    """
    if options.bundle is None:
        return
    from mms_export.checkpoints.fingerprint import file_digests, fingerprint
    from mms_export.checkpoints.open import open_checkpoint

    source = open_bundle(options.bundle, verify=False).manifest.source
    files = open_checkpoint(str(options.checkpoint)).weight_files
    if source.fingerprint != fingerprint(file_digests(files)):
        raise BenchError(
            f"the bundle {options.bundle} was exported from another checkpoint than "
            f"{options.checkpoint}: remove it and export it again"
        )


def choose_languages(options: RunOptions, most: int | None) -> tuple[str, ...]:
    """Return the languages asked for, or the first ones that checkpoint and bundle both have.

    Raises:
        BenchError: the checkpoint does not have one of them.
        BundleError: the bundle cannot be read.
    """
    there = checkpoint_languages(options.checkpoint)
    for language in options.languages:
        if language not in there:
            raise BenchError(f"{options.checkpoint} has no adapter for the language {language!r}")
    if options.languages:
        return options.languages
    if options.bundle is not None:
        exported = open_bundle(options.bundle, verify=False).languages
        there = tuple(language for language in there if language in exported)
    return there[:most]


def _settings(options: RunOptions, languages: tuple[str, ...]) -> dict[str, str]:
    pace = options.pace
    more = f" and {len(languages) - _SHOWN} others" if len(languages) > _SHOWN else ""
    return {
        "clip": f"{options.seconds:g} s",
        "batch": str(options.batch),
        "threads": str(options.threads),
        "languages": ", ".join(languages[:_SHOWN]) + more,
        "recordings": options.recordings.name,
        "audio": ", ".join(path.name for path in options.audio),
        "pace": (
            f"warm-up {pace.warmup:g} s, then in turns, at least {pace.min_samples} calls "
            f"({SLOW_SAMPLES} where one takes over {SLOW:g} s) and {pace.min_time:g} s each"
        ),
    }
