"""Decoding on the double of the driver: the results equal the CPU's."""

import re
import threading

import numpy as np
import pytest

from cuda_emulation import to_bfloat16
from lm_models import arpa, estimate, random_text
from mms_engine import BeamSearch
from mms_engine.cuda.context import open_device
from mms_engine.cuda.kernels import Kernels
from mms_engine.cuda.memory import Buffer, DeviceArray
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.decoding.device.decoders import DeviceDecoders
from mms_engine.decoding.host import HostDecoders
from mms_engine.decoding.interface import DecodeRow
from mms_engine.decoding.search import BeamConfig
from mms_engine.encoder.device.emission import DeviceEmission
from mms_engine.encoder.emission import HostEmission
from mms_engine.errors import BackendError, LanguageModelError
from mms_engine.text.vocabulary import Vocabulary

VOCABULARIES = {
    "eng": Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c", "é", "'")),
    "jpn": Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "あ", "い", "う")),
    "swh": Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "b", "|", "a", "ch", "c", "h", "u", "k")),
}
WIDTH = max(map(len, VOCABULARIES.values()))


class Encoder:
    """Source of emissions: each overwrites the previous one in device memory."""

    def __init__(self):
        self.device = open_device()
        with self.device.active("encoding"):
            self.stream, self.ready = CudaStream(self.device), CudaEvent(self.device)
            self._memory = Buffer(self.device)

    def run(self, batch):
        with self.device.active("encoding"):
            logits = self._memory.take(batch.shape, batch.dtype)
            self.stream.upload(logits, batch)
            self.stream.record(self.ready)
        rows, frames, vocab = batch.shape
        return DeviceEmission(logits, (frames,) * rows, (vocab,) * rows, self.ready, self.stream)

    def free(self):
        with self.device.active("encoding"):
            self._memory.free()
            self.stream.free()


@pytest.fixture
def encoder(sim):
    made = Encoder()
    yield made
    made.free()


@pytest.fixture
def opened(sim, encoder, installed):
    """Make decoders, which are closed at the end and must have left no memory behind."""
    before = sim.usage()
    made = []

    def make(**options):
        config = BeamConfig(BeamSearch(**options)) if options else None
        made.append(DeviceDecoders(open_device(), config))
        return made[-1]

    yield make
    for decoders in made:
        decoders.close()
    encoder.free()
    assert sim.usage().allocations == before.allocations


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    return write_lm(tmp_path_factory.mktemp("lm") / "words.arpa", str.lower)


@pytest.fixture(scope="module")
def cased_lm(tmp_path_factory):
    """The same model in capitals, from which each language makes one of its own."""
    return write_lm(tmp_path_factory.mktemp("lm") / "cased.arpa", str.upper)


def write_lm(path, case):
    words = [case(word) for word in ("ab", "ba", "é", "cab", "chu", "kuk", "a")]
    path.write_text(arpa(estimate(random_text(words, 300, seed=1), 3)), encoding="utf-8")
    return path


def speech(frames, language, seed):
    """Logits of one utterance, `[T, V]`: a token now and then, some frames between two."""
    generator = np.random.default_rng(seed)
    vocab = len(VOCABULARIES[language])
    logits = generator.normal(0, 1.5, (frames, vocab))
    winners = np.where(generator.random(frames) < 0.4, generator.integers(4, vocab, frames), 0)
    logits[np.arange(frames), winners] += 7
    return logits.astype(np.float32)


def padded(rows, frames):
    """A batch as the encoder leaves it: -inf beyond a vocabulary, NaN outside the row's frames."""
    batch = np.full((len(rows), frames, WIDTH), np.nan, np.float32)
    for row, (logits, begin) in enumerate(rows):
        part = batch[row, begin : begin + len(logits)]
        part[...] = -np.inf
        part[:, : logits.shape[1]] = logits
    return batch


def start(decoders, language, hotwords=None):
    return decoders.start(language, VOCABULARIES[language], hotwords)


def step(decoders, encoder, decoding, logits):
    emission = encoder.run(padded([(logits, 0)], len(logits)))
    decoders.step([DecodeRow(decoding, slice(0, len(logits)))], emission)


def on_the_cpu(logits, language, own=None, **options):
    decoders = HostDecoders(BeamSearch(**options) if options else None)
    decoding = start(decoders, language, own)
    decoding.step(logits)
    return decoding.finish()


