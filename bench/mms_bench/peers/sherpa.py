"""sherpa-onnx: whether it can run our encoder, as its simulated streaming would."""

import subprocess
import sys
from pathlib import Path

from mms_bench.errors import NotHere
from mms_bench.peers.installed import versions

_SECONDS = 60.0
# In a process of its own: it ends the process where a graph is not to its taste.
_PROBE = """
import sys
import numpy as np
import sherpa_onnx

make = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc
recognizer = make(model=sys.argv[1], tokens=sys.argv[2], num_threads=1)
stream = recognizer.create_stream()
stream.accept_waveform(16000, np.zeros(16000, np.float32))
recognizer.decode_stream(stream)
"""


def why_not(bundle: str, tokens: Path) -> str:
    """Say why sherpa-onnx takes no part.

    Its nearest model, wav2vec 2.0 with CTC (Omnilingual ASR), is one graph from samples to logits
    with its language inside; ours are two, and the adapters come in as tensors.

    Args:
        bundle: The bundle, whose encoder is tried.
        tokens: Where the list of tokens may be written that it asks for.
    """
    try:
        version = versions("sherpa-onnx")["sherpa-onnx"]
    except NotHere as reason:
        return str(reason)
    graphs = sorted(Path(bundle, "graphs").glob("encoder.fp32.onnx")) if bundle else []
    if not graphs:
        return "there is no bundle with an fp32 encoder to try"
    tokens.write_text("<pad> 0\n<unk> 1\na 2\n", encoding="utf-8")
    command = (sys.executable, "-c", _PROBE, str(graphs[0]), str(tokens))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{version} did not answer within {_SECONDS:g} s"
    if done.returncode == 0:
        return f"{version} runs a graph that takes features, but not the two of a bundle in turn"
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return f"{version} cannot run the encoder: {lines[-1].strip()[:200]}"
