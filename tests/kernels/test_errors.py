"""Bad input: one clear error per fault, equal for all implementations, and state unchanged."""

import ml_dtypes
import numpy as np
import pytest

from ctc_cases import assert_same, decode, log_probs, random_logits
from cuda_beam import Beam
from cuda_emulation import Greedy, align, codes
from mms_kernels import (
    BeamDecoder,
    BeamOptions,
    GreedyDecoder,
    _ctc,
    arrays,
    forced_align,
    greedy_decode,
)
from mms_kernels.cuda.arguments import Code, beam_least_arena

DECODERS = ["greedy", "beam", "align"]
FAULTS = [
    (np.nan, "holds NaN"),
    (-np.nan, "holds NaN"),
    (np.inf, r"holds \+inf"),
    (-np.inf, "is -inf for every token"),
]
LOGITS = np.zeros((1, 6, 4), np.float32)
TARGETS = np.array([[1, 2, 2]])


def call(ctc, decoder, logits, lengths, **options):
    if decoder == "greedy":
        return ctc.greedy(logits, lengths, **options)
    if decoder == "beam":
        return ctc.beam(logits, lengths, beam_size=4, **options)
    return ctc.align(logits, [[1]] * len(logits), np.asarray(lengths), **options)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("value", "message"), FAULTS)
