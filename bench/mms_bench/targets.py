"""Performance targets of this project. A limit is never moved to fit a measurement."""

from dataclasses import dataclass
from typing import Literal

from mms_bench.run.result import Result, Row

Quantity = Literal["seconds", "per unit", "bytes", "rate", "ratio", "cost", "figure"]
Verdict = Literal["pass", "fail", "not judged"]


@dataclass(frozen=True, slots=True)
class Target:
    """A limit on one quantity of one row."""

    suite: str
    title: str
    row: str
    """Key."""
    quantity: Quantity
    """`per unit` is seconds per unit, `rate` units per second. `ratio` is the baseline's median
    over the row's (larger is faster), `cost` its inverse."""
    limit: float
    of: str = ""
    """Baseline of a ratio or a cost, as `row`; name of a figure."""
    full_size: bool = False
    """Whether it is for a model of the size of mms-1b-all, and 10 s clips on 2 threads."""

    @property
    def at_least(self) -> bool:
        """Whether the limit is a minimum."""
        return self.quantity in ("ratio", "rate") or self.of == "streams"


_SETTINGS = {"asr": {"clip": "10 s", "threads": "2"}}
_AVX2, _BEAM, _LM = "ours-avx2", "beam-50-{}-{}/{}", "lm-{}-cut-diffuse/ours-avx2"
_DISK, _MEMORY = "switch-disk/transformers", "switch-memory/ours"
_CLIP = "clip/transformers"

# fmt: off
TARGETS = (
    Target("asr", "fp32 against transformers", "clip/ours-fp32", "ratio", 1.25, _CLIP, True),
    Target("asr", "int8 against transformers", "clip/ours-int8", "ratio", 2.0, _CLIP, True),
    *(Target("asr", f"mixed languages against one language, {p}", f"batch-mixed/ours-{p}",
             "ratio", 0.97, f"batch-one/ours-{p}", True) for p in ("fp32", "int8")),
    Target("asr", "switch to a resident language", _MEMORY, "seconds", 1e-3, "", True),
    Target("asr", "switch to a language on disk", "switch-disk/ours", "seconds", 20e-3, "", True),
    Target("asr", "resident language against load_adapter", _MEMORY, "ratio", 100.0, _DISK, True),
    Target("asr", "mms transcribe, demo bundle, cold", "cold/mms transcribe", "seconds", 1.2),
    Target("asr", "mms --help, cold", "cold/mms --help", "seconds", 0.3),
    *(Target("export", f"graphs in {p}, time", f"export-graphs/ours-{p}", "seconds", 180.0, "",
             True) for p in ("fp32", "fp16", "bf16", "int8")),
    *(Target("export", f"graphs in {p}, memory", f"export-graphs/ours-{p}", "bytes", 8e9, "",
             True) for p in ("fp32", "fp16", "bf16", "int8")),
    Target("export", "adapters (1,162 in ten minutes)", "export-adapters/ours", "rate", 1162 / 600,
           "", True),
    Target("export", "adapters, memory", "export-adapters/ours", "bytes", 4e9, "", True),
    Target("ctc", "greedy, per frame", f"greedy-32/{_AVX2}", "per unit", 30e-9),
    *(Target("ctc", f"beam 50, {source}, {title}, against fast-ctc-decode",
             _BEAM.format(cut, source, _AVX2), "ratio", limit,
             _BEAM.format(cut, source, "fast-ctc-decode"))
      for source in ("peaky", "diffuse", "real")
      for cut, title, limit in (("cut", "token cut e^-5", 1.2), ("all", "all tokens", 10.0))),
    Target("ctc", "beam 50, 3,000 tokens, per frame", f"wide-3000-peaky/{_AVX2}", "per unit", 3e-5),
    Target("ctc", "5-gram of words", _LM.format("words"), "cost", 2.5, _LM.format("plain")),
    Target("ctc", "1,000 hotwords", _LM.format("hotwords"), "cost", 1.6, _LM.format("plain")),
    Target("ctc", "alignment, cells", f"align/{_AVX2}", "rate", 3e9),
    Target("ctc", "alignment against torchaudio", f"align/{_AVX2}", "ratio", 6.0,
           "align/torchaudio"),
    *(Target("stream", f"{point}: {title}", f"contexts/ours-fp32 {point}", "figure", limit, figure)
      for point, title, limit, figure in (
          ("accurate", "CER / offline CER", 1.02, "cer_ratio"),
          ("balanced", "CER / offline CER", 1.10, "cer_ratio"),
          ("balanced", "compute / offline compute", 3.0, "cost"),
          ("balanced", "median emission delay, s", 0.7, "delay_p50"),
          ("balanced", "unstable partial word ratio", 0.1, "upwr"),
          ("low", "median emission delay, s", 0.35, "delay_p50"))),
    *(Target("stream", f"cached against window at equal sizes, {p}", f"steps/ours-{p} cached",
             "ratio", 4.0, f"steps/ours-{p} window", True) for p in ("fp32", "int8")),
    Target("stream", "real-time streams of the demo model with a p95 of 300 ms",
           "clients/ours-fp32 sustained", "figure", 100.0, "streams"),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Judgement:
    """A target and the measured value."""

    target: Target
    verdict: Verdict
    value: float | None
    reason: str = ""
    """Reason why it is not judged."""


def judge(result: Result) -> list[Judgement]:
    """Compare a result to the targets of its cases, which are all for a CPU."""
    if result.settings.get("device", "cpu") != "cpu":
        return []
    cases = {case.name for case in result.cases}
    return [
        _judge(target, result)
        for target in TARGETS
        if target.suite == result.suite and target.row.partition("/")[0] in cases
    ]


def _judge(target: Target, result: Result) -> Judgement:
    row = result.find(target.row)
    if row is None:
        return Judgement(target, "not judged", None, "not measured")
    if row.status != "ok":
        verdict: Verdict = "fail" if row.status == "failed" else "not judged"
        return Judgement(target, verdict, None, f"{row.status}: {row.reason}")
    value = _value(target, row, result)
    if value is None:
        return Judgement(
            target, "not judged", None, f"{target.of.rpartition('/')[2]} has no figure"
        )
    if target.full_size and not result.model.full_size:
        return Judgement(target, "not judged", value, "for a model of the size of mms-1b-all")
    wanted = _SETTINGS.get(target.suite, {}) if target.full_size else {}
    if not wanted.items() <= result.settings.items():
        words = ", ".join(f"{name} {value}" for name, value in wanted.items())
        return Judgement(target, "not judged", value, f"for {words}")
    reached = value >= target.limit if target.at_least else value <= target.limit
    return Judgement(target, "pass" if reached else "fail", value)


def _value(target: Target, row: Row, result: Result) -> float | None:
    if target.quantity == "figure":
        return row.figures.get(target.of)
    if target.quantity == "bytes":
        return None if row.peak_memory is None else float(row.peak_memory)
    if row.summary is None:
        return None
    if target.quantity in ("seconds", "per unit"):
        return row.summary.median / (row.amount if target.quantity == "per unit" else 1)
    if target.quantity == "rate":
        return row.amount / row.summary.median
    faster = result.ratio(row, target.of)
    return 1 / faster if faster and target.quantity == "cost" else faster
