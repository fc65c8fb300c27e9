"""Optimisation profiles: the shapes of each use."""

from dataclasses import replace
from operator import le

import pytest

from mms_engine.asr.streaming.options import LATENCIES
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Graph, Profile
from mms_engine.encoder.frames import FrameGeometry
from mms_engine.encoder.windows import WindowOptions, plan_windows
from mms_export.checkpoints.open import open_checkpoint
from mms_export.tensorrt.options import MAX_LENGTH_RATIO, USES
from mms_export.tensorrt.profiles import Extents, make_profiles

MMS = FrameGeometry((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2))
EXTENTS = Extents(
    MMS, 16000, history=64, slots=(1, 1024, 2048), pages=(1, 1, 8), bank_pages=(1, 1024, 16384)
)


@pytest.fixture(scope="module")
def graphs(bundle) -> dict[str, Graph]:
    manifest = open_bundle(bundle).manifest
    return {graph.name: graph for graph in manifest.graphs if graph.precision == "fp16"}


def profiles(graph: Graph) -> dict[str, Profile]:
    made = make_profiles(graph.inputs, tuple(USES.values()), EXTENTS)
    return {profile.name: profile for profile in made}


def test_no_profile_spans_a_hundredfold(graphs):
    for profile in profiles(graphs["frontend"]).values():
        audio = profile.shapes["audio"]
        assert audio.max[1] < MAX_LENGTH_RATIO * audio.min[1]
    for profile in profiles(graphs["encoder"]).values():
        features = profile.shapes["features"]
        assert features.max[1] < MAX_LENGTH_RATIO * features.min[1]
        assert features.min[1] <= features.opt[1] <= features.max[1]


def test_every_input_has_a_shape_in_every_profile(graphs):
    for graph in graphs.values():
        for profile in profiles(graph).values():
            assert set(profile.shapes) == {tensor.name for tensor in graph.inputs}
            for tensor in graph.inputs:
                extent = profile.shapes[tensor.name]
                for size, *chosen in zip(
                    tensor.shape, extent.min, extent.opt, extent.max, strict=True
                ):
                    assert chosen == sorted(chosen)
                    assert isinstance(size, str) or set(chosen) == {size}


def test_frontend_runs_in_slices_of_one_length(graphs):
    (profile,) = profiles(graphs["frontend"]).values()
    audio = profile.shapes["audio"]
    assert (profile.name, audio.min, audio.max) == ("slices", (1, 32_080), (8, 32_080))
    assert MMS.frames(32_080) == 100
    for name in USES:
        longest = profiles(graphs["encoder"])[name].shapes["features"].max[1]
        assert longest % 100 == 0, "rows of the encoder are whole slices"
    small = (USES["streaming"].limited(4, 10),)
    (profile,) = make_profiles(graphs["frontend"].inputs, small, EXTENTS)
    assert profile.shapes["audio"].max == (2, 32_080)
    odd = (USES["offline"].limited(4, 30.5),)
    (profile,) = make_profiles(graphs["encoder"].inputs, odd, EXTENTS)
    assert profile.shapes["features"].max[:2] == (4, 1_600)


def test_frames_and_samples_of_a_server_match(graphs):
    whole = {
        profile.name: profile
        for profile in make_profiles(
            graphs["frontend"].inputs, tuple(USES.values()), EXTENTS, whole=True
        )
    }
    for name in USES:
        audio = whole[name].shapes["audio"]
        features = profiles(graphs["encoder"])[name].shapes["features"]
        for samples, frames in ((audio.min, features.min), (audio.opt, features.opt)):
            assert MMS.frames(samples[1]) == frames[1], name
            assert MMS.frames(samples[1] - 1) == frames[1] - 1
        assert MMS.frames(audio.max[1]) == features.max[1]
        assert MMS.frames(audio.max[1] + 1) == features.max[1] + 1


def test_recognizer_windows_fit_the_offline_profile(graphs):
    most = profiles(graphs["encoder"])["offline"].shapes["features"].max[1]
    windows = plan_windows(100_000, WindowOptions(), frame_seconds=MMS.stride / 16000)
    assert max(window.frames for window in windows) == most == 1800


