"""Models without adapters: `Wav2Vec2ForCTC` of one language, and the MMS aligner."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import Wav2Vec2ForCTC

from export_runs import edit_tensors, invoke, run_export
from mms_engine import LexiconSearch, Recognizer
from mms_engine.audio import normalize, read_audio
from mms_engine.bundle import open_bundle
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.cli import main as mms
from mms_engine.errors import LanguageError, MmsError
from mms_export.checkpoints.names import base_shapes
from mms_export.checkpoints.open import open_checkpoint, read_adapter
from mms_export.checkpoints.single import ALIGNER_TOKENS
from mms_export.parity.comparison import SPEECH
from mms_export.tensorrt.options import USES, PlanOptions
from tiny_models import TinyOptions, make_plain

PRECISIONS = ("fp32", "fp16", "int8")
OPTIONS = TinyOptions(languages=(("eng", 24),), hidden_size=48, heads=6, layers=3)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_plain(tmp_path_factory.mktemp("plain") / "plain", OPTIONS)


@pytest.fixture(scope="module")
def bundle(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "plain"
    run_export(plain, out, precisions=PRECISIONS, languages="eng", data_dtype="float32")
    return out


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(SPEECH).samples[: 6 * 16000]


def logits(checkpoint: Path, values: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        model = Wav2Vec2ForCTC.from_pretrained(checkpoint).eval()
        return model(torch.from_numpy(values)[None]).logits[0].numpy()


def test_graphs_have_no_adapters_and_the_head_is_data(bundle):
    opened = open_bundle(bundle)
    model = opened.model(Wav2Vec2Ctc)
    assert (model.adapter_attn_dim, model.adapter_parameters, model.text) == (0, 0, "native")
    for graph in opened.manifest.graphs:
        assert "adapters" not in {tensor.name for tensor in graph.inputs}
    weights = opened.adapter("eng")
    assert weights.adapter.shape == (0,)
    assert weights.head_weight.shape == (24, 48)
    assert opened.manifest.source.licence == "unknown"
    assert opened.problems() == []


def test_float32_logits_equal_transformers(plain, bundle, speech):
    expected = logits(plain, normalize(speech))
    with Recognizer.open(bundle, device="cpu", precision="fp32") as recognizer:
        (found,) = recognizer._model.logits([segment(normalize(speech))])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def segment(samples: np.ndarray):
    from mms_engine.encoder.emission import Segment

    return Segment(samples, "eng")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions_agree_with_float32(plain, bundle, speech, precision):
    expected = logits(plain, normalize(speech)).argmax(-1)
    with Recognizer.open(bundle, device="cpu", precision=precision) as recognizer:
        (found,) = recognizer._model.logits([segment(normalize(speech))])
    assert (found.argmax(-1) == expected).mean() > 0.97


@pytest.mark.parametrize("precision", PRECISIONS)
def test_streams_and_pools_give_the_same_text(bundle, speech, precision):
    with Recognizer.open(bundle, device="cpu", precision=precision) as recognizer:
        with recognizer.stream("eng") as stream:
            alone = [*stream.feed(speech), *stream.finish()]
        with recognizer.pool() as pool:
            pooled = pool.open("eng")
            pooled.feed(speech)
            pooled.finish()
            together = list(pooled.events(timeout=60))
    finals = [
        " ".join(event.transcript.text for event in events if event.type == "final")
        for events in (alone, together)
    ]
    assert finals[0] == finals[1] != ""


def test_waveform_is_normalised_only_as_the_preprocessor_says(tmp_path, speech):
    checkpoint = make_plain(tmp_path / "raw", dataclasses.replace(OPTIONS, normalize=False))
    run_export(checkpoint, tmp_path / "b", languages="eng", data_dtype="float32")
    quiet = speech / 100
    ids = logits(checkpoint, quiet).argmax(-1)
    assert (ids != logits(checkpoint, normalize(quiet)).argmax(-1)).any()
    with Recognizer.open(tmp_path / "b", device="cpu") as recognizer:
        vocabulary = recognizer._model.vocabulary("eng")
        kept = [int(t) for i, t in enumerate(ids) if i == 0 or ids[i - 1] != t]
        expected = vocabulary.text([token for token in kept if token])
        assert recognizer.transcribe(quiet, "eng").text == expected


def test_plans_of_every_graph(bundle, plain, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    uses = (USES["streaming"].limited(2, 2),)
    options = PlanOptions(runtime="tensorrt-rtx", capabilities=("8.6",), uses=uses)
    given = {"precisions": ("fp16",), "plans": options, "languages": "eng"}
    manifest = run_export(plain, tmp_path / "b", **given)
    assert {plan.graph for plan in manifest.plans} == {"frontend", "step"}
    for plan in manifest.plans:
        assert "adapters" not in {tensor.name for tensor in plan.inputs}


@pytest.mark.parametrize(
    ("card", "target", "asked", "code"),
    [
        ("", None, "all", "und"),
        ("language: tr", None, "all", "tr"),
        ("language:\n- sw", None, "all", "sw"),
        ("language:\n- sw\n- en", None, "all", "und"),
        ("language: tr", "tur", "all", "tur"),
        ("language: tr", "tur", "türkçe", "türkçe"),
    ],
)
def test_language_of_a_plain_model(plain, tmp_path, card, target, asked, code):
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in plain.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    settings = json.loads((plain / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"target_lang": target}))
    source = open_checkpoint(str(folder), asked)
    assert list(source.adapters) == [code]
    hints = [warning for warning in source.warnings if "--lang CODE" in warning]
    assert bool(hints) == (code == "und")


@pytest.mark.parametrize("code", ["../eng", "a/b", "a\\b", ".eng", "x" * 65, "a:b", "a\nb"])
def test_code_that_cannot_name_a_file_is_refused(plain, tmp_path, code):
    with pytest.raises(LanguageError, match="cannot be a language code"):
        run_export(plain, tmp_path / "b", languages=code)
    assert not (tmp_path / "b").exists()


def test_pretrained_model_without_a_head_is_refused(plain, tmp_path):
    folder = copy(plain, tmp_path)
    edit_tensors(folder / "model.safetensors", lambda t: [t.pop(k) for k in list(t) if "head" in k])
    with pytest.raises(MmsError, match=r"has no lm_head .* cannot transcribe"):
        open_checkpoint(str(folder))


def copy(plain: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in plain.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_aligner_is_recognised_by_its_letters(plain, tmp_path):
    size = len(ALIGNER_TOKENS)
    folder = make_plain(tmp_path / "a", dataclasses.replace(OPTIONS, languages=(("eng", size),)))
    vocab = {token: row for row, token in enumerate(ALIGNER_TOKENS)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    result = invoke("--model", folder, "--out", tmp_path / "b", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    opened = open_bundle(tmp_path / "b")
    model = opened.model(Wav2Vec2Ctc)
    assert opened.languages == ("mul",)
    assert (model.text, model.normalize) == ("uroman", False)
    vocabulary = opened.vocabulary("mul")
    assert vocabulary.tokens == ("<pad>", "<unk>", "</s>", "<unk>", *ALIGNER_TOKENS[4:])
    assert not vocabulary.has_boundary
    with pytest.raises(LanguageError, match="has no language 'swh'"):
        run_export(folder, tmp_path / "c", languages="swh")


ALIGNER = TinyOptions(languages=(("eng", len(ALIGNER_TOKENS)),), hidden_size=64, heads=16)


@pytest.fixture(scope="module")
def aligner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligner on the hub: `model.pt` beside it has torchaudio's names."""
    folder = make_plain(tmp_path_factory.mktemp("aligner") / "hub", ALIGNER)
    vocab = {token: row for row, token in enumerate(ALIGNER_TOKENS)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    return folder


def torchaudio_tensors(hub: Path) -> dict[str, torch.Tensor]:
    names = {
        "lm_head.": "aux.",
        "wav2vec2.encoder.": "encoder.transformer.",
        "wav2vec2.feature_projection.": "encoder.feature_projection.",
        "wav2vec2.": "",
    }
    tensors = load_file(hub / "model.safetensors")
    tensors.pop("wav2vec2.masked_spec_embed")
    found = {}
    for name, tensor in tensors.items():
        prefix = next(prefix for prefix in names if name.startswith(prefix))
        found[names[prefix] + name.removeprefix(prefix)] = tensor
    return found


@pytest.mark.parametrize(("wrapper", "special"), [("", True), ("model.", False)])
def test_torchaudio_aligner_equals_that_of_the_hub(aligner, tmp_path, wrapper, special):
    """As downloaded, and as `MMS_FA.get_model()` holds it: wrapped, without special tokens."""
    tensors = torchaudio_tensors(aligner)
    if not special:
        for name in ("aux.weight", "aux.bias"):
            tensors[name] = torch.cat([tensors[name][:1], tensors[name][4:]])
    path = tmp_path / "model.pt"
    torch.save({wrapper + name: tensor for name, tensor in tensors.items()}, path)
    hub, ours = open_checkpoint(str(aligner)), open_checkpoint(str(path))
    assert (ours.config, ours.format) == (hub.config, "torchaudio")
    assert ours.config.text == "uroman"
    for name in base_shapes(hub.config):
        np.testing.assert_array_equal(ours.weights.read(name), hub.weights.read(name), name)
    heads = [read_adapter(one.adapters["mul"], one.config) for one in (hub, ours)]
    kept = slice(None) if special else [0, *range(4, len(ALIGNER_TOKENS))]
    for name in ("lm_head.weight", "lm_head.bias"):
        np.testing.assert_array_equal(heads[0].read(name)[kept], heads[1].read(name))
    tokens = np.array(hub.adapters["mul"].vocab)[kept].tolist()
    assert list(ours.adapters["mul"].vocab) == tokens


@pytest.mark.parametrize("first", [["<s>", "<pad>", "</s>", "<unk>"], ["<pad>"]])
def test_dictionary_beside_a_state_dict(aligner, tmp_path, first):
    tensors = torchaudio_tensors(aligner)
    size = len(first) + 6
    for name in ("aux.weight", "aux.bias"):
        tensors[name] = tensors[name][:size].clone()
    path = tmp_path / "model.pt"
    torch.save(tensors, path)
    with pytest.raises(MmsError, match=rf"a head of {size} rows and no dictionary: write its"):
        open_checkpoint(str(path))
    dictionary = tmp_path / "dictionary.txt"
    dictionary.write_text("\n".join([*first, "|", *"abcde"]) + "\n")
    source = open_checkpoint(str(path), "swh")
    assert source.adapters["swh"].vocab[-6:] == ("|", *"abcde")
    assert source.adapters["swh"].vocab[0] == "<pad>"
    assert (source.config.text, source.config.normalize) == ("native", True)
    assert list(open_checkpoint(str(path)).adapters) == ["und"]
    dictionary.write_text("a\n")
    with pytest.raises(MmsError, match=rf"a head of {size} rows, its dictionary has 1 tokens"):
        open_checkpoint(str(path))


ZERO_SHOT_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"aienoutsrmkldghybpwcvjzf'qx")


