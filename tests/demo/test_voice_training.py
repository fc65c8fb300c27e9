"""Training of the demo voice: alignment, losses, the teacher's conversion, and resumption."""

import json
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from examples.demo.voices import student as student_module  # noqa: E402
from examples.demo.voices.alignment import (  # noqa: E402
    expected_positions,
    match_words,
    monotonic_alignment,
)
from examples.demo.voices.encoder import encode  # noqa: E402
from examples.demo.voices.phonemes import phoneme_ids, phonemize  # noqa: E402
from examples.demo.voices.publish import write_voice  # noqa: E402
from examples.demo.voices.student import (  # noqa: E402
    STUDENT_SIZES,
    Student,
    letter_ids,
    read_batch,
    shared_frames,
    squared_error,
)
from examples.demo.voices.teacher import calibrate_pairs, piper_name  # noqa: E402
from examples.demo.voices.text import (  # noqa: E402
    LETTERS,
    everyday_sentences,
    held_out_sentences,
    normalise,
)
from examples.demo.voices.train import batch_at  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import VitsConfig, VitsModel, VitsTokenizer  # noqa: E402


def cheapest_path(cost, frames, tokens):
    """Token of each frame by trying every choice of the frames at which the token advances."""
    best = None
    for starts in combinations(range(1, frames), tokens - 1):
        path = np.searchsorted(starts, np.arange(frames), side="right")
        total = cost[np.arange(frames), path].sum()
        if best is None or total < best[0]:
            best = total, path
    return best[1]


def test_monotonic_alignment_is_the_cheapest_path():
    rng = np.random.default_rng(0)
    frames, tokens = np.array([9, 7, 4, 5]), np.array([4, 5, 4, 1])
    cost = rng.random((4, 9, 5)).astype(np.float32)
    found = monotonic_alignment(cost, frames, tokens)
    for row in range(4):
        expected = cheapest_path(cost[row], frames[row], tokens[row])
        assert found[row, : frames[row]].tolist() == expected.tolist()


def test_joined_words_match_one_group_of_phonemes():
    # "light of the house": "of" and "the" are one group of espeak's.
    assert match_words([5, 2, 3, 5], [5, 4, 5]) == [(1, 1), (3, 2)]
    assert match_words([4], [5, 4]) == []
    assert match_words([2, 2, 2, 2, 2], [4]) == []


def test_expected_positions_are_fixed_at_spaces():
    space = 3
    #       ^  _  a  _  b  _  sp _  c  _  $
    ids = [1, 0, 14, 0, 15, 0, space, 0, 16, 0, 2]
    found = expected_positions("ab cd", ids, space)
    assert found[6] == 2 * 2 + 1  # the space
    assert (found[0], found[-1]) == (0, 10)
    assert (np.diff(found) > 0).all()


def test_letters_stand_between_blanks():
    assert letter_ids("ka") == [0, 0, 0, LETTERS.index("a"), 0]


def test_held_out_sentences_are_sayable_and_unlike_the_patterns():
    sentences = held_out_sentences()
    assert len(set(sentences)) == 50
    assert [normalise(text) for text in sentences] == sentences
    assert not set(sentences) & set(everyday_sentences(3000, np.random.default_rng(5)))


def test_phonemes_have_pads_between_all():
    ids = {"_": 0, "^": 1, "$": 2, "h": 20, "i": 21}
    assert phoneme_ids("hi!", ids) == [1, 0, 20, 0, 21, 0, 2]


def test_espeak_keeps_words_apart():
    try:
        found = phonemize("two dogs.")
    except OSError as error:
        pytest.skip(str(error))
    assert len(found.split()) == 2


def test_encoder_is_that_of_transformers():
    torch.manual_seed(1)
    model = VitsModel(VitsConfig(**STUDENT_SIZES)).eval()
    for layer in model.text_encoder.encoder.layers:  # so that each part matters
        torch.nn.init.normal_(layer.attention.emb_rel_k, std=1.0)
        torch.nn.init.normal_(layer.attention.emb_rel_v, std=1.0)
        torch.nn.init.normal_(layer.attention.q_proj.weight, std=0.1)
        torch.nn.init.normal_(layer.attention.k_proj.weight, std=0.1)
    tokens = torch.tensor([31, 17])
    ids = torch.randint(1, 29, (2, 31))
    mask = (torch.arange(31) < tokens[:, None]).float()
    with torch.no_grad():
        expected = model.text_encoder(ids, padding_mask=mask[..., None], attention_mask=mask)
        _, means, log_deviations = encode(model, ids, tokens)
    for found, reference in (
        (means, expected.prior_means),
        (log_deviations, expected.prior_log_variances),
    ):
        assert (found - reference).abs().max() < 0.05 * reference.abs().max()
        assert (found - reference).abs().mean() < 0.02 * reference.abs().mean()
    assert not means[1, 17:].any()