def assert_as_on_the_cpu(found, logits, language, own=None, **options):
    expected = on_the_cpu(logits, language, own, **options)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.starts.tolist() == other.starts.tolist()
        assert one.ends.tolist() == other.ends.tolist()
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-5)
        assert one.log_prob == pytest.approx(other.log_prob, rel=1e-5, abs=1e-5)
        assert one.score == pytest.approx(other.score, rel=1e-5, abs=1e-5)


def decode(decoders, encoder, utterances, *, windows, seed=0, hotwords=()):
    """Decode utterances window by window, in batches of the encoder."""
    generator = np.random.default_rng(seed)
    own = [*hotwords, *[None] * (len(utterances) - len(hotwords))]
    decodings = [start(decoders, u[1], each) for u, each in zip(utterances, own, strict=True)]
    at = [0] * len(utterances)
    while any(a < len(u[0]) for a, u in zip(at, utterances, strict=True)):
        parts, rows = [], []
        for _ in range(3):
            waiting = [i for i, u in enumerate(utterances) if at[i] < len(u[0])]
            if not waiting:
                break
            i = int(generator.choice(waiting))
            size, begin = int(generator.integers(1, windows)), int(generator.integers(0, 4))
            piece = utterances[i][0][at[i] : at[i] + size]
            at[i] += len(piece)
            parts.append((piece, begin))
            rows.append(DecodeRow(decodings[i], slice(begin, begin + len(piece))))
        parts += [(np.zeros((0, 1)), 0)] * (3 - len(parts))
        decoders.step(rows, encoder.run(padded(parts, windows + 4)))
    return decoders.finish(decodings)


UTTERANCES = [
    (speech(60, "eng", 1), "eng"),
    (speech(45, "jpn", 2), "jpn"),
    (speech(70, "swh", 3), "swh"),
    (speech(0, "eng", 4), "eng"),
]


@pytest.mark.parametrize("seed", range(3))
def test_greedy_equals_the_cpu(opened, encoder, sim, seed):
    """Batches and the order of concurrent work do not change the result."""
    sim.order(seed=seed, slow_copies=seed > 1)
    found = decode(opened(), encoder, UTTERANCES, windows=25, seed=seed)
    for (logits, language), hypotheses in zip(UTTERANCES, found, strict=True):
        assert_as_on_the_cpu(hypotheses, logits, language)


@pytest.mark.parametrize("kind", ["plain", "hotwords", "lm", "cased lm", "by language"])
def test_beam_equals_the_cpu(opened, encoder, sim, lm, cased_lm, kind):
    sim.order(seed=5, slow_copies=True)
    options = {
        "plain": {"beam_size": 6},
        "hotwords": {"beam_size": 5, "hotwords": {"ab": 3.0, "cab": 2.0, "ba": -1.0}, "nbest": 2},
        "lm": {"beam_size": 5, "lm": lm, "hotwords": {"a": 1.0}, "nbest": 2},
        "cased lm": {"beam_size": 5, "lm": cased_lm, "nbest": 2},
        "by language": {"beam_size": 5, "lm": {"eng": lm}, "nbest": 2},
    }[kind]
    utterances = UTTERANCES if kind == "plain" else [u for u in UTTERANCES if u[1] != "jpn"]
    found = decode(opened(**options), encoder, utterances, windows=40)
    for (logits, language), hypotheses in zip(utterances, found, strict=True):
        assert_as_on_the_cpu(hypotheses, logits, language, **options)


@pytest.mark.parametrize("shared", ["nothing", "hotwords", "lm"])
def test_own_hotwords_equal_the_cpu(opened, encoder, sim, lm, shared):
    """An utterance's own hotwords replace those of the options, for it alone."""
    options = {"nothing": {}, "hotwords": {"hotwords": {"ab": 3.0}}, "lm": {"lm": lm}}[shared]
    options |= {"beam_size": 5, "nbest": 2}
    utterances = [UTTERANCES[0], UTTERANCES[2], UTTERANCES[0], UTTERANCES[2], UTTERANCES[0]]
    own = [{"cab": 4.0}, ["kuk", "chu"], {}, {"b": 1.0, "ch": -2.0}]
    decoders = opened(**options)
    usage = []
    for _ in range(4):
        found = decode(decoders, encoder, utterances, windows=40, hotwords=own)
        for hypotheses, one, each in zip(found, utterances, [*own, None], strict=True):
            assert_as_on_the_cpu(hypotheses, *one, each, **options)
        usage.append(sim.usage().bytes)
    assert len(set(usage[1:])) == 1, "hotwords of finished utterances are freed"


