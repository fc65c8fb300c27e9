"""Beam search in the engine on the demo's clips, with language models and hotwords."""

import csv
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pytest

from engine_demo import DEMO, Clip, demo_clips, missing_words
from engine_sounds import sound
from lm_models import arpa, estimate
from mms_engine import BeamSearch, Job, Recognizer, RecognizerOptions
from mms_engine.audio import normalize, read_audio
from mms_engine.decoding.host import HostDecoders
from mms_engine.encoder.emission import Segment
from mms_engine.errors import LanguageModelError
from mms_engine.text.vocabulary import Vocabulary
from mms_kernels import BeamDecoder
from mms_kernels.reference.beam import labelling_log_prob
from mms_kernels.reference.greedy import log_softmax

CLIPS = demo_clips()


@pytest.fixture
def search(demo_bundle: Path):
    """Open the demo with a beam search; `BeamSearch`'s options are the arguments."""

    def open_demo(**options: object) -> Recognizer:
        beam = BeamSearch(**options)
        options = RecognizerOptions(verify=False)
        return Recognizer.open(demo_bundle, threads=2, beam=beam, options=options)

    return open_demo


def words_of(text: str) -> str:
    return " ".join(text.split())


def edits(clip: Clip, text: str) -> int:
    found = jiwer.process_characters(clip.text, words_of(text))
    return found.substitutions + found.deletions + found.insertions


def logits_of(recognizer: Recognizer, clip: Clip) -> np.ndarray:
    samples = normalize(read_audio(clip.path).samples)
    return recognizer._model.logits([Segment(samples, clip.language)])[0]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.path.stem)
def test_beam_finds_nothing_less_likely_than_greedy(demo: Recognizer, clip: Clip) -> None:
    """By the forward algorithm of the reference, over all paths of each labelling."""
    logits = logits_of(demo, clip)
    log_probs = log_softmax(logits)
    found = {}
    for decoder, beam in (("greedy", None), ("beam", BeamSearch())):
        decoding = HostDecoders(beam).start(clip.language, demo._model.vocabulary(clip.language))
        decoding.step(logits)
        found[decoder] = decoding.finish()[0]
    exact = {
        name: labelling_log_prob(log_probs, tuple(one.tokens.tolist()))
        for name, one in found.items()
    }
    assert exact["beam"] >= exact["greedy"] - 1e-6
    # Paths that left the beam are missing in its sum, and nothing is counted twice.
    assert exact["beam"] - 3.0 < found["beam"].log_prob < exact["beam"] + 1e-4


def test_alternatives_are_distinct_and_ranked_from_the_transcript(search, demo) -> None:
    clip = CLIPS[0]
    transcript = search(nbest=5).transcribe(clip.path, clip.language)
    found = transcript.alternatives
    for without in (search(), demo):
        assert without.transcribe(clip.path, clip.language).alternatives == ()
    assert len({words_of(one.text) for one in found}) == len(found) == 5
    assert all(one.score >= other.score for one, other in pairwise(found))
    best = found[0]
    assert (best.text, best.words, best.confidence) == (
        transcript.text,
        transcript.words,
        transcript.confidence,
    )
    for one in found:
        assert one.text.split() == [word.text for word in one.words]
        assert all(0 <= word.start < word.end <= transcript.duration for word in one.words)
        assert 0 < one.confidence <= 1
        assert one.score == one.log_prob  # without a language model or hotwords


def test_audio_below_one_frame_has_one_empty_alternative(search) -> None:
    transcript = search(nbest=3).transcribe(np.zeros(10, np.float32), "eng")
    assert (transcript.text, transcript.words, transcript.confidence) == ("", (), 0.0)
    assert [one.text for one in transcript.alternatives] == [""]


def test_hotwords_correct_most_wrong_words(search) -> None:
    """Boosting each missed long word, one at a time, finds most of them."""
    better = tried = 0
    for clip in CLIPS:
        without = search().transcribe(clip.path, clip.language).text
        for word in missing_words(clip, without):
            with_it = search(hotwords={word: 14.0}).transcribe(clip.path, clip.language).text
            tried += 1
            better += word in with_it.split() and edits(clip, with_it) < edits(clip, without)
    assert better >= tried / 2 > 1


def test_hotwords_of_a_job_replace_those_of_the_options(search) -> None:
    """Jobs of one call, each with its phrases: the text is that of a recogniser with these."""
    clip = next(clip for clip in CLIPS if missing_words(clip, ""))
    plain = search()
    word = missing_words(clip, plain.transcribe(clip.path, clip.language).text)[0]
    own, other = {word: 14.0}, {"zzz": 3.0}
    jobs = [Job(clip.path, clip.language, hotwords=hotwords) for hotwords in (own, None, other, {})]
    results = {id(r.job): r.unwrap() for r in search(hotwords=own).transcribe_each(jobs)}
    found = [results[id(job)] for job in jobs]
    alone = search(hotwords=other).transcribe(clip.path, clip.language)
    assert found[0] == found[1] == search(hotwords=own).transcribe(clip.path, clip.language)
    assert found[2] == alone
    assert found[3] == plain.transcribe(clip.path, clip.language)
    assert found[0] != found[3]


