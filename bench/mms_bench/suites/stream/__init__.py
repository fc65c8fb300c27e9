"""Streams: what they give, when and at what cost, and how many a machine holds."""

from mms_bench.suites import Part, Suite
from mms_bench.suites.stream import clients, contexts, steps

SUITE = Suite(
    name="stream",
    peers=("ours-fp32", "ours-int8", "transformers", "sherpa-onnx"),
    on_request=("ours-int8",),
    parts=(
        Part("contexts", (contexts.CASE,), contexts.measure),
        Part("steps", (steps.CASE,), steps.measure),
        Part("clients", (clients.CASE,), clients.measure),
    ),
    min_samples=5,
    min_time=4.0,
    warmup=0.5,
    languages=None,
    settings=("clip", "threads", "languages", "recordings", "audio", "pace"),
)