def test_hotwords_of_one_utterance_do_not_slow_later_batches(opened, encoder, monkeypatch):
    """Hotwords make every token of a frame a candidate, in their own batches only."""
    counts = []
    launch = Kernels.launch

    def spy(kernels, name, threads, stream, *args):
        if name == "mms_beam_tokens":
            counts.append(args[0].choice_count)
        launch(kernels, name, threads, stream, *args)

    monkeypatch.setattr(Kernels, "launch", spy)
    decoders, logits = opened(beam_size=2), speech(5, "eng", 1)
    for hotwords in (None, {"ab": 2.0}, None):
        decoding = start(decoders, "eng", hotwords)
        step(decoders, encoder, decoding, logits)
        decoders.finish([decoding])
    plain, boosted, later = counts
    assert plain == later < boosted == WIDTH - 1


def test_settled_tokens_arrive_before_the_end(opened, encoder):
    logits = speech(600, "jpn", 8)
    decoders = opened(beam_size=3)
    decoding = start(decoders, "jpn")
    for begin in (0, 300, 600):
        step(decoders, encoder, decoding, logits[begin : begin + 300])
    assert sum(len(piece["ids"]) for piece in decoding.pieces) > 60
    assert_as_on_the_cpu(decoders.finish([decoding])[0], logits, "jpn", beam_size=3)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_logits_are_read_exactly(opened, encoder, kind):
    logits = speech(40, "eng", 5)
    batch = padded([(logits, 0)], 40)
    narrow = batch.astype(np.float16) if kind == "float16" else to_bfloat16(batch)
    wide = narrow.astype(np.float32)
    if kind == "bfloat16":
        wide = (narrow.astype(np.uint32) << 16).view(np.float32)
    decoders = opened()
    decoding = start(decoders, "eng")
    decoders.step([DecodeRow(decoding, slice(0, 40))], encoder.run(narrow))
    (found,) = decoders.finish([decoding])
    assert_as_on_the_cpu(found, wide[0, :, : logits.shape[1]].copy(), "eng")


@pytest.mark.parametrize("options", [{}, {"beam_size": 4}], ids=["greedy", "beam"])
@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "holds NaN"), (np.inf, r"holds +inf"), (-np.inf, "is -inf")]
)
def test_undecodable_logits_are_an_error_of_their_utterance(opened, encoder, options, value, what):
    decoders = opened(**options)
    good, bad = (start(decoders, "eng") for _ in range(2))
    logits = speech(30, "eng", 1)
    wrong = logits.copy()
    wrong[12] = value
    for begin in range(0, 30, 10):
        parts = [(logits[begin : begin + 10], 0), (wrong[begin : begin + 10], 5)]
        rows = [DecodeRow(good, slice(0, 10)), DecodeRow(bad, slice(5, 15))]
        decoders.step(rows, encoder.run(padded(parts, 15)))
    error, found = decoders.finish([bad, good])
    assert isinstance(error, ValueError)
    assert f"frame 12 of the logits {what}" in str(error)
    assert_as_on_the_cpu(found, logits, "eng", **options)


def test_any_number_of_utterances_share_the_device(opened, encoder, sim):
    """The table grows under utterances in progress, and slots are reused."""
    decoders = opened(beam_size=3)
    logits = [speech(12, "jpn", seed) for seed in range(20)]
    for _ in range(2):
        decodings = [start(decoders, "jpn") for _ in logits]
        for begin in (0, 6):
            for one, values in zip(decodings, logits, strict=True):
                step(decoders, encoder, one, values[begin : begin + 6])
        for values, found in zip(logits, decoders.finish(decodings), strict=True):
            assert_as_on_the_cpu(found, values, "jpn", beam_size=3)
    step(decoders, encoder, start(decoders, "jpn"), logits[0])  # abandoned
    before = sim.usage()
    for _ in range(40):
        one = start(decoders, "jpn")
        step(decoders, encoder, one, logits[0][:4])
        decoders.finish([one])
    assert sim.usage().bytes == before.bytes
    with pytest.raises(ValueError, match="is finished"):
        _ = one.index


