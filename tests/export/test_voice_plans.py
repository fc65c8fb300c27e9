"""TensorRT plans of speech synthesis, built without a GPU."""

from pathlib import Path

import pytest

from export_runs import run_export
from mms_export.graphs.vits.voice import ACTIVATIONS
from mms_export.tensorrt.options import USES, PlanOptions
from mms_export.tensorrt.profiles import SpeechExtents
from tiny_voices import TINY, make_voice

CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
EXTENTS = SpeechExtents(frames_per_second=62.5, steps_per_frame=8, vocab=(1, 64, 512))


def test_profiles_hold_one_frame_and_the_longest_sentence() -> None:
    sizes = EXTENTS.sizes(USES["streaming"])
    assert sizes["frames"] == (1, 250, 625)
    assert sizes["steps"] == (1, 2000, 5000)
    assert sizes["tokens"] == (1, 96, 500)


def test_plans_of_all_graphs_take_the_voice_as_inputs(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    voice = make_voice(tmp_path / "eng", "eng", **TINY)
    options = PlanOptions(
        runtime="tensorrt-rtx", capabilities=CAPABILITIES, uses=(USES["streaming"],)
    )
    manifest = run_export(voice, tmp_path / "out", precisions=("fp16",), plans=options)
    assert [plan.graph for plan in manifest.plans] == ["decoder", "flow", "text"]
    for plan in manifest.plans:
        assert plan.compute_capabilities == CAPABILITIES
        weights = [t for t in plan.inputs if t.name not in ACTIVATIONS]
        assert weights
        assert {tensor.dtype for tensor in weights} == {"float16"}
        assert plan.file.size < 50e6
