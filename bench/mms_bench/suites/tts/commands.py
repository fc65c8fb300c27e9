"""Case `cold`: commands that speak one sentence, as whole processes."""

import importlib.util
import sys

from mms_bench.errors import Failed, Skipped
from mms_bench.peers.engine import check_precision
from mms_bench.peers.vits_onnx import piper_graph
from mms_bench.peers.voices import voice_folder
from mms_bench.run import commands
from mms_bench.run.context import Context, race_commands
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
    out = {name: context.folder / f"{name.split()[0]}.wav" for name in ("mms speak", "piper")}

    def check(name: str, _: commands.Outcome) -> None:
        if not out[name].is_file():
            raise Failed("it wrote no file")

    makers = {
        "mms speak": lambda: (*_speak(context), str(out["mms speak"])),
        "piper": lambda: (*_piper(context), str(out["piper"])),
    }
    return race_commands(context, COLD.name, makers, check)


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
