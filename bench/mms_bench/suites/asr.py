"""Recognition: speed on a clip and on batches, change of language, cold start."""

from mms_bench.peers import ON_CUDA, PEERS
from mms_bench.suites import Part, Suite, batch, clip, cold, switch

SUITE = Suite(
    name="asr",
    peers=tuple(PEERS),
    on_request=("ours-fp16", "ours-bf16"),  # half precision on a CPU is emulated
    on_cuda=ON_CUDA,
    parts=(
        Part("clip", (clip.CASE,), clip.measure),
        Part("batch", batch.CASES, batch.measure),
        Part("switch", switch.CASES, switch.measure),
        Part("cold", (cold.CASE,), cold.measure),
    ),
    min_samples=5,
    warmup=2.0,
    languages=8,
    settings=("device", "clip", "batch", "threads", "languages", "audio", "pace"),
)