def make_zero_shot(folder: Path) -> Path:
    """Write a random model in the layout of mms-meta/mms-zeroshot-300m."""
    size = len(ZERO_SHOT_TOKENS)
    make_plain(folder, dataclasses.replace(ALIGNER, languages=(("eng", size),)))
    vocab = {token: row for row, token in enumerate(ZERO_SHOT_TOKENS)}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    return folder


@pytest.mark.parametrize(
    ("name", "languages", "code", "text"),
    [
        ("mms-zeroshot-300m", "all", "mul", "uroman"),
        ("mine", "mul", "mul", "uroman"),
        ("mine", "eng", "eng", "native"),  # letters of English, too
    ],
)
def test_zero_shot_model_is_known_by_its_name_or_code(
    tmp_path: Path, name: str, languages: str, code: str, text: str
) -> None:
    folder = make_zero_shot(tmp_path / name)
    run_export(folder, tmp_path / "bundle", languages=languages)
    opened = open_bundle(tmp_path / "bundle")
    model = opened.model(Wav2Vec2Ctc)
    assert (opened.languages, model.text, model.normalize) == ((code,), text, True)
    assert opened.vocabulary(code).has_boundary


def test_letters_of_a_language_are_not_romanised(plain: Path, tmp_path: Path) -> None:
    folder = copy(plain, tmp_path)
    vocab = json.loads((folder / "vocab.json").read_text())
    letter = next(t for t in vocab if t.isalpha())
    vocab["ß"] = vocab.pop(letter)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    config = open_checkpoint(str(folder), "mul").config
    assert config.text == "native"