def test_threads_may_share_the_decoders(opened, encoder):
    decoders = opened()
    logits = [speech(40, "swh", seed) for seed in range(6)]
    found, encoding = {}, threading.Lock()

    def work(i):
        decoding = start(decoders, "swh")
        for begin in range(0, 40, 8):
            with encoding:
                step(decoders, encoder, decoding, logits[i][begin : begin + 8])
        (found[i],) = decoders.finish([decoding])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, values in enumerate(logits):
        assert_as_on_the_cpu(found[i], values, "swh")


def test_rows_outside_the_emission_are_rejected(opened, encoder):
    decoders = opened()
    decoding = start(decoders, "eng")
    emission = encoder.run(padded([(np.zeros((5, 3)), 0)] * 2, 5))
    whole = DecodeRow(decoding, slice(0, 5))
    for rows, wrong in (
        ([whole, whole, DecodeRow(decoding, slice(0, 1))], 2),
        ([DecodeRow(decoding, slice(3, 6))], 0),
        ([whole, DecodeRow(decoding, slice(4, 2))], 1),
    ):
        with pytest.raises(ValueError, match=f"of row {wrong} are not in an emission of 2 rows"):
            decoders.step(rows, emission)
    with pytest.raises(TypeError, match="host memory"):
        decoders.step([whole], HostEmission(np.zeros((1, 5, 3), np.float32), (5,), (3,)))
    logits = DeviceArray(0, (2, 5, 12), np.dtype("f8"), None)
    with pytest.raises(ValueError, match=r"got float64\[2, 5, 12\]"):
        DeviceEmission(logits, (5, 5), (12, 12), encoder.ready, encoder.stream)


def test_unsupported_searches_are_rejected(opened, monkeypatch, lm):
    with pytest.raises(BackendError, match="a beam of 129 is not decoded on the GPU"):
        opened(beam_size=129)
    monkeypatch.setattr("mms_engine.decoding.language_models.open_lm", lambda _: object())
    with pytest.raises(BackendError, match="KenLM binary"):
        opened(beam_size=4, lm=lm)


def test_hotwords_outside_the_vocabulary_are_a_warning_or_an_error(opened):
    message = "^1 of 1 hotwords cannot be used in eng: phrase 'xyz': '.' is not in the vocabulary$"
    for options, own in (({"hotwords": {"xyz": 1.0}}, None), ({}, {"xyz": 1.0})):
        (warning,) = start(opened(beam_size=4, **options), "eng", own).warnings
        assert re.search(message, warning)
        with pytest.raises(LanguageModelError, match=message):
            start(opened(beam_size=4, strict=True, **options), "eng", own)
    assert start(opened(), "eng").warnings == ()
    with pytest.raises(LanguageModelError, match="hotwords need beam search"):
        start(opened(), "eng", {"ab": 1.0})


def test_finishing_nothing_returns_nothing(opened):
    assert opened().finish([]) == []
    assert opened(nbest=3, beam_size=4).nbest == 3


def test_closed_decoders_raise(opened, encoder):
    decoders = opened()
    decoding = start(decoders, "eng")
    decoders.close()
    decoders.close()
    with pytest.raises(BackendError, match="the decoders are closed"):
        step(decoders, encoder, decoding, speech(5, "eng", 1))
    with pytest.raises(BackendError, match="the decoders are closed"):
        decoders.finish([decoding])


def test_rare_tokens_of_a_large_vocabulary_change_nothing(opened, encoder) -> None:
    """With models 512 tokens of a frame extend hypotheses; the CPU takes all 799."""
    tokens = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", *(chr(0x4E00 + i) for i in range(796))))
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 1.5, (40, 800)).astype(np.float32)
    winners = np.where(generator.random(40) < 0.4, generator.integers(4, 800, 40), 0)
    logits[np.arange(40), winners] += 12
    decoders = opened(beam_size=8, word_score=0.3)
    decoding = decoders.start("cmn", tokens)
    decoders.step([DecodeRow(decoding, slice(0, 40))], encoder.run(logits[None]))
    [[found, *_]] = decoders.finish([decoding])
    host = HostDecoders(BeamSearch(beam_size=8, word_score=0.3)).start("cmn", tokens)
    host.step(logits)
    expected = host.finish()[0]
    assert len(expected.tokens) > 5
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert found.log_prob == pytest.approx(expected.log_prob, rel=1e-5, abs=1e-5)
