"""Reference: Hugging Face transformers, with its default attention, on PyTorch."""

import itertools
from typing import Any

from mms_bench.errors import Skipped
from mms_bench.peers.base import Batch, Peer, Ready, Setup, Switch, single_language


class Transformers(Peer):
    """`Wav2Vec2ForCTC` with the adapter of one language."""

    packages = ("torch", "transformers")
    imports = ("torch", "transformers")

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def load(self, setup: Setup) -> None:
        """Load the checkpoint and the first language."""
        self._language = setup.languages[0]
        self._model = load_model(setup, self.precision)

    def ready(self, work: Batch | Switch) -> Ready:
        """Prepare a batch in one language, or the loading of an adapter."""
        if isinstance(work, Switch):
            languages = itertools.cycle(work.languages)
            return Ready(lambda: self._model.load_adapter(next(languages)))
        language = single_language(work)
        if language != self._language:
            self._model.load_adapter(language)
            self._language = language
        return Ready(lambda: self._run(work), list)

    def _run(self, batch: Batch) -> Any:  # noqa: ANN401 - an array
        import torch

        with torch.inference_mode():
            audio = torch.from_numpy(batch.audio).to(self._model.device, self._model.dtype)
            return self._model(audio).logits.float().cpu().numpy()


class TransformersInt8(Transformers):
    """The reference after torch's dynamic quantisation of its linear layers, by oneDNN."""

    def __init__(self) -> None:
        super().__init__("fp32")
        self.precision = "int8"

    def load(self, setup: Setup) -> None:
        """Load the checkpoint and the first language, and quantise."""
        import torch

        self._language = setup.languages[0]
        torch.backends.quantized.engine = "onednn"
        quantize: Any = torch.ao.quantization.quantize_dynamic
        self._model = quantize(load_model(setup).cpu(), {torch.nn.Linear}, dtype=torch.qint8)

    def ready(self, work: Batch | Switch) -> Ready:
        """Prepare a batch in the language of the model."""
        if isinstance(work, Switch) or single_language(work) != self._language:
            raise Skipped("takes no other adapter once it is quantised")
        return super().ready(work)


def has_cuda() -> bool:
    """Return whether this torch can use a GPU; otherwise the reference runs on the CPU."""
    import torch

    return torch.cuda.is_available()


def load_model(setup: Setup, precision: str = "fp32") -> Any:  # noqa: ANN401 - not typed
    """Return a `Wav2Vec2ForCTC` with the setup's first language, ready to run."""
    import torch
    from transformers import Wav2Vec2ForCTC

    torch.set_num_threads(setup.threads or torch.get_num_threads())
    model = Wav2Vec2ForCTC.from_pretrained(
        setup.checkpoint,
        target_lang=setup.languages[0],
        ignore_mismatched_sizes=True,
        local_files_only=True,
        dtype=torch.float32 if precision == "fp32" else torch.bfloat16,
    ).eval()
    if setup.device == "cpu" or not has_cuda():
        return model
    # Products in float32, not rounded to TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return model.to("cuda")
