import itertools

import numpy as np
import pytest

from mms_bench.ctc.scores import collapse, labelling_log_prob, path_log_prob


def random_log_probs(frames, vocab, seed):
    logits = np.random.default_rng(seed).normal(0, 2, (frames, vocab))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def by_enumeration(log_probs):
    """Return the probability of each labelling: that of all its paths, one by one."""
    frames, vocab = log_probs.shape
    found = {}
    for path in itertools.product(range(vocab), repeat=frames):
        labels = tuple(key for key, _ in itertools.groupby(path) if key)
        probability = np.exp(log_probs[np.arange(frames), path].astype(np.float64).sum())
        found[labels] = found.get(labels, 0.0) + probability
    return found


@pytest.mark.parametrize(("frames", "vocab"), [(1, 2), (1, 4), (2, 3), (4, 3), (5, 4), (6, 2)])
def test_the_forward_sum_is_that_of_all_paths(frames, vocab):
    log_probs = random_log_probs(frames, vocab, seed=frames + 10 * vocab)
    found = by_enumeration(log_probs)
    for labels, probability in found.items():
        assert labelling_log_prob(log_probs, labels) == pytest.approx(np.log(probability))
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)


def test_labels_that_do_not_fit_have_no_probability():
    log_probs = random_log_probs(3, 3, seed=0)
    assert labelling_log_prob(log_probs, [1, 1]) > -np.inf
    assert labelling_log_prob(log_probs, [1, 1, 1]) == -np.inf
    assert labelling_log_prob(log_probs, [1, 2, 1, 2]) == -np.inf
    assert labelling_log_prob(log_probs[:2], [1, 1]) == -np.inf


def test_no_frames():
    nothing = np.zeros((0, 3), np.float32)
    assert labelling_log_prob(nothing, []) == 0
    assert labelling_log_prob(nothing, [1]) == -np.inf


@pytest.mark.parametrize(
    ("path", "labels"),
    [([], []), ([0, 0], []), ([1, 1, 0, 1, 2, 2], [1, 1, 2]), ([0, 2, 2, 0], [2])],
)
def test_collapse(path, labels):
    assert collapse(np.array(path, np.int64)).tolist() == labels


def test_a_path_scores_its_frames_and_must_read_as_the_targets():
    log_probs = random_log_probs(4, 3, seed=1)
    path, targets = np.array([1, 1, 0, 2]), np.array([1, 2])
    expected = sum(float(log_probs[frame, label]) for frame, label in enumerate(path))
    assert path_log_prob(log_probs, path, targets) == pytest.approx(expected)
    for wrong in (np.array([1, 0, 1, 2]), np.array([1, 0, 2])):
        with pytest.raises(ValueError, match="does not read as the targets"):
            path_log_prob(log_probs, wrong, targets)
