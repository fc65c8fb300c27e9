"""Decoding on the device, on the double of the driver: the results are the CPU's."""

import threading

import numpy as np
import pytest

from cuda_emulation import to_bfloat16
from cudasim.fatbin import empty_fatbin
from lm_models import arpa, estimate, random_text
from mms_engine import BeamSearch, RecognizerOptions
from mms_engine.cuda import kernels as kernel_loading
from mms_engine.cuda.context import open_device
from mms_engine.cuda.kernels import Kernels
from mms_engine.cuda.memory import DeviceArray, PinnedArray
from mms_engine.cuda.streams import CudaEvent, CudaStream
from mms_engine.decoding.device.decoders import DeviceDecoders
from mms_engine.decoding.host import HostDecoders
from mms_engine.encoder.device.emission import DeviceEmission
from mms_engine.errors import BackendError, LanguageModelError
from mms_engine.text.vocabulary import Vocabulary

VOCABULARIES = {
    "eng": Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c", "é", "'")),
    "jpn": Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "あ", "い", "う")),
    "swh": Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "b", "|", "a", "ch", "c", "h", "u", "k")),
}
WIDTH = max(map(len, VOCABULARIES.values()))


@pytest.fixture(scope="module")
def fatbin(tmp_path_factory):
    return empty_fatbin(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def opened(sim, fatbin, monkeypatch):
    """Make decoders, which are closed at the end and must have left no memory behind."""
    monkeypatch.setattr(kernel_loading, "fatbin_path", lambda: fatbin)
    device = open_device()
    before = sim.usage()
    made = []
    with device.active("loading"):
        kernels = Kernels(device)

    def make(**options):
        decoder = "beam" if options else "greedy"
        beam = BeamSearch(**options) if options else None
        made.append(DeviceDecoders(device, kernels, RecognizerOptions(decoder=decoder, beam=beam)))
        return made[-1]

    yield make
    for decoders in made:
        decoders.close()
    assert sim.usage().allocations == before.allocations


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "words.arpa"
    words = ["ab", "ba", "é", "cab", "chu", "kuk", "a"]
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
    """A batch as the encoder leaves it: -inf beyond a language's tokens, anything beyond frames."""
    batch = np.full((len(rows), frames, WIDTH), np.nan, np.float32)
    for row, (logits, begin) in enumerate(rows):
        part = batch[row, begin : begin + len(logits)]
        part[...] = -np.inf
        part[:, : logits.shape[1]] = logits
    return batch


class Encoder:
    """Leaves logits on the device, in a stream of its own."""

    def __init__(self, shape, dtype=np.float32):
        self.device = open_device()
        with self.device.active("encoding"):
            self.stream = CudaStream(self.device)
            self.ready = CudaEvent(self.device)
            self.logits = DeviceArray.empty(self.device, shape, dtype)
            self.pinned = PinnedArray.empty(self.device, shape, dtype)

    def run(self, batch, after=None):
        with self.device.active("encoding"):
            self.stream.synchronize()
            if after is not None:
                self.stream.wait(after)
            self.pinned.array[...] = batch
            self.stream.upload(self.logits, self.pinned.array)
            self.stream.record(self.ready)
        return DeviceEmission(self.logits, self.ready)

    def free(self):
        with self.device.active("encoding"):
            self.device.driver.Context.synchronize()
            self.logits.free()
            self.pinned.free()


def on_the_cpu(logits, language, **options):
    beam = BeamSearch(**options) if options else None
    decoders = HostDecoders(RecognizerOptions(decoder="beam" if options else "greedy", beam=beam))
    decoding = decoders.start(language, VOCABULARIES[language])
    decoding.step(logits)
    return decoding.finish()


def assert_as_on_the_cpu(found, logits, language, **options):
    expected = on_the_cpu(logits, language, **options)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.starts.tolist() == other.starts.tolist()
        assert one.ends.tolist() == other.ends.tolist()
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-5)
        assert one.log_prob == pytest.approx(other.log_prob, rel=1e-5, abs=1e-5)
        assert one.score == pytest.approx(other.score, rel=1e-5, abs=1e-5)


