"""Suite `stream`: error rate, delay and compute of streams, and streams per machine."""

from mms_bench.run.race import Pace
from mms_bench.run.suite import Part, Suite
from mms_bench.suites.stream.clients import CLIENTS, measure_clients
from mms_bench.suites.stream.contexts import CONTEXTS, measure_contexts
from mms_bench.suites.stream.steps import STEPS, measure_steps

SUITE = Suite(
    name="stream",
    peers=("ours-fp32", "ours-int8"),
    on_request=("ours-int8",),
    parts=(
        Part("contexts", (CONTEXTS,), measure_contexts),
        Part("steps", (STEPS,), measure_steps),
        Part("clients", (CLIENTS,), measure_clients),
    ),
    pace=Pace(warmup=0.5, min_time=4.0),
    languages=None,
)
