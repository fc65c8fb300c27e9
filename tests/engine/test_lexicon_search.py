"""Recognition with a list of words: zero-shot on romanised letters, and a closed vocabulary."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import lm_models
from engine_demo import demo_clips
from flashlight_peer import Peer
from mms_engine import LanguageModelError, LexiconSearch, Recognizer, read_audio
from mms_engine.audio import normalize
from mms_engine.cli import main
from mms_engine.decoding.host import HostDecoders
from mms_engine.decoding.loading import open_decoders
from mms_engine.decoding.transcript import UtteranceInfo, text_of, transcript
from mms_engine.encoder.emission import Segment
from mms_engine.text.targets import spellings
from mms_engine.text.vocabulary import Vocabulary
from mms_kernels import Lexicon, LexiconDecoder, LexiconOptions

LATIN = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"))
SEAMLESS = Vocabulary(("<pad>", *"abcdefghijklmnopqrstuvwxyz'"))
"""Letters without a word boundary, as those of the MMS aligner."""
SENTENCES = Path(__file__).resolve().parents[2] / "examples/demo/sentences.tsv"


def emission(vocabulary: Vocabulary, text: str) -> np.ndarray:
    """Return logits `[T, V]` of a text, each token in two frames with a blank behind it."""
    tokens = [vocabulary.tokens.index(c) for c in text]
    path = [frame for token in tokens for frame in (token, token, 0)]
    logits = np.full((len(path), len(vocabulary)), -6.0, np.float32)
    logits[np.arange(len(path)), path] = 6.0
    return logits


def decoded(search: LexiconSearch, vocabulary: Vocabulary, spoken: str, language: str = "eng", **o):
    decoding = HostDecoders(search, **o).start(language, vocabulary)
    decoding.step(emission(vocabulary, spoken))
    info = UtteranceInfo(language, vocabulary, 1.0, 0.02)
    return transcript(decoding.finish(), info, search.nbest), decoding.warnings


@pytest.mark.parametrize("end", ["", "|"])
def test_text_consists_of_words_of_the_list(end: str) -> None:
    search = LexiconSearch(words=["hello", "world", "word"])
    found, warnings = decoded(search, LATIN, f"helo|wrld{end}")
    assert found.text == "hello world"
    assert warnings == ()
    assert [(word.text, word.start) for word in found.words] == [("hello", 0.0), ("world", 0.3)]
    assert 0 < found.words[0].confidence < 1


def test_romanised_words_are_written_as_in_the_list() -> None:
    pytest.importorskip("uroman", reason="the package uroman is not installed")
    search = LexiconSearch(words=["Привет", "мир", "नमस्ते"])
    found, _ = decoded(search, LATIN, "privet|mir|", "rus", romanized=True)
    assert found.text == "Привет мир"
    found, _ = decoded(search, SEAMLESS, "namastemirmirprivet", "rus", romanized=True)
    assert found.text == "नमस्ते мир мир Привет"


def test_first_of_words_with_one_spelling_is_taken() -> None:
    pytest.importorskip("uroman", reason="the package uroman is not installed")
    for words in (["мир", "mir"], ["mir", "мир"]):
        search = LexiconSearch(words=words, nbest=2)
        found, _ = decoded(search, LATIN, "mir|", "rus", romanized=True)
        assert [one.text for one in found.alternatives] == words


def test_language_model_chooses_among_words(tmp_path: Path) -> None:
    tables = lm_models.estimate([["red", "bead"], ["blue", "bird"]] * 4, 2)
    (tmp_path / "lm.arpa").write_text(lm_models.arpa(tables), encoding="utf-8")
    words = ["red", "blue", "bead", "bird", "bard"]
    for first, second in (("red", "bead"), ("blue", "bird")):
        search = LexiconSearch(words=words, lm=tmp_path / "lm.arpa", lm_weight=3.0)
        found, warnings = decoded(search, LATIN, f"{first}|b|d|")
        assert found.text == f"{first} {second}"
        assert warnings == (f"1 of 5 words of the list are not in {tmp_path / 'lm.arpa'}: bard",)
    search = LexiconSearch(words=["green"], lm=tmp_path / "lm.arpa")
    with pytest.raises(LanguageModelError, match="choose a model of whole words"):
        HostDecoders(search).start("eng", LATIN)


def test_words_that_cannot_be_spelled_are_reported() -> None:
    search = LexiconSearch(words=["naïve", "hello", "мир", "it's", "co-op"])
    _, warnings = decoded(search, LATIN, "hello|")
    assert warnings == (
        "2 of 5 words of the list cannot be written with the letters of eng: naïve, мир",
    )
    assert decoded(search, LATIN, "it's|coop|")[0].text == "it's co-op"
    with pytest.raises(LanguageModelError, match=r"1 of 1 words .* choose a list in the language"):
        HostDecoders(LexiconSearch(words=["мир"])).start("eng", LATIN)


def test_partial_text_and_end_without_words() -> None:
    decoding = HostDecoders(LexiconSearch(words=["ab", "cd"])).start("eng", LATIN)
    decoding.step(emission(LATIN, "ab|cd|a"))
    hypothesis, stable = decoding.partial(emission(LATIN, "b|"))
    assert text_of(hypothesis, LATIN) == "ab cd ab"
    assert text_of(hypothesis, LATIN, stable) in ("", "ab", "ab cd")
    assert text_of(decoding.finish()[0], LATIN) in ("ab cd", "ab cd ab")
    silent = HostDecoders(LexiconSearch(words=["ab"])).start("eng", LATIN)
    assert text_of(silent.finish()[0], LATIN) == ""


def test_hotwords_are_refused() -> None:
    decoders = HostDecoders(LexiconSearch(words=["ab"]))
    with pytest.raises(LanguageModelError, match="has no hotwords"):
        decoders.start("eng", LATIN, ["ab"])


def test_words_are_searched_on_the_host_beside_a_gpu(caplog: pytest.LogCaptureFixture) -> None:
    host = HostDecoders(LexiconSearch(words=["ab"]))
    with caplog.at_level(logging.WARNING):
        assert open_decoders(host, object()) is host
    assert "a list of words is searched there only" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        (b" \n", "has no words"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LanguageModelError, match=message):
        HostDecoders(LexiconSearch(words=path))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="nbest is 3"):
        LexiconSearch(words=["a"], nbest=3, beam_size=2)
    assert LexiconSearch(words=["a"]).score_of_word() == -3.5
    assert LexiconSearch(words=["a"], lm="lm.arpa").score_of_word() == -0.18


@pytest.fixture(scope="module")
def word_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The words of the demo's English sentences."""
    rows = (line.split("\t") for line in SENTENCES.read_text(encoding="utf-8").splitlines())
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("\n".join(text for lang, text in rows if lang == "eng"), encoding="utf-8")
    return path


