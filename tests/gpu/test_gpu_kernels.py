"""Compiled CUDA kernels compared with the CPU's."""

import numpy as np
import pytest

from cuda_beam import Beam
from cuda_emulation import Greedy, align, codes
from gpu.conftest import refuse
from greedy_results import assert_close, random_logits
from mms_kernels import GreedyResult, greedy_decode
from mms_kernels.align import forced_align
from mms_kernels.beam import BeamDecoder
from mms_kernels.beam_values import BeamOptions
from mms_kernels.cuda import fatbin_path
from mms_kernels.cuda.arguments import Code

pytestmark = pytest.mark.needs_cuda


@pytest.fixture(scope="module", params=[32, 256])
def device(request, gpu):
    if fatbin_path() is None:
        refuse("this installation has no CUDA kernels: reinstall it with nvcc on the path")
    try:
        import pycuda.driver  # noqa: F401
    except ImportError as error:
        refuse(f"pycuda cannot be used ({error})")
    from gpu_device import GpuDevice

    found = GpuDevice(request.param)
    yield found
    found.close()


def batch(rows, frames, vocab):
    return np.stack([random_logits(frames, vocab, seed=row) for row in range(rows)])


@pytest.mark.parametrize("vocab", [2, 33, 154, 3001])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_greedy(device, vocab, kind):
    logits = batch(5, 300, vocab).astype(kind)
    lengths = np.array([300, 1, 299, 0, 150])
    status, rows = Greedy(device, 5).step(logits, lengths, finish=True)
    assert codes(status) == [Code.OK] * 5
    for found, expected in zip(rows, greedy_decode(logits, lengths, blank=0), strict=True):
        assert_close(GreedyResult(**found), expected, 1e-5)


def test_greedy_cut_anywhere_gives_the_same_bits(device):
    logits = batch(2, 257, 40)

    def run(cuts):
        streams, found = Greedy(device, 2), []
        for part in np.split(logits, cuts, axis=1):
            last = part.shape[1] == 257 - (cuts[-1] if cuts else 0)
            _, rows = streams.step(part, [part.shape[1]] * 2, finish=last)
            found.append(rows)
        return [
            {k: np.concatenate([rows[r][k] for rows in found]) for k in found[0][r]} for r in (0, 1)
        ]

    whole = run([])
    for cuts in ([1], [32, 64], [100, 101, 250]):
        for mine, theirs in zip(run(cuts), whole, strict=True):
            for name, values in theirs.items():
                np.testing.assert_array_equal(mine[name], values, err_msg=name)


def test_alignment_is_the_same_to_the_last_bit(device):
    logits = batch(3, 400, 40).astype(np.float64)
    log_probs = (logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)).astype(np.float32)
    random = np.random.default_rng(1)
    targets = [random.integers(1, 40, size).astype(np.int32) for size in (1, 33, 120)]
    for shared in (True, False):
        status, scores, spans = align(device, log_probs, targets, shared=shared)
        assert codes(status) == [Code.OK] * 3
        for row, target in enumerate(targets):
            (expected,) = forced_align(log_probs[row : row + 1], target[None], kind="log_probs")
            assert scores[row] == expected.score
            starts, ends, _ = spans[row]
            assert [(s.start, s.end) for s in expected.spans] == list(
                zip(starts, ends, strict=True)
            )


def test_beam(device):
    logits = batch(3, 120, 30).astype(np.float64)
    log_probs = (logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)).astype(np.float32)
    beam = Beam(device, 3, 30, beam_size=16)
    assert beam.step(log_probs) == [Code.OK] * 3
    decoder = BeamDecoder(BeamOptions(beam_size=16, blank=0))
    expected = decoder.decode(log_probs, np.full(3, 120), kind="log_probs")
    for found, wanted in zip(beam.results(), expected, strict=True):
        np.testing.assert_array_equal(found[0].tokens, wanted[0].tokens)
        np.testing.assert_array_equal(found[0].starts, wanted[0].starts)
        assert found[0].log_prob == pytest.approx(wanted[0].log_prob, abs=1e-3)