def write_shard(path, sentences, seed):
    """A shard of random readings in the form that `prepare` writes."""
    rng = np.random.default_rng(seed)
    rows = [[1, 0, *(2 * len(text)) * [20, 0], 2] for text in sentences]
    total = sum(map(len, rows))
    tensors = {
        "means": torch.from_numpy(rng.normal(size=(total, 192))).half(),
        "log_deviations": torch.from_numpy(rng.normal(size=(total, 192)) / 10).half(),
        "durations": torch.from_numpy(rng.integers(1, 3, total)).to(torch.int16),
        "lengths": torch.tensor([len(row) for row in rows], dtype=torch.int32),
    }
    metadata = {"sentences": json.dumps(sentences), "ids": json.dumps(rows)}
    save_file(tensors, path, metadata)


@pytest.fixture
def shards(tmp_path, monkeypatch):
    monkeypatch.setattr(student_module, "BATCH", 3)
    paths = [tmp_path / f"{number:04}.safetensors" for number in range(2)]
    for seed, path in enumerate(paths):
        write_shard(path, ["we are", "see you", "good bye"], seed)
    return paths


def test_squared_error_is_the_sum_over_frames(shards):
    batch = read_batch(shards[0], 0)
    rng = torch.Generator().manual_seed(3)
    learned = torch.randn(*batch.ids.shape, 192, generator=rng)
    weight = torch.rand(batch.means.shape, generator=rng)
    path = torch.minimum(
        torch.arange(batch.phonemes.shape[1]) // 4, torch.tensor(batch.ids.shape[1] - 1)
    ).expand(3, -1)
    expected = 0.0
    for row in range(3):
        for frame in range(int(batch.frames[row])):
            token, phoneme = int(path[row, frame]), int(batch.phonemes[row, frame])
            error = learned[row, token] - batch.means[row, phoneme]
            expected += float((weight[row, phoneme] * error.square()).sum())
    found = squared_error(learned, batch.means, shared_frames(path, batch), weight)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_stopped_training_goes_on_as_if_it_had_not_been(shards, tmp_path):
    def step(trained):
        return trained.train_step(read_batch(shards[1], 0))

    whole, first = Student(), Student()
    losses = [step(whole) for _ in range(6)]
    assert losses[5]["means"] < losses[0]["means"]
    for _ in range(3):
        step(first)
    first.save(tmp_path / "state.pt")
    second = Student()
    second.load(tmp_path / "state.pt")
    assert [step(second) for _ in range(3)] == losses[3:]
    for name, weight in whole.average.state_dict().items():
        assert torch.equal(weight, second.average.state_dict()[name])


def test_first_shard_is_never_trained_on(shards, monkeypatch):
    read = []
    monkeypatch.setattr("examples.demo.voices.train.read_batch", lambda path, _: read.append(path))
    for step in range(50):
        batch_at(step, shards)
    assert set(read) == {shards[1]}


def test_names_of_piper():
    cases = {
        "flow.flows.3.wavenet.in_layers.1.parametrizations.weight.original1": (
            "flow.flows.6.enc.in_layers.1.weight"
        ),
        "duration_predictor.flows.2.conv_dds.convs_dilated.0.bias": (
            "dp.flows.3.convs.convs_sep.0.bias"
        ),
        "duration_predictor.conv_proj.weight": "dp.proj.weight",
        "text_encoder.encoder.layers.0.final_layer_norm.weight": (
            "enc_p.encoder.norm_layers_2.0.gamma"
        ),
        "decoder.resblocks.4.convs1.1.weight": "dec.resblocks.4.convs.1.weight",
        "decoder.conv_post.weight": "dec.conv_post.weight",
    }
    assert {name: piper_name(name) for name in cases} == cases


def test_calibrated_pair_is_the_first_convolution():
    torch.manual_seed(2)
    sizes = {"upsample_initial_channel": 16, "resblock_dilation_sizes": [[1, 2]] * 3}
    model = VitsModel(VitsConfig(**{**STUDENT_SIZES, **sizes})).eval()
    block = model.decoder.resblocks[0]
    x = torch.randn(1, 8, 64)
    plain = x
    for conv in block.convs1:
        plain = plain + conv(torch.nn.functional.leaky_relu(plain, 0.1))
    plain = plain.detach()
    calibrate_pairs(model, [torch.randn(1, 192, 20) for _ in range(8)])
    with torch.no_grad():
        for conv in block.convs1:  # room for an input that was not seen
            conv.bias += 4.0
        for conv in block.convs2:
            conv.bias -= 4.0
        assert torch.allclose(block(x), plain, atol=1e-4)


def test_written_voice_is_loaded_whole_by_transformers(tmp_path):
    torch.manual_seed(4)
    model = VitsModel(VitsConfig(**STUDENT_SIZES)).eval()
    write_voice(tmp_path, model)
    loaded, report = VitsModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert loaded.dtype == torch.float32
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].half().float())
    tokenizer = VitsTokenizer.from_pretrained(tmp_path)
    assert tokenizer("The lake?")["input_ids"] == letter_ids("the lake")
