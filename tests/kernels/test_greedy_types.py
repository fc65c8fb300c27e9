"""Greedy decoding of each type, kind and size of scores, on each instruction set, bit for bit."""

import ml_dtypes
import numpy as np
import pytest

from greedy_results import assert_close, assert_same, decode, random_logits
from mms_kernels import GreedyDecoder, _ctc, greedy_decode, reference

SMALL = (np.float16, ml_dtypes.bfloat16)
VOCABULARIES = [1, 2, 15, 16, 17, 31, 32, 100, 255, 256, 257, 271, 272, 273, 512, 530, 1000, 3001]


@pytest.fixture(params=_ctc.isas())
def isa(request):
    before = _ctc.isa()
    _ctc.use_isa(request.param)
    yield request.param
    _ctc.use_isa(before)


def on_scalar(logits, **options):
    before = _ctc.isa()
    _ctc.use_isa("scalar")
    result = decode(logits, **options)
    _ctc.use_isa(before)
    return result


@pytest.mark.parametrize("vocab", VOCABULARIES)
def test_every_instruction_set_gives_the_same_bits(isa, vocab):
    for spread in (0.1, 5.0):
        logits = random_logits(130, vocab, seed=vocab, spread=spread, blank=0)
        result = decode(logits)
        assert_same(result, on_scalar(logits))
        assert_close(result, reference.greedy_decode(logits))


@pytest.mark.parametrize("vocab", VOCABULARIES)
@pytest.mark.parametrize("dtype", SMALL)
def test_small_types_give_the_bits_of_their_numbers_as_float32(isa, dtype, vocab):
    small = random_logits(130, vocab, seed=vocab, blank=0).astype(dtype)
    small[:, vocab // 2] = -np.inf if vocab > 1 else 0
    assert_same(decode(small), decode(small.astype(np.float32)))


@pytest.mark.parametrize("dtype", SMALL)
def test_every_number_of_a_small_type_is_read_exactly(isa, dtype):
    """One frame a number, beside the next lower one, which must lose against it."""
    numbers = np.arange(2**16, dtype=np.uint16).view(dtype)
    numbers = np.sort(np.unique(numbers[np.isfinite(numbers.astype(np.float32))]))
    frames = np.full((len(numbers) - 1, 18), -np.inf, dtype)
    frames[:, 3], frames[:, 17] = numbers[:-1], numbers[1:]
    result = decode(frames, kind="log_probs")
    assert result.tokens.tolist() == [17]
    for start in range(0, len(frames), 997):
        piece = decode(frames[start : start + 1], kind="log_probs")
        assert piece.peaks == numbers[start + 1].astype(np.float32)
    mean = numbers[1:].astype(np.float64).mean()
    assert result.scores == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("vocab", [5, 40, 700])
def test_lowest_of_equal_tokens_wins_wherever_they_are(isa, vocab):
    logits = np.zeros((vocab, vocab), np.float32)
    for low in range(vocab):
        logits[low, [low, vocab - 1, (low + vocab) // 2]] = 1.0
    decoder = GreedyDecoder(blank=0)
    decoder.step(logits)
    assert decoder.finish().tokens.tolist() == list(range(1, vocab))


@pytest.mark.parametrize("vocab", [3, 17, 300, 1000])
@pytest.mark.parametrize("dtype", [np.float32, *SMALL])
@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "holds NaN"), (-np.nan, "holds NaN"), (np.inf, r"holds \+inf")]
)
def test_what_is_no_score_is_found_anywhere(isa, vocab, dtype, value, message):
    for place in {0, 1, vocab // 2, vocab - 2, vocab - 1}:
        logits = random_logits(70, vocab).astype(dtype)
        logits[66, place] = value
        with pytest.raises(ValueError, match=rf"^row 0: frame 66 of the logits {message}$"):
            decode(logits)
    logits[66] = -np.inf
    with pytest.raises(ValueError, match=r"frame 66 of the logits is -inf for every token$"):
        decode(logits)


def test_log_probabilities_are_scored_as_they_are(isa):
    scores = np.array([[-3.0, -0.5, -2.0], [-9.0, -0.25, -1.0], [0.0, -5.0, -5.0]], np.float32)
    result = decode(scores, kind="log_probs")
    assert result.tokens.tolist() == [1]
    assert (result.scores.tolist(), result.peaks.tolist()) == ([-0.375], [-0.25])


def test_log_probabilities_of_logits_give_the_scores_of_the_logits(isa):
    logits = random_logits(200, 33, blank=0)
    log_probs = reference.log_softmax(logits).astype(np.float32)
    assert_close(decode(log_probs, kind="log_probs"), decode(logits))


@pytest.mark.parametrize("first", [0.0, -0.0])
def test_either_zero_gives_the_same_score(isa, first):
    scores = np.full((1, 20), -4.0, np.float32)
    scores[0, 2], scores[0, 18] = first, -first
    assert decode(scores, kind="log_probs").scores.tobytes() == np.float32(0.0).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, *SMALL])
def test_batches_and_pieces_of_every_type_agree(isa, dtype):
    logits = np.stack([random_logits(150, 21, seed=seed, blank=0) for seed in range(5)])
    logits = logits.astype(dtype)
    lengths = np.array([150, 0, 1, 149, 64])
    for row, result in enumerate(greedy_decode(logits, lengths, threads=2)):
        decoder = GreedyDecoder()
        for start in range(0, lengths[row], 37):
            decoder.step(logits[row, start : min(start + 37, lengths[row])])
        assert_same(decoder.finish(), result)