def test_demo_writes_words_of_the_list_only(demo_bundle: Path, word_list: Path) -> None:
    clips = [clip for clip in demo_clips() if clip.language == "eng"]
    known = set(word_list.read_text(encoding="utf-8").split())
    errors = {}
    for search in (None, LexiconSearch(words=word_list)):
        with Recognizer.open(demo_bundle, threads=2, beam=search) as recognizer:
            texts = [recognizer.transcribe(clip.path, "eng").text for clip in clips]
        errors[search] = sum(
            len(set(clip.text.split()) ^ set(text.split()))
            for clip, text in zip(clips, texts, strict=True)
        )
    assert set(" ".join(texts).split()) <= known
    assert errors[search] < errors[None]


@pytest.mark.parametrize("language", ["eng", "spa", "rus"])
def test_scores_on_the_demo_are_those_of_flashlight(demo_bundle: Path, language: str) -> None:
    rows = (line.split("\t") for line in SENTENCES.read_text(encoding="utf-8").splitlines())
    words = sorted({word for lang, text in rows if lang == language for word in text.split()})
    with Recognizer.open(demo_bundle, threads=2) as recognizer:
        vocabulary = recognizer.bundle.vocabulary(language)
        logits = [
            recognizer._model.logits([Segment(normalize(read_audio(clip.path).samples), language)])[
                0
            ]
            for clip in demo_clips()
            if clip.language == language
        ]
    separator = vocabulary.tokens.index("|")
    spelled = [
        ((*tokens, separator), i)
        for i, tokens in enumerate(spellings(words, language, vocabulary, romanized=False))
        if tokens
    ]
    peer = Peer(spelled, words, len(vocabulary), separator, word_score=-3.5, beam_threshold=50.0)
    options = LexiconOptions(
        separator=separator, word_score=-3.5, beam_threshold=50.0, open_end=False
    )
    decoder = LexiconDecoder(Lexicon(spelled, words), options)
    for one in logits:
        shifted = one - np.logaddexp.reduce(one, axis=1, keepdims=True)
        score, found = peer.decode(np.ascontiguousarray(shifted))
        stream = decoder.stream()
        stream.step(one)
        best = stream.finish()[0]
        assert best.score == pytest.approx(score, abs=1e-3)
        assert tuple(best.tokens.tolist()) == found
        assert len(found) > 3


def run(bundle: Path, *arguments: object) -> Result:
    command = ["transcribe", *map(str, arguments), "--bundle", str(bundle), "--threads", "2"]
    return CliRunner().invoke(main, command)


def test_command(demo_bundle: Path, word_list: Path) -> None:
    clip = next(clip for clip in demo_clips() if clip.language == "eng")
    options = ["--lang", "eng", "--zero-shot", word_list, "--json", "--nbest", 2]
    result = run(demo_bundle, clip.path, *options)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    known = set(word_list.read_text(encoding="utf-8").split())
    assert set(document["text"].split()) <= known
    assert len(document["alternatives"]) == 2


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--hotwords", "LIST"], 2, "--hotwords does not go with --zero-shot"),
        (["--lm-unit", "word"], 2, "--lm-unit does not go with --zero-shot"),
        (["--lm-weight", "1"], 2, "--lm-weight needs --lm"),
        (["--output", "LIST"], 1, "it is the input"),
    ],
)
def test_command_refuses(
    demo_bundle: Path, word_list: Path, options: list, code: int, message: str
) -> None:
    clip = next(clip for clip in demo_clips() if clip.language == "eng")
    given = [word_list if part == "LIST" else part for part in options]
    result = run(demo_bundle, clip.path, "--lang", "eng", "--zero-shot", word_list, *given)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.split())
