"""The prefix beam on the emulated device with a language model and hotwords, beside the CPU's."""

import numpy as np
import pytest

from beam_cases import NUMBERS, assert_same, texts
from cuda_beam import Beam
from cuda_emulation import Device
from lm_models import arpa, estimate, random_text
from mms_kernels import BeamDecoder, BeamOptions
from mms_kernels.arpa import convert_arpa
from mms_kernels.cuda import arguments
from mms_kernels.cuda.arguments import Code
from mms_kernels.cuda.models import BeamModels
from mms_kernels.hotwords import Hotwords
from mms_kernels.lm import NgramModel
from mms_kernels.reference import log_softmax

TOKENS = ["<pad>", "|", "a", "b", "é", "ch", "c", "h"]
WORDS = ["ab", "ba", "é", "chab", "a", "cab", "hé", "bbb", "acha", "béa"]
PHRASES = {"ab": 2.0, "ab ba": 3.0, "chab": 1.5, "é": -1.0, "bbb": 4.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One n-gram model of words, and one of tokens."""
    found = {}
    for unit, units in (("word", WORDS), ("token", TOKENS[1:])):
        folder = tmp_path_factory.mktemp(unit)
        source = folder / "model.arpa"
        source.write_text(arpa(estimate(random_text(units, 300, seed=1), 4)), encoding="utf-8")
        convert_arpa(source, folder / "model.bin")
        found[unit] = NgramModel.open(folder / "model.bin")
    return found


def emissions(rows, frames, seed, clear=3):
    """Frames that say words of the model."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (rows, frames, len(TOKENS)))
    for row in range(rows):
        said = []
        while len(said) < frames:
            letters = [TOKENS.index(letter) for letter in rng.choice(WORDS) if letter in TOKENS]
            said += [token for letter in letters for token in (letter, 0)] + [1]
        logits[row, np.arange(frames), said[:frames]] += clear
    return np.stack([log_softmax(row) for row in logits]).astype(np.float32)


def cpu(log_probs, length, beam_size, options):
    """What the CPU's decoder makes of one row."""
    models = {name: options[name] for name in ("lm", "hotwords") if name in options}
    numbers = {name: value for name, value in options.items() if name not in models}
    rules = BeamOptions(beam_size=beam_size, **numbers)
    decoder = BeamDecoder(rules, tokens=TOKENS, **models)
    data = np.ascontiguousarray(log_probs[None, :length])
    (found,) = decoder.decode(data, np.array([length]), kind="log_probs", nbest=beam_size)
    return found


def scoring(options):
    models = BeamModels(TOKENS, **options)
    addresses = {name: array.ctypes.data for name, array in models.arrays.items()}
    return models, models.scoring(addresses)


def check(found, expected):
    assert texts(found) == texts(expected)
    for one, other in zip(found, expected, strict=True):
        for name in NUMBERS:
            wanted = getattr(other, name)
            assert getattr(one, name) == pytest.approx(wanted, rel=1e-6, abs=1e-5), name
        for name in ("starts", "ends", "scores", "peaks"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def options_of(kind, models):
    hotwords = Hotwords(PHRASES, TOKENS, excluded=[0])
    return {
        "hotwords": {"hotwords": hotwords},
        "word_score": {"word_score": -0.7, "separator": 1},
        "words": {"lm": models["word"], "lm_weight": 1.2, "word_score": 0.5, "separator": 1},
        "tokens": {"lm": models["token"], "lm_weight": 0.8, "word_score": 0.3, "unit": "token"},
        "all": {
            "lm": models["word"],
            "lm_weight": 2.0,
            "word_score": 1.0,
            "separator": 1,
            "hotwords": hotwords,
        },
    }[kind]


@pytest.mark.parametrize("kind", ["hotwords", "word_score", "words", "tokens", "all"])
@pytest.mark.parametrize("beam_size", [4, 40])
def test_equals_the_cpu(emulated, models, kind, beam_size):
    options = options_of(kind, models)
    data = emissions(3, 30, seed=beam_size)
    lengths = [30, 17, 0]
    flat, views = scoring(options)
    assert flat.arrays or kind == "word_score"
    beam = Beam(
        Device(emulated, seed=beam_size),
        3,
        len(TOKENS),
        beam_size=beam_size,
        choices=len(TOKENS) - 1,
        scoring=views,
    )
    assert beam.step(data, lengths) == [Code.OK] * 3
    for row, found in enumerate(beam.results()):
        check(found, cpu(data[row], lengths[row], beam_size, options))


@pytest.mark.parametrize("kind", ["tokens", "all"])
def test_cuts_and_little_memory_change_no_bit(emulated, models, kind):
    """Also where a word is open when prefixes are cleared away."""
    options = options_of(kind, models)
    data = emissions(2, 600, seed=9, clear=8)
    _kept, views = scoring(options)
    device = Device(emulated, seed=3)
    sizes = {"beam_size": 3, "choices": len(TOKENS) - 1, "scoring": views, "lookback": 20}
    whole = Beam(device, 2, len(TOKENS), **sizes, arena=4000)
    whole.step(data)
    arena = arguments.beam_least_arena(3, views.longest_word) + 100
    cut = Beam(device, 2, len(TOKENS), **sizes, arena=arena)
    for start in range(0, 600, 50):
        cut.step(np.ascontiguousarray(data[:, start : start + 50]))
    for one, other in zip(cut.results(), whole.results(), strict=True):
        assert_same(one, other)
    assert all(len(np.concatenate([p.tokens for p in pieces])) > 50 for pieces in cut.settled)
    for row, found in enumerate(cut.results()):
        expected = cpu(data[row], 600, 3, options | {"lookback": 20})
        check(found, expected)


def test_the_open_word_is_read_after_its_letters_have_been_handed_over(device, models):
    """At frame 256 "acha" has been said and settled; the separator comes after it."""
    options = options_of("words", models)
    said = ["b", "a", "|", *["a", "c", "h", "a"], "|", "a"]
    at = [10, 20, 30, 210, 220, 230, 240, 270, 280]
    scores = np.full((300, len(TOKENS)), -12.0, np.float32)
    scores[:, 0] = 0
    scores[at, 0] = -12
    scores[at, [TOKENS.index(token) for token in said]] = 0
    _kept, views = scoring(options)
    sizes = {"beam_size": 4, "choices": len(TOKENS) - 1, "scoring": views, "lookback": 15}
    beam = Beam(device, 1, len(TOKENS), **sizes)
    rules = {name: value for name, value in options.items() if name != "lm"}
    decoder = BeamDecoder(
        BeamOptions(beam_size=4, lookback=15, **rules), tokens=TOKENS, lm=options["lm"]
    )
    stream = decoder.stream(kind="log_probs")
    for start, end in ((0, 260), (260, 300)):
        beam.step(scores[None, start:end])
        stream.step(scores[start:end])
        _, (stable,) = beam.rest(finish=False)
        assert beam.streams["settled"][0] + stable == stream.partial().stable
        assert beam.streams["kept"][0] >= 3  # letters of "acha"
    assert beam.streams["settled"][0] >= 6
    check(beam.results()[0], cpu(scores, 300, 4, options | {"lookback": 15}))


def test_the_end_takes_back_what_is_lent(device):
    """A phrase that is not completed costs nothing."""
    hotwords = Hotwords({"abab": 4.0}, TOKENS, separator=None, excluded=[0])
    data = np.full((1, 3, len(TOKENS)), -20.0, np.float32)
    data[0, [0, 1, 2], [2, 3, 2]] = 0
    _kept, views = scoring({"hotwords": hotwords})
    beam = Beam(device, 1, len(TOKENS), choices=len(TOKENS) - 1, scoring=views)
    beam.step(data)
    (open_best,) = beam.results(1, finish=False)[0]
    (whole_best,) = beam.results(1)[0]
    assert texts([open_best, whole_best]) == [(2, 3, 2)] * 2
    assert open_best.bonus == 3
    assert whole_best.bonus == 0


def test_models_that_do_not_fit_are_errors(models):
    with pytest.raises(ValueError, match="made for 8 tokens, not 3"):
        BeamModels(["a", "b", "c"], hotwords=Hotwords(PHRASES, TOKENS, excluded=[0]))
    with pytest.raises(ValueError, match="needs the separator"):
        BeamModels(TOKENS, lm=models["word"], lm_weight=1.0)
