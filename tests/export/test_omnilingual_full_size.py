"""Omnilingual ASR at the true sizes, with random weights: logits, text, streams and batches.

Takes 20 GB of disk, 9 GB of memory and half an hour, so runs only with MMS_FULL_SIZE=1.
MMS_FULL_SIZE_DIR names the working folder, whose checkpoints and bundles are reused.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import OmniASRFeatureExtractor, OmniASRForCTC

from export_runs import run_export
from mms_engine import Recognizer
from mms_engine.asr.pool.options import PoolOptions
from mms_engine.audio import normalize, read_audio
from mms_engine.encoder.emission import Segment
from mms_export.checkpoints import config
from mms_export.parity import SPEECH
from mms_export.synthetic.omnilingual import SPECIAL, main, pieces
from mms_export.tensorrt.options import USES, PlanOptions
from omnilingual_models import final_texts

pytestmark = [
    pytest.mark.full_size,
    pytest.mark.skipif(os.environ.get("MMS_FULL_SIZE") != "1", reason="set MMS_FULL_SIZE=1"),
]
SIZES = {"300M": (423, 325_982_896), "1B": (807, 975_675_056)}
"""Tensors and parameters of the published files of fairseq2 of the second release."""
FOLDED = (1, 128)
"""Tensors and parameters of a weight norm's lengths, which transformers' layout lacks."""
ROWS = 10_288


@pytest.fixture(scope="module", params=SIZES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of transformers, with a `.pt` of fairseq2 below it."""
    named = os.environ.get("MMS_FULL_SIZE_DIR")
    folder = Path(named) if named else tmp_path_factory.mktemp("full")
    out = folder / f"omnilingual-{request.param}"
    if not list(out.glob("fairseq2/*.model")):
        main(["--out", str(out), "--size", request.param, "--fairseq2"], standalone_mode=False)
    return out


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    """A bundle of the file of fairseq2."""
    out = checkpoint.with_name(f"{checkpoint.name}-bundle")
    (pickle,) = checkpoint.glob("fairseq2/*.pt")
    run_export(pickle, out, precisions=("fp32", "int8"))
    return out


@pytest.fixture(scope="module")
def speech() -> list[np.ndarray]:
    samples = read_audio(SPEECH).samples
    return [samples[:80_000], samples[:31_111], samples[40_000:90_000]]


@pytest.fixture(scope="module")
def expected(checkpoint: Path, speech: list[np.ndarray]) -> list[np.ndarray]:
    """The logits `[T, V]` of transformers, computed in one batch."""
    model = OmniASRForCTC.from_pretrained(checkpoint).eval()
    inputs = OmniASRFeatureExtractor()(speech, sampling_rate=16_000)
    with torch.inference_mode():
        logits = model(**inputs).logits.numpy()
    lengths = [(len(clip) - 400) // 320 + 1 for clip in speech]
    return [row[:length] for row, length in zip(logits, lengths, strict=True)]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def recognizer(request: pytest.FixtureRequest, bundle: Path) -> Iterator[Recognizer]:
    with Recognizer.open(bundle, device="cpu", precision=request.param) as opened:
        yield opened


def collapsed(logits: np.ndarray) -> str:
    """Return the text of the best token of each frame, by the rule of the models' pipeline."""
    texts = pieces(ROWS)
    best = logits.argmax(-1)
    changed = best[np.insert(best[1:] != best[:-1], 0, True)]
    return " ".join("".join(texts[row] for row in changed if row >= len(SPECIAL)).split())


def test_tensors_are_those_of_the_published_files(checkpoint: Path) -> None:
    size = checkpoint.name.removeprefix("omnilingual-")
    (pickle,) = checkpoint.glob("fairseq2/*.pt")
    model = torch.load(pickle, weights_only=True, mmap=True)["model"]
    count, parameters = SIZES[size]
    assert (len(model), sum(tensor.numel() for tensor in model.values())) == (count, parameters)
    with safe_open(checkpoint / "model.safetensors", "np") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    found = len(shapes), sum(int(np.prod(shape)) for shape in shapes)
    assert found == (count - FOLDED[0], parameters - FOLDED[1])


def test_logits_and_text_are_those_of_transformers(
    expected: list[np.ndarray],
    recognizer: Recognizer,
    speech: list[np.ndarray],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    segments = [Segment(normalize(clip, 1e-5), "mul") for clip in speech]
    found = recognizer.acoustic.logits(segments)
    errors = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
    best = [a.argmax(-1) == b.argmax(-1) for a, b in zip(found, expected, strict=True)]
    equal = float(np.concatenate(best).mean())
    variant = recognizer.acoustic.encoder.variant
    record_testsuite_property(f"{recognizer.bundle.path.name} {variant} max_abs_error", max(errors))
    record_testsuite_property(f"{recognizer.bundle.path.name} {variant} equal_frames", equal)
    if " fp32 " in variant:
        assert max(errors) <= 2e-3
        texts = [one.text for one in recognizer.transcribe(speech, language="mul")]
        assert texts == [collapsed(logits) for logits in expected]
        assert len(set("".join(texts))) > 1, "the text of random weights is not one letter"
    assert equal >= 0.97


def test_batch_and_stream_are_the_recording_alone(
    recognizer: Recognizer, speech: list[np.ndarray]
) -> None:
    languages = ["mul", "swh", "rus"]
    together = [one.text for one in recognizer.transcribe(speech, languages)]
    for clip, language, text in zip(speech, languages, together, strict=True):
        (alone,) = recognizer.transcribe([clip], language=language)
        assert alone.text == text
    assert len(set(together)) == len(languages)
    options = PoolOptions(admission=False)
    alone, pooled = final_texts(recognizer, speech[1], "mul", options=options, timeout=600)
    assert alone == pooled != ""


@pytest.mark.parametrize("size", ["1B", "3B", "7B"])
def test_plans_are_built_of_two_layers_of_each_width(
    size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads of 80 and 128, and a head of 10,288 tokens: the layers of a model are alike."""
    monkeypatch.setitem(config.OMNILINGUAL_SIZES, size, (2, config.OMNILINGUAL_SIZES[size][1]))
    main(["--out", str(tmp_path / "model"), "--size", size], standalone_mode=False)
    plans = PlanOptions(runtime="tensorrt-rtx", capabilities=("8.9",), uses=tuple(USES.values()))
    manifest = run_export(
        tmp_path / "model", tmp_path / "bundle", precisions=("fp16",), plans=plans
    )
    assert [plan.compute_capabilities for plan in manifest.plans] == [("8.9",)] * 2
    (encoder,) = (plan for plan in manifest.plans if plan.graph != "frontend")
    graph = next(graph for graph in manifest.graphs if graph.name == "encoder")
    weights = sum(file.size for file in graph.files)
    assert weights < encoder.file.size < weights + (32 << 20)