@pytest.mark.parametrize("kind", ["logits", "log_probs"])
def test_bad_frame_is_named(ctc, decoder, value, message, kind):
    for vocab, frame in ((5, 7), (40, 0), (17, 39), (300, 32)):
        for place in {0, 1, vocab // 2, vocab - 1}:
            logits = random_logits(40, vocab)[None].repeat(3, axis=0)
            logits[1, frame, ... if np.isneginf(value) else place] = value
            with pytest.raises(
                ValueError, match=rf"^row 1: frame {frame} of the logits {message}$"
            ):
                call(ctc, decoder, logits, [40, 40, 40], kind=kind)
        if decoder != "align":  # a target needs frames
            call(ctc, decoder, logits, [40, frame, 40], kind=kind)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_bad_frame_of_half_precision_is_named(ctc, dtype):
    for value, message in FAULTS[:3]:
        logits = random_logits(10, 33)[None].astype(dtype)
        logits[0, 6, 31] = value
        with pytest.raises(ValueError, match=f"frame 6 of the logits {message}"):
            ctc.greedy(logits, [10])
    both = np.array([[[np.inf, np.nan, 0.0]]], np.float32)
    with pytest.raises(ValueError, match="holds NaN"):
        ctc.greedy(both, [1])


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("length", [-1, 4, 2**40])
def test_length_out_of_range(ctc, decoder, length):
    logits = np.zeros((2, 3, 5), np.float32)
    message = f"^row 1: length is {length}, the logits have 3 frames$"
    with pytest.raises(ValueError, match=message):
        call(ctc, decoder, logits, [3, length])


@pytest.mark.parametrize("threads", [1, 4])
def test_error_of_the_lowest_row_is_raised(threads):
    logits = np.zeros((20, 5, 3), np.float32)
    logits[[19, 6, 11], 2] = np.nan
    lengths = np.full(20, 5)
    for _ in range(10):
        with pytest.raises(ValueError, match=r"^row 6: frame 2 "):
            greedy_decode(logits, lengths, threads=threads)
    with pytest.raises(ValueError, match=r"^row 6: frame 2 "):
        BeamDecoder().decode(logits, lengths, threads=threads)
    with pytest.raises(ValueError, match=r"^row 6: frame 2 "):
        forced_align(logits, np.ones((20, 1), np.int64), threads=threads)


def test_failed_step_leaves_stream_unchanged(ctc):
    scores = log_probs(40, 6, blank=2)
    bad = scores[20:].copy()
    bad[7, 3] = np.nan
    stream = ctc.stream(beam_size=12, blank=2)
    stream.step(scores[:20])
    before = stream.partial(nbest=12).hypotheses
    with pytest.raises(ValueError, match=r"^frame 27 of the logits holds NaN$"):
        stream.step(bad)
    assert stream.frames == 20
    assert_same(stream.partial(nbest=12).hypotheses, before)
    stream.step(scores[20:])
    found = stream.finish(nbest=12)
    assert_same(found, ctc.beam(scores[None], [40], beam_size=12, blank=2)[0])


def test_failed_greedy_step_leaves_decoder_unchanged():
    logits = random_logits(40, 5)
    decoder = GreedyDecoder()
    decoder.step(logits[:20])
    bad = logits[20:].copy()
    bad[9, 3] = np.nan
    with pytest.raises(ValueError, match=r"^frame 29 of the logits holds NaN$"):
        decoder.step(bad)
    message = "^the logits have 6 tokens, those of earlier steps had 5$"
    with pytest.raises(ValueError, match=message):
        decoder.step(np.zeros((3, 6), np.float32))
    assert decoder.frames == 20
    decoder.step(logits[20:])
    assert_same(decoder.finish(), greedy_decode(logits[None], np.array([40]))[0])


def test_cuda_reports_codes_and_leaves_streams_unchanged(device):
    logits = np.stack([random_logits(40, 6, seed=row) for row in range(5)])
    greedy = Greedy(device, 5)
    greedy.step(logits, [40] * 5)
    before = greedy.streams.copy()
    bad = logits.copy()
    bad[0, 35, 5], bad[1, 0, 0], bad[2, 39] = np.nan, np.inf, -np.inf
    bad[3, 39] = np.nan  # beyond its length
    status, rows = greedy.step(bad, [40, 40, 40, 39, 41])
    assert codes(status) == [Code.NAN, Code.INFINITE, Code.EMPTY, Code.OK, Code.LENGTH]
    assert status["frame"].tolist() == [35, 0, 39, 0, 0]
    assert [len(row["tokens"]) for row in rows][:3] == [0, 0, 0]
    assert all(greedy.streams[row] == before[row] for row in (0, 1, 2, 4))
    status, _ = greedy.step(logits, [40] * 5, capacity=40)
    assert codes(status) == [Code.CAPACITY] * 5
    cases = np.stack([log_probs(6, 5, seed=row) for row in range(4)])
    least = beam_least_arena(4)
    assert Beam(device, 4, 5, beam_size=4, arena=least).step(cases) == [Code.OK] * 4
    assert Beam(device, 4, 5, beam_size=4, arena=least - 1).step(cases) == [Code.CAPACITY] * 4
    beam = Beam(device, 4, 5, beam_size=4)
    beam.step(cases)
    beam.rest(capacity=1)
    assert beam.status["code"].tolist() == [Code.CAPACITY] * 4


def test_cuda_alignment_reports_codes(device):
    data = np.zeros((7, 3, 2), np.float32)
    data[6, :, 1] = -np.inf
    targets = [[], [1], [1, 1], [1, 1, 1], [0], [2], [1]]
    status, totals, spans = align(device, data, targets, lengths=[0, 0, 3, 3, 3, 3, 3])
    ok, target, infeasible = Code.OK, Code.TARGET, Code.INFEASIBLE
    assert codes(status) == [ok, infeasible, ok, infeasible, target, target, Code.IMPOSSIBLE]
    assert totals[0] == 0
    assert (spans[2][0].tolist(), spans[2][1].tolist()) == ([0, 2], [1, 3])
    assert np.isneginf(totals[[1, 3, 4, 5, 6]]).all()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([1, 2, 3, 1, 2, 3, 1], "takes at least 7 frames, L = 7 and a blank before each of R = 0"),
        (
            [1, 1, 1, 1],
            "takes at least 7 frames, L = 4 .* R = 3 repeats, the logits have T = 6",
        ),
        ([1, 0], "token 1 of the target is 0, the blank: leave blanks out"),
        ([1, 2, 4], "token 2 of the target is 4, the logits have only 4 tokens"),
        ([-1], "token 0 of the target is -1, which is no token, nor the star of this call"),
        ([2**40], "token 0 of the target is 1099511627776, the logits have only 4 tokens"),
    ],
)
def test_bad_targets(target, message):
    with pytest.raises(ValueError, match=f"^row 0: .*{message}"):
        forced_align(LOGITS[0], np.array(target))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blank": -1}, "blank is -1, it must not be negative"),
        ({"blank": 4}, "blank is 4, the logits have only 4 tokens"),
        ({"star": 3}, "star is 3, which is a token of the logits: use -1"),
        ({"star": -1, "star_score": 0.5}, "star_score must be a log-probability, at most 0"),
        ({"star": -1, "star_score": np.nan}, "star_score must be a log-probability, at most 0"),
        ({"band": 0}, "band is 0, it must be at least 1, or None"),
        ({"kind": "probs"}, "kind is 'probs', it must be 'logits' or 'log_probs'"),
        ({"threads": 0}, "threads is 0, it must be at least 1"),
        ({"max_bytes": 1000}, r"max_bytes is 1000, to align 6 frames to this target takes \d+"),
        ({"max_bytes": -1}, r"max_bytes is -1, to align"),
        ({"lengths": np.array([3])}, "takes at least 4 frames"),
        ({"target_lengths": np.array([4])}, "target length is 4, the targets have 3 tokens"),
        ({"target_lengths": np.array([-1])}, "target length is -1, the targets have 3 tokens"),
        ({"lengths": np.array([6, 6])}, "lengths has 2 rows, the batch has 1"),
    ],
)
def test_bad_alignment_options(options, message):
    with pytest.raises(ValueError, match=message):
        forced_align(LOGITS, TARGETS, **options)