def test_unusable_hotwords_of_a_job_are_its_error_if_strict(search, demo) -> None:
    clip = CLIPS[0]
    jobs = [Job(clip.path, clip.language, hotwords={"漢": 1.0}), Job(clip.path, clip.language)]
    refused, heard = search(strict=True).transcribe_each(jobs)
    assert isinstance(refused.error, LanguageModelError)
    assert "漢" in str(refused.error)
    assert heard.transcript is not None
    with pytest.raises(LanguageModelError, match="hotwords need beam search"):
        demo.transcribe(clip.path, clip.language, hotwords=["a"])


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trigram model of the training sentences of each language of the demo."""
    with (DEMO / "sentences.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    folder = tmp_path_factory.mktemp("lm")
    paths = {}
    for language in {row["lang"] for row in rows}:
        text = [row["text"].split() for row in rows if row["lang"] == language]
        paths[language] = folder / f"{language}.arpa"
        paths[language].write_text(arpa(estimate(text, 3)), encoding="utf-8")
    return paths


def test_language_model_improves_the_held_out_clips(search, demo, models) -> None:
    with (DEMO / "sentences.tsv").open(encoding="utf-8") as table:
        trained = {line.rstrip("\n").split("\t")[1] for line in table}
    clips = [clip for clip in CLIPS if clip.text not in trained]
    assert len(clips) == 10
    wrong = dict.fromkeys(("greedy", "beam", "model"), 0)
    for language, path in models.items():
        recognizers = {"greedy": demo, "beam": search(), "model": search(lm=path)}
        for clip in (clip for clip in clips if clip.language == language):
            for name, recognizer in recognizers.items():
                wrong[name] += edits(clip, recognizer.transcribe(clip.path, language).text)
    assert wrong["beam"] <= wrong["greedy"]
    assert wrong["model"] < wrong["beam"]


def test_language_model_of_weight_0_changes_nothing(search, models) -> None:
    changed = 0
    for clip in CLIPS:
        plain = search().transcribe(clip.path, clip.language).text
        texts = [
            search(lm=models[clip.language], lm_weight=weight, word_score=0.0)
            .transcribe(clip.path, clip.language)
            .text
            for weight in (0.0, 1.0)
        ]
        assert texts[0] == plain
        changed += texts[1] != plain
    assert changed > 0


def test_score_equals_its_formula(search, models) -> None:
    clip, weight, each = CLIPS[0], 1.5, 0.75
    options = {"lm": models["eng"], "lm_weight": weight, "word_score": each, "nbest": 3}
    from mms_kernels.lm import open_lm

    model = open_lm(models["eng"])
    for one in search(**options).transcribe(clip.path, "eng").alternatives:
        words = one.text.split()
        expected = one.log_prob + weight * model.score(words) + each * len(words)
        assert one.score == pytest.approx(expected, abs=1e-4)


WORDS = Vocabulary(("<pad>", "|", "a", "b"))
SIGNS = Vocabulary(("<pad>", "<unk>", "a", "b"))


def start(vocabulary: Vocabulary, **options: object):
    return HostDecoders(BeamSearch(**options)).start("eng", vocabulary)


@pytest.mark.parametrize(
    ("vocabulary", "unit", "units"),
    [(WORDS, "auto", 1), (WORDS, "word", 1), (WORDS, "token", 2), (SIGNS, "auto", 2)],
)
def test_unit_of_the_model_is_the_word_where_there_are_boundaries(vocabulary, unit, units) -> None:
    decoding = start(vocabulary, lm_unit=unit, word_score=0.5)
    decoding.step(np.array([[0, 0, 9, 0], [0, 0, 0, 9]], np.float32))
    (found,) = decoding.finish()
    assert vocabulary.text(found.tokens.tolist()) == "ab"
    assert found.score - found.log_prob == pytest.approx(0.5 * units)


def test_phrase_outside_the_vocabulary_is_an_error_if_strict(demo_bundle: Path) -> None:
    beam = BeamSearch(hotwords=["größe"], strict=True)
    message = (
        "^1 of 1 hotwords cannot be used in eng: phrase 'größe': 'ö' is not in the vocabulary$"
    )
    with (
        Recognizer.open(demo_bundle, beam=beam) as recognizer,
        pytest.raises(LanguageModelError, match=message),
    ):
        recognizer.transcribe(sound(1.0), "eng")


def test_unreadable_model_is_refused_before_the_graphs_are_loaded(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mms_engine.asr.recognizer.load_acoustic_model", lambda *_: pytest.fail("loaded")
    )
    path = tmp_path / "lm.arpa"
    for write in (lambda: None, lambda: path.write_text("not a model")):
        write()
        with pytest.raises(
            LanguageModelError, match=r"^the language model cannot be used: .*lm\.arpa"
        ):
            Recognizer.open(demo_bundle, beam=BeamSearch(lm=path))


def test_hotwords_are_a_list_or_a_mapping(search) -> None:
    """A list stands for the default score; a single string is refused."""
    clip = CLIPS[0]
    listed = search(hotwords=["letters"]).transcribe(clip.path, clip.language)
    assert listed == search(hotwords={"letters": 5.0}).transcribe(clip.path, clip.language)
    with pytest.raises(TypeError, match="must be a list or a mapping, got the string 'letters'"):
        BeamSearch(hotwords="letters")


def test_threads_share_one_decoder_per_language(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[BeamDecoder] = []

    def slow(*arguments: object, **options: object) -> BeamDecoder:
        time.sleep(0.02)
        made.append(BeamDecoder(*arguments, **options))
        return made[-1]

    monkeypatch.setattr("mms_engine.decoding.host.BeamDecoder", slow)
    decoders = HostDecoders(BeamSearch(beam_size=2))
    vocabularies = {"eng": WORDS, "jpn": SIGNS}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda language: decoders.start(language, vocabularies[language]),
                      ["eng", "jpn"] * 4))  # fmt: skip
    assert len(made) == 2


@pytest.mark.parametrize(("nbest", "beam_size"), [(0, 50), (3, 2)])
def test_nbest_is_within_the_beam(nbest: int, beam_size: int) -> None:
    message = f"^nbest is {nbest}, must be from 1 to beam_size {beam_size}$"
    with pytest.raises(ValueError, match=message):
        BeamSearch(nbest=nbest, beam_size=beam_size)
