"""Case `cold`: commands that speak one sentence, as whole processes."""

import functools
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace

from mms_bench.errors import NotMeasured, Skipped
from mms_bench.peers.engine import check_precision
from mms_bench.peers.vits_onnx import piper_graph
from mms_bench.peers.voices import voice_folder
from mms_bench.run import commands
from mms_bench.run.context import Context
from mms_bench.run.race import Repeat, repeat_call
from mms_bench.run.result import Case, Row

COLD = Case(
    name="cold",
    title="A command that speaks one sentence",
    timing=(
        "Timed: the whole process, from its start to the WAV file. The files are in the page "
        "cache. piper runs the voice as exported by torch.onnx."
    ),
    baseline="piper",
)


def measure_cold(context: Context) -> list[Row]:
    """Race the commands; each must write a file."""
    rows: list[Row] = []
    timed: list[tuple[Row, Repeat]] = []
    for name, make in (("mms speak", _speak), ("piper", _piper)):
        row = Row(case=COLD.name, implementation=name)
        out = context.folder / f"{name.split()[0]}.wav"
        try:
            run = functools.partial(
                commands.run, (*make(context), str(out)), threads=context.options.threads
            )
            first = run(watch=True)
            if not out.is_file():
                raise Skipped("it wrote no file")
        except NotMeasured as reason:
            rows.append(row.refused(reason))
            continue
        row = replace(row, first_seconds=first.seconds, peak_memory=first.peak_memory)
        timed.append((row, repeat_call(functools.partial(_seconds, run))))
    return context.race(timed) + rows


def _seconds(run: Callable[..., commands.Outcome]) -> float:
    return run(watch=False).seconds


def _speak(context: Context) -> tuple[str, ...]:
    options = context.options
    bundle = check_precision(options, "fp32")
    given = ("--bundle", str(bundle), "--lang", options.languages[0], "--precision", "fp32")
    return (commands.script("mms"), "speak", options.text, *given, "-o")


def _piper(context: Context) -> tuple[str, ...]:
    """Return the command of piper, which is under the GPL and therefore never imported."""
    if importlib.util.find_spec("piper") is None:
        raise Skipped("piper-tts is not installed")
    folder = voice_folder(context.options, context.options.languages[0])
    graph = piper_graph(context.options, folder)
    return (sys.executable, "-m", "piper", "-m", str(graph), context.options.text, "-f")
