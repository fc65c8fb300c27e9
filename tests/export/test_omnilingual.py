"""Omnilingual ASR with CTC: two layouts, one head for all languages."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import OmniASRFeatureExtractor, OmniASRForCTC, ParakeetTokenizer

from exporting import export
from lm_models import arpa, estimate
from mms_engine import BeamSearch, Recognizer, RecognizerOptions
from mms_engine.align.aligner import Aligner
from mms_engine.align.options import AlignerOptions
from mms_engine.audio import normalize, read_audio
from mms_engine.audio.limits import AudioLimits
from mms_engine.bundle.reader import open_bundle
from mms_engine.cli import main as mms
from mms_engine.encoder.emission import Segment
from mms_engine.errors import LanguageError, MmsError
from mms_engine.languages import labels_with_codes
from mms_export.checkpoints import config
from mms_export.checkpoints.config import OMNILINGUAL_HEADS as HEADS
from mms_export.checkpoints.config import OMNILINGUAL_SIZES as SIZES
from mms_export.checkpoints.names import adapter_shapes, base_shapes
from mms_export.checkpoints.open import open_checkpoint
from mms_export.checkpoints.sentencepiece import read_pieces
from mms_export.parity.comparison import SPEECH
from mms_export.synthetic.omnilingual import main as synthetic
from omnilingual_models import PIECES, final_texts, make_fairseq2, make_omniasr, write_pieces
from tiny_models import TinyOptions, make_plain


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_omniasr(tmp_path_factory.mktemp("omnilingual") / "hub")


@pytest.fixture(scope="session")
def pickle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fairseq2(tmp_path_factory.mktemp("omnilingual") / "fairseq2")


@pytest.fixture(scope="session")
def bundle(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("omnilingual") / "bundle"
    return export(hub, out, "--precision", "fp32,int8")


@pytest.fixture(scope="session")
def speech() -> list[np.ndarray]:
    samples = read_audio(SPEECH).samples
    return [samples[:48_000], samples[:31_111]]


def expected(hub: Path, speech: list[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """Return the logits `[T, V]` and the texts of transformers, computed in one batch."""
    model = OmniASRForCTC.from_pretrained(hub).eval()
    inputs = OmniASRFeatureExtractor.from_pretrained(hub)(speech, sampling_rate=16_000)
    with torch.inference_mode():
        logits = model(**inputs).logits.numpy()
        ids = model.generate(**inputs)
    lengths = [(size - 400) // 320 + 1 for size in map(len, speech)]
    tokenizer = ParakeetTokenizer.from_pretrained(hub)
    texts = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]
    return [row[:length] for row, length in zip(logits, lengths, strict=True)], texts


@pytest.mark.parametrize(
    ("size", "release", "tensors", "parameters"),
    [
        ("300M", 9812, 423, 325_494_996),
        ("1B", 9812, 807, 975_065_300),
        ("3B", 10288, 999, 3_081_398_960),
        ("7B", 10288, 2087, 6_505_761_456),
    ],
)
def test_tensors_are_those_of_the_published_models(size, release, tensors, parameters):
    layers, hidden = SIZES[size]
    demo = open_checkpoint("demo").config
    sizes = type(demo)(
        **{name: getattr(demo, name) for name in demo.__struct_fields__}
        | {
            "conv_dim": (512,) * 7,
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "intermediate_size": 4 * hidden,
            "num_conv_pos_embeddings": 128,
            "num_conv_pos_embedding_groups": 16,
            "num_attention_heads": HEADS,
            "adapter_attn_dim": 0,
        }
    )
    shapes = base_shapes(sizes) | adapter_shapes(sizes, release)
    assert len(shapes) == tensors
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == parameters


def test_logits_and_text_equal_transformers(hub, bundle, speech):
    logits, texts = expected(hub, speech)
    with Recognizer.open(bundle, device="cpu", precision="fp32") as recognizer:
        results = list(recognizer.transcribe(speech, language="mul"))
        model = recognizer.acoustic
        segments = [Segment(normalize(clip, 1e-5), "mul") for clip in speech]
        found = model.logits(segments)
    for ours, theirs in zip(found, logits, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert [result.text for result in results] == texts
    assert len(set(texts[0])) > 5
    assert len(set(texts[1])) > 1


def test_both_layouts_are_the_same_model(hub, pickle):
    first, second = open_checkpoint(str(hub)), open_checkpoint(str(pickle))
    assert first.config == second.config
    assert first.config.normalize_epsilon == 1e-5
    assert first.adapters["mul"].labels == second.adapters["mul"].labels
    for name in first.weights.shapes:
        if not name.endswith(("weight_g", "weight_v")):
            assert np.array_equal(first.weights.read(name), second.weights.read(name)), name


def test_quiet_audio_is_normalised_with_the_epsilon_of_the_model(hub, bundle, speech):
    quiet = [0.01 * clip for clip in speech]
    logits, _ = expected(hub, quiet)
    found = {}
    with Recognizer.open(bundle, device="cpu", precision="fp32") as recognizer:
        for epsilon in (1e-5, 1e-7):
            (found[epsilon],) = recognizer.acoustic.logits(
                [Segment(normalize(quiet[0], epsilon), "mul")]
            )
        with recognizer.stream("mul") as stream:
            assert stream._core.audio._running._epsilon == 1e-5
    np.testing.assert_allclose(found[1e-5], logits[0], atol=2e-3)
    assert np.abs(found[1e-7] - logits[0]).max() > 0.1


def test_roles_of_the_vocabulary(bundle):
    vocabulary = open_bundle(bundle).vocabulary("mul")
    ids = [PIECES.index(piece) for piece in ("a", " ", "<pad>", "b", "<unk>", "</s>", "c")]
    assert vocabulary.text(ids) == "a bc"
    assert open_bundle(bundle).manifest.source.licence == "unknown"


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_pickles_and_their_folders_are_recognised(tmp_path, wrapper):
    path = make_fairseq2(tmp_path, wrapper=wrapper)
    assert open_checkpoint(str(path)).config == open_checkpoint(str(path.parent)).config


def test_pieces_are_those_that_protobuf_writes(tmp_path):
    pieces = read_pieces(write_pieces(tmp_path / "any.model"))
    assert [piece.text for piece in pieces] == list(PIECES)
    assert [piece.is_text for piece in pieces] == [False] * 4 + [True] * (len(PIECES) - 4)


@pytest.mark.parametrize("size", [0, 1, 20, 300])
def test_truncated_tokenizer_is_refused(tmp_path, size):
    path = write_pieces(tmp_path / "any.model")
    path.write_bytes(path.read_bytes()[:size] + b"\xff" * (size > 20))
    with pytest.raises(MmsError, match=r"any\.model"):
        read_pieces(path)


def test_tokenizer_of_another_release_is_refused(tmp_path):
    path = make_fairseq2(tmp_path)
    write_pieces(tmp_path / "omniASR_tokenizer.model", (*PIECES, "é"))
    with pytest.raises(MmsError, match=r"59 rows.*60 pieces: they belong to different models"):
        open_checkpoint(str(path))
    write_pieces(tmp_path / "own.model")
    assert open_checkpoint(str(path)).adapters["mul"].described_by[0].name == "own.model"
    write_pieces(tmp_path / "other.model")
    with pytest.raises(MmsError, match="unclear"):
        open_checkpoint(str(path))
    for file in tmp_path.glob("*.model"):
        file.unlink()
    with pytest.raises(MmsError, match="no tokenizer beside it"):
        open_checkpoint(str(path))


def test_folder_with_another_tokenizer_is_refused(hub, tmp_path):
    folder = shutil.copytree(hub, tmp_path / "hub")
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"]["vocab"].append(["é", -60.0])
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(MmsError, match=r"59 rows.*60 tokens"):
        open_checkpoint(str(folder))


def test_models_without_a_head_and_with_another_decoder_are_refused(hub, tmp_path):
    path = make_fairseq2(tmp_path / "pt")
    document = torch.load(path)
    model = document["model"]
    torch.save({"model": model | {"llama_decoder.norm": torch.zeros(1)}}, path)
    with pytest.raises(MmsError, match="only those with CTC"):
        open_checkpoint(str(path))
    headless = {name: t for name, t in model.items() if not name.startswith("final_proj.")}
    torch.save({"model": headless}, path.with_name("headless.pt"))
    with pytest.raises(MmsError, match="no head"):
        open_checkpoint(str(path.with_name("headless.pt")))
    folder = shutil.copytree(hub, tmp_path / "hub")
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(written | {"model_type": "omniasr"}))
    with pytest.raises(MmsError, match="only those with CTC"):
        open_checkpoint(str(folder))


def test_language_of_one_head_is_named_when_transcribing(hub):
    assert set(open_checkpoint(str(hub), "mul").adapters) == {"mul"}
    with pytest.raises(LanguageError, match="when transcribing"):
        open_checkpoint(str(hub), "swh")


def test_language_masks_the_columns_of_other_scripts(bundle, speech):
    with Recognizer.open(bundle, device="cpu", precision="fp32") as recognizer:
        whole = recognizer.bundle.vocabulary("mul")
        codes = ["swh", "rus", "cmn-script_simplified", "arb_Arab", "mul"]
        together = recognizer.acoustic.logits(
            [Segment(normalize(speech[0], 1e-5), code) for code in codes]
        )
        letters = {code: recognizer.bundle.vocabulary(code) for code in codes}
        for code, logits in zip(codes, together, strict=True):
            rows = [i for i, token in enumerate(whole.tokens) if token in letters[code].tokens]
            np.testing.assert_array_equal(logits, together[-1][:, rows])
        texts = {
            code: next(iter(recognizer.transcribe([speech[0]], language=code))).text
            for code in codes
        }
    shared = {" ", "'"}
    assert set(texts["swh"]) <= set("abcdefghijklmnopqrstuvwxyz") | shared
    assert {"ñ", "ç", "ş"} <= set(whole.tokens)
    assert set(texts["rus"]) <= set("абвгдежзийкл") | shared
    assert set(texts["cmn-script_simplified"]) <= set("汉字语") | shared
    assert set(texts["arb_Arab"]) <= set("بتثجح") | shared
    assert len(set(texts.values())) == len(codes)
    assert all(map(str.strip, texts.values()))


def test_languages_are_those_whose_script_is_in_the_vocabulary(bundle):
    opened = open_bundle(bundle)
    assert {"mul", "eng", "swh", "rus", "hin", "jpn"} <= set(opened.languages)
    assert "tam" not in opened.languages
    assert opened.only_language == "mul"
    assert labels_with_codes(["eng", "hin", "tam"], opened.languages) == ("eng", "hin")
    with pytest.raises(LanguageError, match="no letter of the script Taml"):
        opened.vocabulary("tam")
    with pytest.raises(LanguageError, match="did you mean swh"):
        opened.entry("swhh")
    with pytest.raises(LanguageError, match="swh_Latn"):
        opened.entry("zzzzzz")


@pytest.mark.parametrize("language", ["mul", "swh"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_streams_and_pools_give_the_same_text(bundle, speech, precision, language):
    with Recognizer.open(bundle, device="cpu", precision=precision) as recognizer:
        alone, pooled = final_texts(recognizer, speech[0], language)
    assert alone == pooled != ""


def test_beam_search_with_a_model_and_hotwords(bundle, speech, tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(arpa(estimate([["a", "bc", "da"], ["cab", "a"]], 2)), encoding="utf-8")
    beam = BeamSearch(lm=path, lm_unit="word", hotwords=("abc",))
    for language in ("mul", "swh"):
        options = RecognizerOptions(device="cpu", precision="fp32", beam=beam)
        with Recognizer.open(bundle, options=options) as recognizer:
            (result,) = recognizer.transcribe([speech[0]], language=language)
        assert result.text


@pytest.mark.parametrize("language", ["mul", "swh"])
def test_alignment_finds_the_greedy_text(bundle, speech, language):
    with Recognizer.open(bundle, device="cpu", precision="fp32") as recognizer:
        (heard,) = recognizer.transcribe([speech[0]], language=language)
        aligner = Aligner(recognizer.acoustic, AlignerOptions(), AudioLimits())
        found = aligner.align(speech[0], heard.text, language=language)
    assert [word.text for word in found.words] == heard.text.split()


def test_language_need_not_be_named(bundle):
    arguments = ["transcribe", "--bundle", str(bundle), str(SPEECH), "--precision", "fp32"]
    plain = CliRunner().invoke(mms, arguments, catch_exceptions=False)
    named = CliRunner().invoke(mms, [*arguments, "--lang", "mul"], catch_exceptions=False)
    assert plain.exit_code == named.exit_code == 0
    assert plain.stdout == named.stdout != ""


def test_conversion_with_other_heads_or_blank_is_refused(tmp_path, monkeypatch):
    folder = make_plain(tmp_path / "plain", TinyOptions(languages=(("eng", 9),), heads=4))
    open_checkpoint(str(folder), "eng")
    monkeypatch.setitem(config.OMNILINGUAL_RELEASES, 9, "v9")
    monkeypatch.setitem(config.OMNILINGUAL_SIZES, "tiny", (2, 32))
    with pytest.raises(MmsError, match=r"with 4 attention heads and blank 0; .* with 16 and 0"):
        open_checkpoint(str(folder), "eng")


@pytest.mark.parametrize(
    ("name", "repository", "file"),
    [
        ("omniASR_CTC_3B", "facebook/omniASR-CTC-3B", "omniASR-CTC-3B.pt"),
        ("omniASR_CTC_1B_v2", "hf-audio/omniasr-ctc-1b-v2", "omniASR-CTC-1B-v2.pt"),
    ],
)
def test_name_of_a_card_is_a_hub_id_or_a_file_to_download(name, repository, file, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MmsError, match=rf"{repository} is not in the local.*{re.escape(file)}"):
        open_checkpoint(name)


def test_synthetic_checkpoint_has_the_published_size_in_both_layouts(tmp_path, monkeypatch):
    monkeypatch.setitem(config.OMNILINGUAL_SIZES, "300M", (2, 32))
    CliRunner().invoke(synthetic, ["--out", str(tmp_path), "--fairseq2"], catch_exceptions=False)
    hub = open_checkpoint(str(tmp_path))
    pickle = open_checkpoint(str(tmp_path / "fairseq2" / "omniASR-CTC-300M-v2.pt"))
    assert hub.config == pickle.config
    assert hub.adapters["mul"].vocab_size == 10288
    assert hub.adapters["mul"].labels == pickle.adapters["mul"].labels
    assert hub.licence == pickle.licence == "Apache-2.0"
