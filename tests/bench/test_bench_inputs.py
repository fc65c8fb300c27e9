import numpy as np
import pytest
import soundfile

from mms_bench.errors import BenchError
from mms_bench.inputs import checkpoint_languages, clips, describe_model
from mms_engine.audio import SAMPLE_RATE
from mms_export.parity import SPEECH
from tiny_models import LANGUAGES, make_tiny


def assert_normalised(rows):
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert np.abs(rows.mean(axis=1)).max() < 1e-4
    assert np.abs(rows.var(axis=1) - 1).max() < 1e-3


def test_clips_of_speech_differ():
    rows = clips((SPEECH,), 2.0, 3)
    assert rows.shape == (3, 2 * SAMPLE_RATE)
    assert_normalised(rows)
    assert np.abs(rows[0] - rows[1]).max() > 1


def test_a_clip_may_be_longer_than_the_speech():
    assert clips((SPEECH,), 25.0, 1).shape == (1, 25 * SAMPLE_RATE)


def test_files_are_joined_and_repeated(tmp_path):
    ramp = np.linspace(-0.5, 0.5, SAMPLE_RATE // 4, dtype=np.float32)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, ramp, SAMPLE_RATE, subtype="FLOAT")
    rows = clips((tmp_path / "a.wav", tmp_path / "b.wav"), 1.0, 2)
    assert_normalised(rows)
    assert np.allclose(rows[0, : ramp.size], rows[0, 2 * ramp.size : 3 * ramp.size])
    assert np.argmin(rows[0]) == 0
    assert np.allclose(rows[0], rows[1]), "the second begins at the second file, which is equal"


def test_model_and_languages_are_read_from_the_files(tmp_path):
    folder = make_tiny(tmp_path / "tiny")
    assert checkpoint_languages(folder) == tuple(sorted(LANGUAGES))
    model = describe_model(folder, "tiny")
    assert model.languages == len(LANGUAGES)
    assert 10_000 < model.parameters < 1_000_000
    assert not model.full_size


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(BenchError, match=r"holds no adapter.LANG.safetensors"):
        checkpoint_languages(tmp_path)
    with pytest.raises(BenchError, match=r"holds no model.safetensors: check --checkpoint"):
        describe_model(tmp_path, "x")