@pytest.mark.parametrize("band", [None, 1])
@pytest.mark.parametrize("size", [1, 40])
def test_target_of_probability_zero(band, size):
    logits = np.zeros((100, 5), np.float32)
    logits[:, 3] = -np.inf
    target = [1, 2] * size
    target[size] = 3
    with pytest.raises(ValueError, match=r"^row 0: no path has a probability"):
        forced_align(logits, np.array(target), band=band)
    logits = np.zeros((100, 5), np.float32)
    logits[50, 0] = -np.inf
    with pytest.raises(ValueError, match=r"^row 0: no path has a probability"):
        forced_align(logits, np.zeros(0, int))


@pytest.mark.parametrize("blank", [5, -1])
def test_blank_out_of_range(blank):
    text = "the logits have only 5 tokens" if blank > 0 else "it must not be negative"
    with pytest.raises(ValueError, match=f"^row 0: blank is {blank}, {text}$"):
        greedy_decode(np.zeros((1, 3, 5), np.float32), np.array([3]), blank=blank)
    if blank < 0:
        with pytest.raises(ValueError, match=r"^blank is -1, it must not be negative$"):
            GreedyDecoder(blank)
    else:
        with pytest.raises(ValueError, match="blank is 5"):
            decode(np.zeros((3, 5), np.float32), blank=blank)


def test_bad_calls():
    scores, one = log_probs(3, 4)[None], np.array([3])
    decoder = BeamDecoder(BeamOptions())
    for options, message in (
        ({"nbest": 0}, "nbest must be at least 1"),
        ({"threads": 0}, "threads is 0, it must be at least 1"),
        ({"kind": "probs"}, "kind is 'probs', it must be 'logits' or 'log_probs'"),
    ):
        with pytest.raises(ValueError, match=message):
            decoder.decode(scores, one, **options)
        if "nbest" not in options:
            with pytest.raises(ValueError, match=message):
                greedy_decode(scores, one, **options)
    with pytest.raises(ValueError, match="kind is 'probs'"):
        GreedyDecoder(kind="probs")
    with pytest.raises(ValueError, match="6"):
        stream = decoder.stream()
        stream.step(np.zeros((3, 6), np.float32))
        stream.step(np.zeros((3, 7), np.float32))
    with pytest.raises(ValueError, match=r"^the scores must be float32, float16 or bfloat16"):
        _ctc.GreedyStream(0, "logits").step(np.zeros((2, 3), np.float64))


