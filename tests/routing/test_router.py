"""Recordings whose language is identified."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from mms_engine import (
    Identification,
    Identifier,
    LanguageError,
    Recognizer,
    Router,
    RoutingOptions,
)
from mms_engine.asr.jobs import Job
from mms_engine.cli import main
from mms_engine.formats import render
from mms_engine.routing.candidates import find_candidates
from mms_engine.routing.rerank import Candidate, RerankWeights, rerank
from mms_engine.routing.switching import viterbi
from voices import HIGH, LOW, MIDDLE, RATE, pause, voice

LABELS = ("ara", "eng", "swh", "uzb", "cmn")
CODES = ("cmn-script_simplified", "eng", "uzb-script_cyrillic", "uzb-script_latin")


def test_language_of_a_recording_is_that_of_its_voice(router: Router) -> None:
    for pitch, code in ((LOW, "eng"), (HIGH, "swh")):
        found = router.transcribe(voice(4, pitch, 1))
        assert found.language == code
        assert 0.5 < (found.language_probability or 0) <= 1
        (segment,) = found.segments
        assert (segment.start, segment.end, segment.text) == (0.0, 4.0, found.text)


def test_text_equals_that_of_the_language_given(router: Router, recognizer: Recognizer) -> None:
    sound = voice(5, HIGH, 4)
    found, given = router.transcribe(sound), recognizer.transcribe(sound, "swh")
    assert (found.text, found.words) == (given.text, given.words)
    assert given.language_probability is None
    assert given.segments == ()


def test_language_among_some(router: Router) -> None:
    assert router.transcribe(voice(3, LOW, 1), "auto:swh").language == "swh"


def test_language_given_is_not_identified(router: Router) -> None:
    job = Job(voice(3, LOW, 1), "swh")
    results = list(router.transcribe_each([job, job, Job(job.audio, "auto")]))
    assert [result.unwrap().language for result in results if result.job is job] == ["swh"] * 2
    assert {result.unwrap().language for result in results if result.job is not job} == {"eng"}


def test_silence_is_undetermined(router: Router) -> None:
    for sound in (np.zeros(RATE * 2, np.float32), np.zeros(100, np.float32)):
        found = router.transcribe(sound)
        assert (found.text, found.language, found.language_probability) == ("", "und", None)
        assert "no speech" in found.warnings[-1]


def test_language_without_adapter_is_one_error(router: Router) -> None:
    sound = voice(3, MIDDLE, 1)
    with pytest.raises(LanguageError, match=r"the language is fra \(French\), .*--nearest"):
        router.transcribe(sound)
    found = list(router.transcribe_each([Job(sound, "auto"), Job(voice(3, LOW, 1), "auto")]))
    assert sorted(result.error is None for result in found) == [False, True]


def test_nearest_with_adapter(recognizer: Recognizer, identifier: Identifier) -> None:
    router = Router(recognizer, identifier, RoutingOptions(nearest=True))
    assert router.transcribe(voice(3, MIDDLE, 1)).language in ("eng", "swh")


def test_unsure_language_is_used_with_a_warning(recognizer: Recognizer, lid_bundle: Path) -> None:
    from mms_engine import IdentifierOptions

    options = IdentifierOptions(threads=1, min_logit=1e6)
    with Identifier.open(lid_bundle, options=options) as identifier:
        found = Router(recognizer, identifier).transcribe(voice(3, LOW, 1))
    assert found.language == "eng"
    assert found.warnings[-1].startswith("unsure of the language: eng (English), ")


@pytest.fixture(scope="module")
def switching(recognizer: Recognizer, identifier: Identifier) -> Router:
    return Router(recognizer, identifier, RoutingOptions(switching=True))


BORDERS = (5.0, 9.3, 15.3)
MIXED = np.concatenate(
    [
        voice(5, LOW, 1),
        voice(4, HIGH, 2),
        pause(0.3),
        voice(6, LOW, 3),
        pause(0.2),
        voice(4, HIGH, 4),
    ]
)


def test_borders_of_switching_languages_are_within_a_second(switching: Router) -> None:
    found = switching.transcribe(MIXED)
    assert [one.language for one in found.segments] == ["eng", "swh", "eng", "swh"]
    for segment, border in zip(found.segments[1:], BORDERS, strict=True):
        assert abs(segment.start - border) <= 1.0
    assert found.segments[0].start == 0.0
    assert found.segments[-1].end == round(len(MIXED) / RATE, 3)
    for one, other in zip(found.segments, found.segments[1:], strict=False):
        assert one.end == other.start
    assert found.text == " ".join(one.text for one in found.segments if one.text)
    starts = [word.start for word in found.words]
    assert starts == sorted(starts)
    assert found.language == "eng"


def test_one_language_is_not_divided(switching: Router) -> None:
    sound = np.concatenate([voice(8, LOW, 1), voice(0.4, HIGH, 2), voice(8, LOW, 3)])
    assert [one.language for one in switching.transcribe(sound).segments] == ["eng"]


def test_silence_between_languages_belongs_to_one(switching: Router) -> None:
    sound = np.concatenate([voice(4, LOW, 1), pause(12), voice(4, LOW, 3)])
    assert [one.language for one in switching.transcribe(sound).segments] == ["eng"]
    assert switching.transcribe(pause(5)).language == "und"


def test_part_without_adapter_is_a_warning(switching: Router) -> None:
    found = switching.transcribe(np.concatenate([voice(5, LOW, 1), voice(5, MIDDLE, 2)]))
    assert [(one.language, bool(one.text)) for one in found.segments][1] == ("fra", False)
    assert "are in fra (French), which has no adapter" in found.warnings[-1]
    with pytest.raises(LanguageError, match="fra"):
        switching.transcribe(voice(5, MIDDLE, 2))


@pytest.mark.parametrize("options", [{}, {"rerank": 2}, {"switching": True}])
def test_result_does_not_depend_on_the_batch(
    recognizer: Recognizer, identifier: Identifier, options: dict[str, object]
) -> None:
    router = Router(recognizer, identifier, RoutingOptions(**options))  # type: ignore[arg-type]
    sounds = [voice(4, LOW, 1), MIXED, voice(2, HIGH, 5), pause(1), voice(4, HIGH, 6)]
    jobs = [Job(sound, "auto") for sound in sounds]
    together = {id(result.job): result.unwrap() for result in router.transcribe_each(jobs)}
    for job in jobs:
        alone, found = router.transcribe(job.audio), together[id(job)]
        assert (alone.text, alone.language) == (found.text, found.language)
        assert [s.start for s in alone.segments] == [s.start for s in found.segments]


def test_rerank_decodes_languages_in_one_batch(
    recognizer: Recognizer, identifier: Identifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    frontends: list[int] = []
    encoder = recognizer._model.encoder
    emission, features = encoder.emission, encoder._features  # type: ignore[attr-defined]
    monkeypatch.setattr(
        encoder, "emission", lambda segments: runs.append(len(segments)) or emission(segments)
    )
    monkeypatch.setattr(
        encoder, "_features", lambda samples: frontends.append(1) or features(samples)
    )
    router = Router(recognizer, identifier, RoutingOptions(rerank=2))
    found = router.transcribe(voice(4, HIGH, 1))
    assert runs == [2]
    assert frontends == [1]
    assert found.language_probability is not None


def test_rerank_follows_its_weights(recognizer: Recognizer, identifier: Identifier) -> None:
    sound = voice(4, HIGH, 1)
    texts = {code: recognizer.transcribe(sound, code).text for code in ("eng", "swh")}
    for sign in (1.0, -1.0):
        weights = RerankWeights(identification=0.0, acoustic=0.0, length=sign)
        options = RoutingOptions(rerank=2, weights=weights)
        found = Router(recognizer, identifier, options).transcribe(sound)
        assert found.text == max(texts.values(), key=lambda text: sign * len(text))


def test_probability_of_the_best_candidate_is_a_softmax(recognizer: Recognizer) -> None:
    transcript = recognizer.transcribe(voice(2, LOW, 1), "eng")
    candidates = [Candidate(transcript, own, 0.0) for own in (-1.0, -3.0)]
    best, probability = rerank(candidates, RerankWeights(identification=1.0, acoustic=0, length=0))
    assert best == 0
    assert probability == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_candidates_take_the_preferred_script() -> None:
    found = find_candidates(LABELS, CODES)
    assert found.codes == (None, "eng", None, "uzb-script_latin", "cmn-script_simplified")
    assert find_candidates(LABELS, CODES, with_adapter=True).labels == ("eng", "uzb", "cmn")


def test_candidates_take_codes_and_names() -> None:
    found = find_candidates(LABELS, CODES, ["uzb-script_cyrillic", "English", "Swahili"])
    assert dict(zip(found.labels, found.codes, strict=True)) == {
        "eng": "eng",
        "swh": None,
        "uzb": "uzb-script_cyrillic",
    }


@pytest.mark.parametrize("among", [["Klingon"], [""], [","], ["swh"]])
def test_unknown_candidates_are_errors(among: list[str]) -> None:
    with pytest.raises(LanguageError):
        find_candidates(LABELS, CODES, among, with_adapter=True)


def test_viterbi_pays_a_change_only_if_it_gains() -> None:
    scores = np.array([[0, -1], [0, -1], [-0.5, 0], [0, -1], [-1, 0], [-1, 0], [-1, 0]], float)
    assert viterbi(scores, 0.2).tolist() == [0, 0, 1, 0, 1, 1, 1]
    assert viterbi(scores, 1.2).tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert viterbi(scores, 9.0).tolist() == [1] * 7


def test_formats_have_languages(switching: Router) -> None:
    found = switching.transcribe(MIXED)
    document = json.loads(render(found, "a.wav", format_name="json"))
    assert [one["language"] for one in document["segments"]] == ["eng", "swh", "eng", "swh"]
    assert 'name = "languages"' in render(found, "a.wav", format_name="textgrid")
    assert "languages,0.000," in render(found, "a.wav", format_name="csv")


@pytest.fixture
def run(tmp_path: Path, asr_bundle: Path, lid_bundle: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MMS_BUNDLE", str(asr_bundle))
    monkeypatch.setenv("MMS_IDENTIFIER", str(lid_bundle))
    for name, sound in (
        ("low", voice(3, LOW)),
        ("high", voice(3, HIGH)),
        ("middle", voice(3, MIDDLE)),
    ):
        soundfile.write(f"{name}.wav", sound, RATE, "FLOAT")

    def invoke(arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments.split(), "--threads", "1"])

    return invoke


def test_command_transcribes_in_the_identified_language(run) -> None:  # type: ignore[no-untyped-def]
    result = run("transcribe low.wav high.wav --lang auto --json")
    assert result.exit_code == 0, result.output
    low, high = map(json.loads, result.stdout.splitlines())
    assert (low["language"], high["language"]) == ("eng", "swh")
    assert low["segments"][0]["probability"] == low["language_probability"]


def test_command_reports_a_language_without_adapter(run) -> None:  # type: ignore[no-untyped-def]
    result = run("transcribe low.wav middle.wav --lang auto")
    assert result.exit_code == 1
    assert "Error: middle.wav: the language is fra (French)" in result.stderr
    assert run("transcribe middle.wav --lang auto --nearest").exit_code == 0
    assert run("transcribe middle.wav --lang auto:eng").exit_code == 0


def test_command_streams_in_the_identified_language(run) -> None:  # type: ignore[no-untyped-def]
    result = run("stream high.wav --lang auto --json")
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert (events[0]["type"], events[0]["language"]) == ("language", "swh")
    finals = [event for event in events if event["type"] == "final"]
    assert finals[0]["language_probability"] == events[0]["probability"]


def test_resumed_command_depends_on_routing(run) -> None:  # type: ignore[no-untyped-def]
    first = run("transcribe low.wav --lang auto --output out/ --resume")
    assert first.exit_code == 0, first.output
    assert (
        "0 transcribed, 1 skipped"
        in run("transcribe low.wav --lang auto --output out/ --resume").stderr
    )
    changed = run("transcribe low.wav --lang auto --nearest --output out/ --resume")
    assert "1 transcribed, 0 skipped" in changed.stderr


def test_scores_with_identified_languages_are_of_the_spoken_ones(run) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("jiwer")
    Path("list.tsv").write_text("file\tlang\ttext\nlow.wav\tswh\taa\nhigh.wav\tswh\taa\n")
    result = run("transcribe --reference list.tsv --lang auto --json")
    assert result.exit_code == 0, result.output
    assert [one["language"] for one in json.loads(result.stdout)["languages"]] == ["swh"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("transcribe low.wav --lang eng --nearest", "--nearest needs --lang auto"),
        ("transcribe low.wav --lang eng --rerank 3", "--rerank needs --lang auto"),
        ("transcribe low.wav --lang auto --rerank 3 --switching", "exclude each other"),
        ("transcribe low.wav --lang auto:xyz", "no language 'xyz'"),
        ("stream low.wav --lang eng --switching", "--switching needs --lang auto"),
        ("transcribe low.wav --lang auto --identifier nowhere", "nowhere holds no manifest"),
    ],
)
def test_contradictions_are_one_line(run, arguments: str, message: str) -> None:  # type: ignore[no-untyped-def]
    result = run(arguments)
    assert result.exit_code != 0
    assert message in result.stderr.splitlines()[-1]


def test_identifier_is_required(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("MMS_IDENTIFIER")
    result = run("transcribe low.wav --lang auto")
    assert result.exit_code == 1
    assert "--identifier or MMS_IDENTIFIER" in result.stderr


def test_identification_of_the_whole_is_that_of_the_identifier(
    router: Router, identifier: Identifier
) -> None:
    sound = voice(4, HIGH, 9)
    expected: Identification = identifier.identify(sound, router.candidates().labels)
    assert router.transcribe(sound).language_probability == round(expected.scores[0].probability, 4)
