"""Choice of plans and of optimisation profiles."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mms_engine.bundle.manifest import (
    SCHEMA,
    File,
    Graph,
    Manifest,
    Plan,
    Profile,
    ShapeRange,
    Source,
    Tensor,
    Wav2Vec2Ctc,
)
from mms_engine.errors import BackendError
from mms_engine.tensorrt.buckets import Buckets, round_up
from mms_engine.tensorrt.choose import NoPlan, Target, choose_plan, planned_precision, refusal

HERE = Target("tensorrt-rtx", "1.7.1", "8.6")
FEATURES = Tensor(name="features", dtype="float16", shape=("batch", "frames", 4), meaning="")
BIAS = Tensor(name="head_bias", dtype="float16", shape=("bank_pages", 64), meaning="")


def profile(name: str, batch: tuple[int, int], frames: tuple[int, int]) -> Profile:
    def between(least: tuple[int, ...], most: tuple[int, ...]) -> ShapeRange:
        return ShapeRange(least, least, most)

    return Profile(
        name=name,
        shapes={
            "features": between((batch[0], frames[0], 4), (batch[1], frames[1], 4)),
            "head_bias": between((1, 64), (20, 64)),
        },
    )


PROFILES = (
    profile("offline", (1, 32), (50, 1_800)),
    profile("streaming", (1, 64), (25, 500)),
    profile("long", (1, 4), (1_000, 3_000)),
)
BUCKETS = Buckets((FEATURES, BIAS), PROFILES, length="frames")


def file(path: str) -> File:
    return File(path=path, sha256=path, size=1)


def graph(name: str, precision: str = "fp16") -> Graph:
    return Graph(
        name=name,
        precision=precision,
        files=(file(f"{name}.{precision}.onnx"),),
        opset=20,
        inputs=(FEATURES,),
        outputs=(),
    )


def plan(name: str, precision: str = "fp16", **changes: object) -> Plan:
    made = Plan(
        graph=name,
        precision=precision,
        file=file(f"{name}.{precision}.plan"),
        runtime="tensorrt-rtx",
        runtime_version="1.7.1",
        compute_capabilities=("8.6", "8.9"),
        graph_sha256=f"{name}.{precision}.onnx",
        inputs=(FEATURES,),
        outputs=(),
        profiles=PROFILES,
    )
    return replace(made, **changes)


def manifest(*plans: Plan) -> Manifest:
    return Manifest(
        schema=SCHEMA,
        source=Source(name="", format="", fingerprint="", sha256={}, licence=""),
        sample_rate=16_000,
        model=Wav2Vec2Ctc(
            conv_dim=(4,),
            conv_kernel=(10,),
            conv_stride=(5,),
            num_conv_pos_embeddings=128,
            num_conv_pos_embedding_groups=16,
            normalize=True,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            adapter_attn_dim=2,
            adapter_parameters=10,
        ),
        data_dtype="float16",
        graphs=tuple(graph(s, p) for p in ("fp16", "bf16") for s in ("frontend", "step")),
        data={},
        plans=plans,
    )


BOTH = (plan("frontend"), plan("step"))
BF16 = (plan("frontend", "bf16"), plan("step", "bf16"))


def test_first_precision_with_all_plans_is_chosen() -> None:
    assert planned_precision(manifest(*BOTH, *BF16), ("fp16", "bf16"), HERE) == "fp16"
    assert planned_precision(manifest(*BOTH[:1], *BF16), ("fp16", "bf16"), HERE) == "bf16"
    assert choose_plan(manifest(*BOTH), "step", "fp16", HERE) is BOTH[1]
    with pytest.raises(BackendError, match=r"no bf16 plan of .* step .*rtx --sm 86 .* bf16"):
        choose_plan(manifest(*BOTH), "step", "bf16", HERE)


def test_bundle_without_plans_raises_no_plan() -> None:
    with pytest.raises(NoPlan, match=r"build them with mms-export --engine tensorrt-rtx --sm 86"):
        planned_precision(manifest(), ("fp16",), HERE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"runtime_version": "1.6"}, r"was built by tensorrt-rtx 1\.6, not 1\.7\.1"),
        ({"runtime_version": "1.10"}, "was built by"),
        ({"compute_capabilities": ("9.0",)}, r"is for compute capability 9\.0, this GPU has 8\.6"),
        ({"compute_capabilities": ("8.0",)}, r"is for compute capability 8\.0"),
        ({"graph_sha256": "former"}, "from another graph"),
        # Another precision is another graph.
        ({"graph_sha256": "step.bf16.onnx"}, "from another graph"),
        ({"graph_sha256": "frontend.fp16.onnx"}, "from another graph"),
    ],
)
def test_plan_must_fit_runtime_gpu_and_graph(changes: dict[str, object], reason: str) -> None:
    encoder = plan("step", **changes)
    refused = refusal(manifest(), encoder, HERE)
    assert bool(refused) == bool(reason)
    if reason:
        with pytest.raises(BackendError, match=reason):
            planned_precision(manifest(BOTH[0], encoder), ("fp16",), HERE)


def test_rounding_adds_an_eighth_at_most_and_leaves_few_sizes() -> None:
    sizes = {size: round_up(size) for size in range(1, 100_000)}
    for size, rounded in sizes.items():
        assert size <= rounded <= size * 9 / 8
        assert round_up(rounded) == rounded
        assert size > 16 or rounded == size
    assert len({sizes[size] for size in range(1, 3_001)}) < 80


@given(st.integers(1, 64), st.integers(1, 3_000))
def test_bucket_covers_the_requested_sizes(batch: int, frames: int) -> None:
    fits = any(
        batch <= each.shapes["features"].max[0] and frames <= each.shapes["features"].max[1]
        for each in PROFILES
    )
    if not fits:
        with pytest.raises(BackendError):
            BUCKETS.fit({"batch": batch, "frames": frames}, rounded=("batch", "frames"))
        return
    bucket = BUCKETS.fit({"batch": batch, "frames": frames}, rounded=("batch", "frames"))
    shapes = PROFILES[bucket.profile].shapes["features"]
    for name, size, place in (("batch", batch, 0), ("frames", frames, 1)):
        assert shapes.min[place] <= bucket.sizes[name] <= shapes.max[place]
        assert bucket.sizes[name] >= size


def test_profile_of_the_shortest_audio_is_chosen() -> None:
    def taken(batch: int, frames: int) -> str:
        bucket = BUCKETS.fit({"batch": batch, "frames": frames}, rounded=("batch", "frames"))
        return PROFILES[bucket.profile].name

    assert taken(1, 300) == "streaming"
    assert taken(40, 500) == "streaming"
    assert taken(1, 501) == "offline"
    assert taken(4, 2_000) == "long"


def test_unrounded_sizes_must_be_within_the_profile() -> None:
    assert BUCKETS.fit({"batch": 2, "frames": 900}).profile == 0
    assert BUCKETS.fit({"batch": 2, "frames": 900}).sizes["frames"] == 900
    with pytest.raises(BackendError, match=r"no profile of the plan covers 2 batch, 10 frames"):
        BUCKETS.fit({"batch": 2, "frames": 10})
    with pytest.raises(BackendError, match="21 bank_pages"):
        BUCKETS.fit({"batch": 2, "frames": 900, "bank_pages": 21})


def test_default_profiles_have_sixteen_shapes() -> None:
    profiles = (
        profile("steps", (1, 16), (65, 300)),
        profile("offline", (1, 16), (65, 1_900)),
    )
    buckets = Buckets((FEATURES, BIAS), profiles, length="frames")
    shapes, padded, needed = set(), 0, 0
    for frames in range(65, 1_901):
        for batch in range(1, 17):
            for rows in buckets.parts(batch, frames):
                wanted = {"batch": rows, "frames": frames}
                sizes = buckets.fit(wanted, rounded=("batch", "frames")).sizes
                shapes.add((sizes["batch"], sizes["frames"]))
                padded, needed = padded + sizes["batch"] * sizes["frames"], needed + rows * frames
    assert len(shapes) == 16
    assert padded / needed < 1.5


@given(st.integers(1, 64), st.integers(1, 3_000))
def test_parts_of_a_batch_are_at_least_half_full(batch: int, frames: int) -> None:
    parts = BUCKETS.parts(batch, frames)
    assert sum(parts) == batch
    for rows in parts:
        if rows <= BUCKETS.most("batch", frames=frames):
            bucket = BUCKETS.fit({"batch": rows, "frames": frames}, rounded=("batch", "frames"))
            assert bucket.sizes["batch"] < 2 * rows or frames <= 100 or frames > 1600


def test_maximum_of_a_dimension_depends_on_the_others() -> None:
    assert BUCKETS.most("batch", frames=400) == 64
    assert BUCKETS.most("batch", frames=1_800) == 32
    assert BUCKETS.most("batch", frames=2_500) == 4
    assert BUCKETS.most("batch", frames=4_000) == 0
    assert BUCKETS.most("bank_pages") == 20