GOOD = np.zeros((2, 3, 4), np.float32)
FLOATS = "logits must be float32, float16 or bfloat16"
STRIDES = "C-contiguous and aligned, got strides"
COPY = "pass numpy.ascontiguousarray(array)"
FOREIGN = GOOD.astype(GOOD.dtype.newbyteorder())
UNALIGNED = np.zeros(97, np.uint8)[1:].view(np.float32).reshape(2, 3, 4)
WRONG_BATCHES = {
    f"{FLOATS}[B, T, V], got float64[2, 3, 4]": GOOD.astype(np.float64),
    f"{FLOATS}[B, T, V], got uint16[2, 3, 4]": GOOD.astype(np.uint16),
    f"{FLOATS}[B, T, V], got float32[2, 3, 4] of foreign byte order": FOREIGN,
    f"{FLOATS}[B, T, V], got float32[4]": GOOD[0, 0],
    "logits must be a NumPy array float32, float16 or bfloat16[B, T, V], got list": GOOD.tolist(),
    f"logits must be {STRIDES} [48, 16, 8] for float32[2, 3, 2]: {COPY}": GOOD[:, :, ::2],
    f"logits must be {STRIDES} [48, 16, 4] for float32[2, 3, 4]: {COPY}": UNALIGNED,
    f"logits must be {STRIDES} [48, 4, 16] for float32[2, 4, 3]: {COPY}": GOOD.transpose(0, 2, 1),
}
WRONG_LENGTHS = {
    "lengths must be int64[B], got int32[2]": np.array([3, 3], np.int32),
    "lengths must be int64[B], got int64[1, 2]": np.array([[3, 3]]),
    "lengths must be a NumPy array int64[B], got list": [3, 3],
    f"lengths must be {STRIDES} [16] for int64[2]: {COPY}": np.array([3, 9, 3])[::2],
    "logits has 2 rows, lengths has 1": np.array([3]),
}
WRONG_STEPS = {
    f"{FLOATS}[T, V], got float32[2, 3, 4]": GOOD,
    f"{FLOATS}[T, V], got int64[3, 4]": np.zeros((3, 4), np.int64),
    f"logits must be {STRIDES} [4, 16] for float32[4, 3]: {COPY}": GOOD[0].T,
}


def refused(message, function, *args):
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args)
    assert str(caught.value) == message


@pytest.mark.parametrize("message", WRONG_BATCHES)
def test_wrong_batches(message):
    for function in (greedy_decode, BeamDecoder().decode):
        refused(message, function, WRONG_BATCHES[message], np.array([3, 3]))
    refused(message, forced_align, WRONG_BATCHES[message], np.ones((2, 1), int))


@pytest.mark.parametrize("message", WRONG_LENGTHS)
def test_wrong_lengths(message):
    for function in (greedy_decode, BeamDecoder().decode):
        refused(message, function, GOOD, WRONG_LENGTHS[message])


@pytest.mark.parametrize("message", WRONG_STEPS)
def test_wrong_steps(message):
    for stream in (GreedyDecoder(), BeamDecoder().stream()):
        refused(message, stream.step, WRONG_STEPS[message])


def test_wrong_targets():
    refused(
        "targets must be integers [B, L], got float64[1, 3]",
        forced_align,
        LOGITS,
        TARGETS.astype(float),
    )
    refused(
        "targets must be integers [B, L], got int64[1, 1, 3]", forced_align, LOGITS, TARGETS[None]
    )
    refused("logits has 2 rows, targets has 1", forced_align, LOGITS.repeat(2, 0), TARGETS)
    refused(
        "lengths must be integers [B], got float64[1]",
        forced_align,
        LOGITS,
        TARGETS,
        np.array([6.0]),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_scores_are_passed_on_without_a_copy(dtype):
    given = np.zeros((2, 3), dtype)
    assert np.shares_memory(arrays.scores("x", given, "TV"), given)
