"""The reference: Hugging Face transformers, with its default attention, on PyTorch."""

from importlib import metadata
from typing import Any

from mms_bench.errors import NotHere
from mms_bench.peers.base import Batch, Setup, single_language
from mms_engine.types import Float32Array


class Transformers:
    """`Wav2Vec2ForCTC` with the adapter of one language loaded."""

    def __init__(self, precision: str = "fp32") -> None:
        self.name = "transformers" if precision == "fp32" else f"transformers-{precision}"
        self.precision = precision
        self._model: Any = None
        self._language = ""

    def version(self) -> dict[str, str]:
        """Return the versions of transformers and torch."""
        try:
            import torch
            from transformers import Wav2Vec2ForCTC  # noqa: F401 - imported when it is named
        except ImportError as error:
            raise NotHere(f"{error.name} is not installed") from error
        return {"torch": str(torch.__version__), "transformers": metadata.version("transformers")}

    def build(self, setup: Setup) -> None:
        """Nothing to make."""

    def prepare(self, setup: Setup) -> None:
        """Load the checkpoint and the first language."""
        self._language = setup.languages[0]
        self._model = load_model(setup, self.precision)
        if setup.device == "cuda" and has_cuda():
            self._model = _on_cuda(self._model)

    def run(self, batch: Batch) -> list[Float32Array]:
        """Return logits of a batch in one language."""
        import torch

        language = single_language(batch)
        if language != self._language:
            self.switch(language, from_disk=True)
        with torch.inference_mode():
            audio = torch.from_numpy(batch.audio).to(self._model.device, self._model.dtype)
            logits = self._model(audio).logits.float()
        return list(logits.cpu().numpy())

    def switch(self, language: str, *, from_disk: bool) -> None:
        """Read another adapter, the only way there is."""
        if not from_disk:
            raise NotHere("keeps no languages in memory: every switch reads the adapter's file")
        self._model.load_adapter(language)
        self._language = language


def has_cuda() -> bool:
    """Say whether this torch can use a GPU; where it cannot, the reference runs on the CPU."""
    import torch

    return torch.cuda.is_available()


def _on_cuda(model: Any) -> Any:  # noqa: ANN401
    """Move a model to the GPU, its float32 products not rounded to TF32."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return model.to("cuda")


def load_model(setup: Setup, precision: str = "fp32") -> Any:  # noqa: ANN401 - transformers is not typed
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
    )
    return model.eval()
