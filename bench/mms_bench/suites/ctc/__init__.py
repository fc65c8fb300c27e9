"""The CTC kernels: greedy, prefix beam with language model and hotwords, alignment."""

from mms_bench.peers import DECODERS
from mms_bench.suites import Part, Suite
from mms_bench.suites.ctc import age, align, beam, greedy, language, threads

SUITE = Suite(
    name="ctc",
    peers=tuple(DECODERS),
    on_request=("ours-neon", "ours-scalar"),
    parts=(
        Part("greedy", greedy.CASES, greedy.measure),
        Part("beam", beam.CASES, beam.measure),
        Part("wide", beam.WIDE_CASES, beam.measure_wide),
        Part("language", language.CASES, language.measure),
        Part("threads", threads.CASES, threads.measure),
        Part("age", age.CASES, age.measure),
        Part("align", align.CASES, align.measure),
        Part("hour", align.HOUR_CASES, align.measure_hour),
    ),
    min_samples=5,
    min_time=1.0,
    warmup=0.3,
    languages=1,
    settings=("languages", "audio", "pace"),
)
