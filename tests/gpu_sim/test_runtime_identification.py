"""Identification on the simulated GPU: answers equal those of the fp16 graphs on the CPU."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from engine_sounds import sound
from gpu_sim import bundles
from mms_engine import Identifier, IdentifierOptions
from mms_engine.encoder.emission import Segment
from mms_engine.errors import BackendError
from tiny_models import LID_LABELS, make_tiny_lid

ANY = IdentifierOptions(min_logit=float("-inf"), threads=1)
SECONDS = (3.0, 0.2, 25.0, 1.0)
pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    checkpoint = make_tiny_lid(tmp_path_factory.mktemp("checkpoint") / "tiny-lid")
    out = tmp_path_factory.mktemp("bundle") / "tiny-lid"
    return bundles.add_plans(bundles.export(str(checkpoint), out))


@pytest.fixture
def on_gpu(sim, tiny: Path):
    """The identifier on the simulated GPU; closing it must leave nothing alive."""
    options = dataclasses.replace(ANY, backend="tensorrt")
    with Identifier.open(tiny, options=options) as identifier:
        yield identifier
    left = sim.usage()
    assert (left.allocations, left.host_ranges, left.graphs, left.operations) == (0, 0, 0, 0)
    assert (left.streams, left.events) == (0, 0)


def on_cpu(bundle: Path) -> Identifier:
    return Identifier.open(bundle, options=ANY, device="cpu", precision="fp16")


def test_answers_equal_the_cpu(on_gpu: Identifier, tiny: Path, sim) -> None:
    sim.order(seed=3, slow_copies=True)
    for _ in range(3):  # plain, captured, replayed
        for number, seconds in enumerate(SECONDS):
            samples = sound(seconds, number)
            found = on_gpu.identify(samples, top=99)
            expected = on_cpu(tiny).identify(samples, top=99)
            assert (found.language, len(found.windows)) == (
                expected.language,
                len(expected.windows),
            )
            theirs = {score.code: score.logit for score in expected.scores}
            for score in found.scores:
                assert score.logit == pytest.approx(theirs[score.code], abs=2e-2)
    assert sim.usage().graphs > 0


def test_scores_of_any_batch_are_those_alone(on_gpu: Identifier, tiny: Path) -> None:
    random = np.random.default_rng(0)
    sizes = [400, 5_000, 16_000, 900] * 4
    segments = [Segment(random.normal(size=n).astype(np.float32), "") for n in sizes]
    expected = [on_cpu(tiny)._model.logits([segment])[0] for segment in segments]
    for batch in (slice(0, 16), slice(0, 1), slice(3, 14)):
        for got, wanted in zip(on_gpu._model.logits(segments[batch]), expected[batch], strict=True):
            assert got.shape == (1, len(LID_LABELS))
            np.testing.assert_allclose(got, wanted, atol=3e-2)


def test_closed_model_and_streams_are_refused(sim, tiny: Path) -> None:
    identifier = Identifier.open(tiny, options=dataclasses.replace(ANY, backend="tensorrt"))
    with pytest.raises(BackendError, match="no streaming steps"):
        identifier._model.encoder.steps(None)
    identifier.close()
    identifier.close()
    with pytest.raises(BackendError, match="the model is closed"):
        identifier.identify(sound(1.0))