def test_zero_shot_bundle_takes_words_of_any_language(tmp_path: Path, speech: np.ndarray) -> None:
    pytest.importorskip("uroman", reason="the package uroman is not installed")
    run_export(make_zero_shot(tmp_path / "mms-zeroshot-300m"), tmp_path / "bundle")
    words = ["Привет", "мир", "да"]
    search = LexiconSearch(words=words, word_score=100.0)
    with Recognizer.open(tmp_path / "bundle", threads=1, beam=search) as recognizer:
        for language in ("rus", "mul"):
            found = recognizer.transcribe(speech, language)
            assert found.language == language
            assert set(found.text.split()) <= set(words)
            assert found.words
    with (
        Recognizer.open(tmp_path / "bundle", threads=1) as greedy,
        pytest.raises(LanguageError, match="does not have the language 'rus'"),
    ):
        greedy.transcribe(speech, "rus")
    (tmp_path / "words.txt").write_text("\n".join(words), encoding="utf-8")
    command = ["transcribe", str(SPEECH), "--bundle", str(tmp_path / "bundle"), "--json"]
    command += ["--zero-shot", str(tmp_path / "words.txt")]
    result = CliRunner().invoke(mms, [*command, "--lang", "rus"])
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["text"].split()) <= set(words)
    result = CliRunner().invoke(mms, [*command, "--lang", "xyzzy"])
    assert result.exit_code == 1
    assert "xyzzy" in result.stderr
