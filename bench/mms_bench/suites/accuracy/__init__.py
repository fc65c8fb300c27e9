"""Suite `accuracy`: error rates on public corpora, beside peers on the same audio."""

from mms_bench.peers import REFERENCE, TRANSCRIBERS
from mms_bench.run.race import Pace
from mms_bench.run.suite import Part, Suite
from mms_bench.suites.accuracy.measure import ERRORS, accuracy_subject, measure_errors

SUITE = Suite(
    name="accuracy",
    peers=tuple(TRANSCRIBERS),
    on_request=("ours-fp16", "ours-bf16"),
    on_cuda=("ours-fp32", "ours-fp16", "ours-bf16", REFERENCE, "faster-whisper"),
    parts=(Part("errors", (ERRORS,), measure_errors),),
    pace=Pace(),
    languages=None,
    table=TRANSCRIBERS,
    subject=accuracy_subject,
)
