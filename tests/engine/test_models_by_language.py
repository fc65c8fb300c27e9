"""Language models by language: a folder, or a mapping; each language is decoded with its own."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine_demo import Clip, demo_clips
from lm_models import arpa, estimate
from mms_engine import BeamSearch, Job, Recognizer, RecognizerOptions
from mms_engine.cli import main
from mms_engine.decoding.language_models import SUFFIXES, language_model_files
from mms_engine.errors import LanguageModelError

CLIPS = [next(clip for clip in demo_clips() if clip.language == code) for code in ("eng", "fra")]
HEAVY = {"lm_weight": 4.0, "word_score": 6.0}


def model(path: Path, clip: Clip) -> Path:
    """Write a model that knows what a clip says, and nothing else."""
    path.write_text(arpa(estimate([clip.text.split()] * 3, 2)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "lm"
    folder.mkdir()
    for clip in CLIPS:
        model(folder / f"{clip.language}.arpa", clip)
    return folder


def transcribed(demo_bundle: Path, lm: object) -> list[str]:
    options = RecognizerOptions(verify=False, beam=BeamSearch(lm=lm, **HEAVY))
    with Recognizer.open(demo_bundle, options=options) as recognizer:
        found = recognizer.transcribe(
            [clip.path for clip in CLIPS], [clip.language for clip in CLIPS]
        )
    return [one.text for one in found]


def test_each_language_has_its_own(demo_bundle: Path, folder: Path) -> None:
    files = {clip.language: folder / f"{clip.language}.arpa" for clip in CLIPS}
    alone = [transcribed(demo_bundle, file) for file in files.values()]
    wanted = [alone[0][0], alone[1][1]]
    assert wanted[1] != alone[0][1]  # with the other's model, it says something else
    assert transcribed(demo_bundle, files) == wanted
    assert transcribed(demo_bundle, folder) == wanted


def test_language_without_a_model_is_decoded_without_and_told(
    demo_bundle: Path, folder: Path
) -> None:
    (folder / "fra.arpa").unlink()
    assert transcribed(demo_bundle, folder)[1] == transcribed(demo_bundle, {})[1]
    options = RecognizerOptions(verify=False, beam=BeamSearch(lm=folder))
    with Recognizer.open(demo_bundle, options=options) as recognizer:
        told = f"{folder} has no language model of fra: it is decoded without one"
        assert recognizer.decoder_warnings("fra") == (told,)
        assert recognizer.decoder_warnings("eng") == ()
        (found,) = recognizer.transcribe_each([Job(CLIPS[1].path, "fra")])
        assert found.transcript.warnings == (told,)


def test_damaged_model_is_an_error_of_its_language(demo_bundle: Path, folder: Path) -> None:
    (folder / "fra.arpa").write_text("\\data\\\nngram 1=x\n")
    options = RecognizerOptions(verify=False, beam=BeamSearch(lm=folder))
    with Recognizer.open(demo_bundle, options=options) as recognizer:
        results = recognizer.transcribe_each([Job(clip.path, clip.language) for clip in CLIPS])
        errors = {one.job.language: one.error for one in results}
    assert errors["eng"] is None
    assert isinstance(errors["fra"], LanguageModelError)
    assert "fra.arpa" in str(errors["fra"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_are_named_for_their_language(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"uzb-script_latin{suffix}"
    path.touch()
    (tmp_path / "README.md").touch()
    assert language_model_files(tmp_path) == {"uzb-script_latin": path}


@pytest.fixture
def mms(demo_bundle: Path):
    def run(command: str, *arguments: object) -> Result:
        words = [command, *map(str, arguments), "--bundle", str(demo_bundle)]
        return CliRunner().invoke(main, words)

    return run


def test_table_of_several_languages_takes_a_folder(mms, folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.tsv"
    rows = [f"{clip.path}\t{clip.language}" for clip in CLIPS]
    table.write_text("file\tlang\n" + "\n".join(rows) + "\n")
    options = ("--decoder", "beam", "--lm-weight", 4, "--word-score", 6, "--lm")
    result = mms("transcribe", "--list", table, *options, folder)
    assert result.exit_code == 0
    assert "Warning" not in result.stderr
    for clip in CLIPS:
        alone = mms("transcribe", clip.path, "--lang", clip.language, *options, folder)
        assert alone.stdout.strip() in result.stdout
    refused = mms("transcribe", "--list", table, *options, folder / "eng.arpa")
    assert "run one command per language, or give a folder with a model for each" in refused.stderr


def test_identified_language_takes_a_folder(mms, demo_lid: Path, folder: Path) -> None:
    auto = ("--lang", "auto", "--identifier", demo_lid, "--decoder", "beam", "--lm")
    assert mms("transcribe", CLIPS[0].path, *auto, folder).exit_code == 0
    refused = mms("transcribe", CLIPS[0].path, *auto, folder / "eng.arpa")
    assert "--lm is a model of one language: give --lang instead of auto, or" in refused.stderr


def test_folder_without_models_is_named(mms, tmp_path: Path) -> None:
    options = ("--lang", "eng", "--decoder", "beam", "--lm", tmp_path)
    result = mms("transcribe", CLIPS[0].path, *options)
    assert result.exit_code == 1
    assert f"{tmp_path} has no language models: name each for its language" in result.stderr


def test_server_refuses_the_model_of_one_language_for_several(mms, folder: Path) -> None:
    result = mms("serve", "--decoder", "beam", "--lm", folder / "eng.arpa", "--port", 0)
    assert result.exit_code == 1
    assert "eng.arpa is a model of one language, " in result.stderr
    assert "give a folder with a model for each" in result.stderr
