"""This project's engine."""

from importlib import metadata
from pathlib import Path

from mms_bench.check import HALF_ADAPTERS
from mms_bench.errors import NotHere
from mms_bench.peers.base import Batch, Setup
from mms_engine.bundle.manifest import Wav2Vec2Ctc
from mms_engine.types import Float32Array, Precision


class Ours:
    """A bundle's graphs in one precision, with the adapter bank."""

    def __init__(self, precision: Precision) -> None:
        self.name = f"ours-{precision}"
        self.precision: str = precision
        self._precision = precision

    def version(self) -> dict[str, str]:
        """Return the versions of the engine and of ONNX Runtime."""
        try:
            import onnxruntime

            import mms_engine.encoder.loading  # noqa: F401
        except ImportError as error:
            raise NotHere(f"{error.name} is not installed") from error
        return {
            "mms-engine": metadata.version("mms-engine"),
            "onnxruntime": onnxruntime.__version__,
        }

    def build(self, setup: Setup) -> None:
        """Look whether the bundle has the precision; exporting is another measurement."""
        from mms_engine.bundle import open_bundle

        if not setup.bundle:
            raise NotHere("no bundle was given: export one and name it with --bundle")
        precisions = open_bundle(Path(setup.bundle)).precisions
        if self.precision not in precisions:
            there = ", ".join(precisions)
            raise NotHere(f"the bundle has no {self.precision} graphs, only {there}")

    def prepare(self, setup: Setup) -> None:
        """Check and load both graphs, and bring the languages into the bank."""
        from mms_engine.asr.options import RecognizerOptions
        from mms_engine.bank.adapters import BankOptions, adapter_bank
        from mms_engine.bank.host import HostBank
        from mms_engine.bundle import open_bundle
        from mms_engine.encoder.loading import load_acoustic_model

        bundle = open_bundle(Path(setup.bundle))
        if self._precision == "fp32" and bundle.manifest.data_dtype == "float16":
            self.precision = HALF_ADAPTERS
        options = RecognizerOptions(
            device=setup.device,
            backend=setup.backend,
            precision=self._precision,
            threads=setup.threads,
        )
        self._model = load_acoustic_model(bundle, options)
        bank = self._model.bank
        if bank is None:
            raise NotHere("the bundle has no adapters")
        bank.prefetch(setup.languages)
        self._bank = bank
        # One slot: a change of language has to read the file each time.
        architecture = bundle.model(Wav2Vec2Ctc)
        graph, _ = bundle.graph("encoder", self._precision)
        only_one = BankOptions(
            adapter_parameters=architecture.adapter_parameters,
            hidden_size=architecture.hidden_size,
            dtype=next(tensor.dtype for tensor in graph.inputs if tensor.name == "adapters"),
            slots=1,
        )
        self._host_rows = HostBank
        self._small_bank = adapter_bank(bundle.adapter, only_one, HostBank(only_one))

    def run(self, batch: Batch) -> list[Float32Array]:
        """Return logits of a batch in any languages."""
        from mms_engine.encoder.emission import Segment

        segments = [Segment(*row) for row in zip(batch.audio, batch.languages, strict=True)]
        return self._model.logits(segments)

    def switch(self, language: str, *, from_disk: bool) -> None:
        """Do what every run does to bring its language into the encoder's inputs."""
        bank = self._small_bank if from_disk else self._bank
        with bank.acquire([language]):
            if isinstance(bank.storage, self._host_rows):
                bank.storage.constants()
