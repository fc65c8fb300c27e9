"""One run of one suite, from its options to its result."""

import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mms_bench.peers import REFERENCE
from mms_bench.peers.transformers import has_cuda
from mms_bench.run.context import Context, RunOptions
from mms_bench.run.machine import describe_git, describe_machine, describe_versions
from mms_bench.run.race import SLOW, SLOW_SAMPLES
from mms_bench.run.result import QUIET, Result, Row
from mms_bench.run.subject import Subject
from mms_bench.run.suite import Suite
from mms_engine.backends.registry import available, rank

_SHOWN_LANGUAGES = 12


def run_suite(suite: Suite, options: RunOptions, tell: Callable[[str], None]) -> Result:
    """Measure a suite; MmsError if the options do not fit the checkpoint or the suite."""
    parts = suite.choose_parts(options.cases)
    backend = rank(options.device, available(), options.backend)[0].backend
    machine = describe_machine()  # first: it holds the load from before
    if machine.load_before > QUIET:
        tell(f"warning: the load is {machine.load_before}: other programs disturb the times")
    subject = suite.subject(options, suite.languages)
    options = replace(options, languages=subject.languages)
    settings = _settings(options, subject)
    if options.device == "cuda":
        settings["device"] += f" ({backend})"
        settings["device"] += "" if has_cuda() else f", {REFERENCE} on the CPU"
    options.cache.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.cache) as folder:
        context = Context(options, Path(folder), tell, describe_versions(), suite.table)
        for part in parts:
            tell(f"case {part.name}")
            rows += part.measure(context)
    places = {name: place for place, name in enumerate(options.peers)}
    rows.sort(key=lambda row: places.get(row.implementation, len(places)))
    return Result(
        schema=2,
        suite=suite.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        git=describe_git(),
        command=_command_line(),
        machine=machine,
        versions=dict(sorted(context.versions.items())),
        model=subject.model,
        settings=settings,
        cases=tuple(case for part in parts for case in part.cases),
        rows=tuple(replace(row, reason=_without_folders(row.reason)) for row in rows),
    )


def _command_line() -> str:
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(["mms-bench", *words])


def _without_folders(text: str) -> str:
    """Shorten absolute paths to their last component: results are published."""
    return re.sub(r"(?<![\w.])/(?:[^\s/'\":]+/)+", "", text)


def _settings(options: RunOptions, subject: Subject) -> dict[str, str]:
    pace, others = options.pace, len(options.languages) - _SHOWN_LANGUAGES
    languages = ", ".join(options.languages[:_SHOWN_LANGUAGES])
    return {
        "device": options.device,
        "threads": str(options.threads),
        "languages": languages + (f" and {others} others" if others > 0 else ""),
        **subject.settings,
        "pace": (
            f"warm-up {pace.warmup:g} s, then in turns, at least {pace.min_samples} calls "
            f"({SLOW_SAMPLES} where one takes over {SLOW:g} s) and {pace.min_time:g} s each"
        ),
    }
