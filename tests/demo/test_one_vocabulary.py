"""The demo's network without adapters, with one vocabulary, in the layout of Omnilingual ASR."""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import OmniASRForCTC

sys.path.append(str(Path(__file__).resolve().parents[2]))

from examples.demo.one_vocabulary import build_tokens, new_trainer, write_model

from mms_engine.audio import normalize, read_audio
from mms_export.checkpoints.open import open_checkpoint
from mms_export.parity import SPEECH


def test_written_model_is_the_trained_one(tmp_path: Path) -> None:
    trainer = new_trainer(build_tokens())
    write_model(trainer, tmp_path / "model")
    opened = open_checkpoint(str(tmp_path / "model"))
    assert (opened.format, list(opened.adapters)) == ("omniasr", ["mul"])
    assert opened.adapters["mul"].vocab_size == trainer.config.vocab_sizes[0]
    samples = normalize(read_audio(SPEECH).samples[:48_000], 1e-7)
    model = OmniASRForCTC.from_pretrained(tmp_path / "model").eval()
    padded = torch.zeros(1, (len(samples) // 320 + 1) * 320)
    padded[0, : len(samples)] = torch.from_numpy(samples)
    with torch.inference_mode():
        theirs = model(input_values=torch.from_numpy(samples)[None, None]).logits.log_softmax(-1)
        sizes = torch.tensor([len(samples)])
        ours, _, _ = trainer.model.eval()(padded, sizes, torch.tensor([0]))
    np.testing.assert_allclose(theirs[0], ours[0, : theirs.shape[1]], atol=1e-3)
    assert len(set(theirs[0].argmax(-1).tolist())) > 3