def decode(decoders, utterances, *, windows, seed=0):
    """Decode utterances window by window, as batches of the encoder bring them."""
    generator = np.random.default_rng(seed)
    decodings = [decoders.start(lang, VOCABULARIES[lang]) for _, lang in utterances]
    at = [0] * len(utterances)
    encoder = Encoder((3, windows + 4, WIDTH))
    after = None
    while any(a < len(u[0]) for a, u in zip(at, utterances, strict=True)):
        rows, chunks = [], []
        for row in range(3):
            waiting = [i for i, u in enumerate(utterances) if at[i] < len(u[0])]
            if not waiting:
                break
            i = int(generator.choice(waiting))
            size, begin = int(generator.integers(1, windows)), int(generator.integers(0, 4))
            piece = utterances[i][0][at[i] : at[i] + size]
            at[i] += len(piece)
            rows.append((piece, begin))
            chunks.append(decodings[i].chunk(row, slice(begin, begin + len(piece))))
        rows += [(np.zeros((0, 1)), 0)] * (3 - len(rows))
        emission = encoder.run(padded(rows, windows + 4), after)
        after = decoders.step(emission, chunks)
    encoder.free()
    return decoders.finish(decodings)


UTTERANCES = [
    (speech(60, "eng", 1), "eng"),
    (speech(45, "jpn", 2), "jpn"),
    (speech(70, "swh", 3), "swh"),
    (speech(0, "eng", 4), "eng"),
]


@pytest.mark.parametrize("seed", range(3))
def test_greedy_equals_the_cpu(opened, sim, seed):
    """Whatever the batches, and whatever the order of what runs at once."""
    sim.order(seed=seed, slow_copies=seed > 1)
    found = decode(opened(), UTTERANCES, windows=25, seed=seed)
    for (logits, language), hypotheses in zip(UTTERANCES, found, strict=True):
        assert_as_on_the_cpu(hypotheses, logits, language)


@pytest.mark.parametrize("kind", ["plain", "hotwords", "lm"])
def test_beam_equals_the_cpu(opened, sim, lm, kind):
    sim.order(seed=5, slow_copies=True)
    options = {
        "plain": {"beam_size": 6},
        "hotwords": {"beam_size": 5, "hotwords": {"ab": 3.0, "cab": 2.0, "ba": -1.0}, "nbest": 2},
        "lm": {"beam_size": 5, "lm": lm, "hotwords": {"a": 1.0}, "nbest": 2},
    }[kind]
    utterances = UTTERANCES if kind == "plain" else [u for u in UTTERANCES if u[1] != "jpn"]
    found = decode(opened(**options), utterances, windows=40)
    for (logits, language), hypotheses in zip(utterances, found, strict=True):
        assert_as_on_the_cpu(hypotheses, logits, language, **options)


def test_tokens_that_are_settled_come_back_before_the_end(opened):
    logits = speech(600, "jpn", 8)
    decoders = opened(beam_size=3)
    decoding = decoders.start("jpn", VOCABULARIES["jpn"])
    for start in range(0, 600, 300):
        decoding.step(logits[start : start + 300])
    decoding.step(logits[:0])
    assert sum(len(piece["ids"]) for piece in decoding.stream.pieces) > 60
    assert_as_on_the_cpu(decoding.finish(), logits, "jpn", beam_size=3)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_small_types_are_read_as_they_are(opened, kind):
    logits = speech(40, "eng", 5)
    batch = padded([(logits, 0)], 40)
    narrow = batch.astype(np.float16) if kind == "float16" else to_bfloat16(batch)
    wide = narrow.astype(np.float32)
    if kind == "bfloat16":
        wide = (narrow.astype(np.uint32) << 16).view(np.float32)
    decoders = opened()
    decoding = decoders.start("eng", VOCABULARIES["eng"])
    encoder = Encoder(narrow.shape, narrow.dtype)
    decoders.step(encoder.run(narrow), [decoding.chunk(0, slice(0, 40))])
    found = decoding.finish()
    encoder.free()
    assert_as_on_the_cpu(found, wide[0, :, : logits.shape[1]].copy(), "eng")