def test_steps_of_every_latency_fit_the_profile(graphs):
    made = profiles(graphs["step"])
    assert list(made) == ["steps", "offline", "long"]
    shapes = made["steps"].shapes
    for options in LATENCIES.values():
        new = round((options.chunk_seconds + options.right_seconds) * 50)
        assert shapes["features"].min[1] <= 64 + new <= shapes["features"].max[1]
        kept = [shape[2] for shape in (shapes["keys.0"].min, shapes["keys.0"].max)]
        assert kept[0] <= round(options.left_seconds * 50) <= kept[1]


def test_whole_utterances_are_steps_without_a_cache(graphs):
    made = profiles(graphs["step"])
    windows = plan_windows(100_000, WindowOptions(), frame_seconds=MMS.stride / 16000)
    longest = max(window.frames for window in windows)
    shapes = made["offline"].shapes
    assert shapes["features"].min[1] == 64 + 1
    assert shapes["features"].max[:2] == (16, 1_900)
    assert 64 + longest <= 1_900
    assert {shapes["keys.0"].max[2], shapes["keep"].max[0]} == {1}
    assert made["steps"].shapes["features"].max[1] == 300, "whole slices, for short utterances"
    (_, only) = make_profiles(graphs["step"].inputs, (USES["streaming"],), EXTENTS)
    assert (only.name, only.shapes["features"].max[1]) == ("streaming", 600)


def test_joined_profile_covers_steps_and_whole_utterances(graphs):
    inputs = graphs["step"].inputs
    apart = {one.name: one for one in make_profiles(inputs, tuple(USES.values()), EXTENTS)}
    joined, last = make_profiles(inputs, tuple(USES.values()), EXTENTS, joined=True)
    assert (joined.name, last) == ("steps, offline", apart["long"])
    for name, extent in joined.shapes.items():
        parts = [apart[use].shapes[name] for use in ("steps", "offline")]
        assert extent.min == tuple(map(min, *(part.min for part in parts)))
        assert extent.max == tuple(map(max, *(part.max for part in parts)))
        assert all(map(le, extent.min, extent.opt))
        assert all(map(le, extent.opt, extent.max))


def test_more_rows_of_steps_than_of_whole_utterances_keep_a_profile(graphs):
    uses = (USES["streaming"].limited(64, 10), USES["offline"])
    made = make_profiles(graphs["step"].inputs, uses, EXTENTS, joined=True)
    assert [one.name for one in made] == ["steps", "offline"], "64 rows of 36 s take gigabytes"


def test_step_batches_are_those_of_the_streaming_use(graphs):
    few = (USES["streaming"].limited(4, 10), USES["long"])
    for uses, batch in ((few, (1, 4, 4)), (few[1:], (1, 4, 16))):
        profile, *_ = make_profiles(graphs["step"].inputs, uses, EXTENTS)
        extent = profile.shapes["slot"]
        assert (*extent.min, *extent.opt, *extent.max) == batch


def test_plan_has_room_for_more_languages_than_the_checkpoint(checkpoint):
    extents = Extents.of(open_checkpoint(str(checkpoint)))
    assert extents.slots == (1, 1024, 2048)
    assert extents.pages == (1, 1, 8)
    assert extents.bank_pages == (1, 1024, 16384)


def test_plan_has_room_for_every_head(checkpoint):
    source = open_checkpoint(str(checkpoint))
    many = dict.fromkeys(map(str, range(3000)), source.adapters["eng"])
    labels = replace(source.adapters["eng"].labels, tokens=("a",) * 3000)
    wide = replace(source.adapters["eng"], labels=labels)
    extents = Extents.of(replace(source, adapters={**many, "wide": wide}))
    assert extents.slots[2] == 4096
    assert extents.pages[2] >= 47
    assert extents.bank_pages[2] >= 3000 + 47 + 1


@pytest.mark.parametrize(("batch", "seconds"), [(0, 5), (1, 0.4), (1, 50), (1, float("nan"))])
def test_limits_out_of_range(batch, seconds):
    with pytest.raises(ValueError, match=r"streaming takes a batch of at least 1 and from 0\.5 s"):
        USES["streaming"].limited(batch, seconds)