@pytest.mark.parametrize("options", [{}, {"beam_size": 4}], ids=["greedy", "beam"])
@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "holds NaN"), (np.inf, r"holds \+inf"), (-np.inf, "is -inf")]
)
def test_bad_logits_are_an_error_of_their_utterance(opened, options, value, what):
    decoders = opened(**options)
    good, bad = (decoders.start("eng", VOCABULARIES["eng"]) for _ in range(2))
    logits = speech(30, "eng", 1)
    wrong = logits.copy()
    wrong[12] = value
    encoder, read = Encoder((2, 15, WIDTH)), None
    for start in range(0, 30, 10):
        rows = [(logits[start : start + 10], 0), (wrong[start : start + 10], 5)]
        chunks = [good.chunk(0, slice(0, 10)), bad.chunk(1, slice(5, 15))]
        read = decoders.step(encoder.run(padded(rows, 15), read), chunks)
    with pytest.raises(ValueError, match=f"frame 12 of the logits {what}"):
        bad.finish()
    assert_as_on_the_cpu(good.finish(), logits, "eng", **options)
    encoder.free()


def test_any_number_of_utterances_share_the_device(opened, sim):
    """The table grows under utterances that are on their way, and slots are used again."""
    decoders = opened(beam_size=3)
    logits = [speech(12, "jpn", seed) for seed in range(20)]
    for _ in range(2):
        decodings = [decoders.start("jpn", VOCABULARIES["jpn"]) for _ in logits]
        for start in (0, 6):
            for one, values in zip(decodings, logits, strict=True):
                one.step(values[start : start + 6])
        found = decoders.finish(decodings)
        for values, hypotheses in zip(logits, found, strict=True):
            assert_as_on_the_cpu(hypotheses, values, "jpn", beam_size=3)
    decoders.start("jpn", VOCABULARIES["jpn"]).step(logits[0])  # given up
    before = sim.usage()
    for _ in range(40):
        one = decoders.start("jpn", VOCABULARIES["jpn"])
        one.step(logits[0][:4])
        one.finish()
    assert sim.usage().bytes == before.bytes
    with pytest.raises(ValueError, match="is finished"):
        _ = one.stream.index


def test_threads_may_share_the_decoders(opened):
    decoders = opened()
    logits = [speech(40, "swh", seed) for seed in range(6)]
    found = {}

    def work(i):
        decoding = decoders.start("swh", VOCABULARIES["swh"])
        for start in range(0, 40, 8):
            decoding.step(logits[i][start : start + 8])
        found[i] = decoding.finish()

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i, values in enumerate(logits):
        assert_as_on_the_cpu(found[i], values, "swh")


def test_chunks_that_are_not_there_are_refused(opened):
    decoders = opened()
    decoding = decoders.start("eng", VOCABULARIES["eng"])
    encoder = Encoder((2, 5, WIDTH))
    emission = encoder.run(padded([(np.zeros((5, 3)), 0)] * 2, 5))
    for row, frames in ((2, slice(0, 1)), (0, slice(3, 6)), (0, slice(4, 2))):
        with pytest.raises(ValueError, match=f"of row {row} are not in an emission of 2 rows"):
            decoders.step(emission, [decoding.chunk(row, frames)])
    with pytest.raises(ValueError, match="goes to one utterance, and once"):
        decoders.step(emission, [decoding.chunk(1, slice(0, 2)), decoding.chunk(1, slice(2, 5))])
    with pytest.raises(ValueError, match=r"got float64\[2, 5, 12\]"):
        DeviceEmission(
            encoder.logits.view((2, 5, 12)).__class__(0, (2, 5, 12), np.dtype("f8"), None)
        )
    encoder.free()


def test_searches_that_the_device_does_not_do_are_refused(opened, monkeypatch, lm):
    with pytest.raises(BackendError, match="a beam of 129 is not decoded on the GPU"):
        opened(beam_size=129)
    monkeypatch.setattr("mms_engine.decoding.search.open_lm", lambda _: object())
    with pytest.raises(BackendError, match="KenLM binary"):
        opened(beam_size=4, lm=lm)


def test_hotwords_that_cannot_be_written_are_an_error(opened):
    decoders = opened(beam_size=4, hotwords={"xyz": 1.0})
    with pytest.raises(LanguageModelError, match="beam search in eng"):
        decoders.start("eng", VOCABULARIES["eng"])


def test_nothing_to_finish(opened):
    assert opened().finish([]) == []
    assert opened(nbest=3, beam_size=4).nbest == 3


def test_closed_decoders_say_so(opened):
    decoders = opened()
    decoding = decoders.start("eng", VOCABULARIES["eng"])
    decoders.close()
    with pytest.raises(BackendError, match="the decoders are closed"):
        decoding.step(speech(5, "eng", 1))
    with pytest.raises(BackendError, match="the decoders are closed"):
        decoding.finish()
