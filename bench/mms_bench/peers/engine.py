"""This project's engine."""

import itertools
from typing import TYPE_CHECKING, cast

from mms_bench.errors import Skipped
from mms_bench.peers.base import HALF_ADAPTERS, Batch, Peer, Ready, Setup, Switch
from mms_engine.types import Float32Array, Precision

if TYPE_CHECKING:
    from mms_engine.encoder.model import AcousticModel


class Engine(Peer):
    """The graphs of a bundle in one precision, with the adapter bank."""

    packages = ("mms-engine",)
    imports = ("onnxruntime", "mms_engine.encoder.loading")

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self._wanted = cast("Precision", precision)

    def build(self, setup: Setup) -> None:
        """Check that the bundle has the precision; exporting is measured elsewhere."""
        check_precision(setup, self._wanted)

    def load(self, setup: Setup) -> None:
        """Verify and load both graphs, and bring the languages into the bank."""
        self._model = load_model(setup, self._wanted)
        if self._wanted == "fp32" and self._model.bundle.manifest.data_dtype == "float16":
            self.precision = HALF_ADAPTERS
        for language in setup.languages:
            make_resident(self._model, language)

    def ready(self, work: Batch | Switch) -> Ready:
        """Prepare a batch in any languages, or a change of the resident language."""
        model = self._model
        if isinstance(work, Switch):
            languages = itertools.cycle(work.languages)
            return Ready(lambda: make_resident(model, next(languages)))
        rows = list(zip(work.audio, work.languages, strict=True))
        return Ready(lambda: logits(model, rows), list)


def check_precision(setup: Setup, precision: Precision) -> None:
    """Check that the bundle has graphs in a precision; Skipped if there are none."""
    from mms_engine.bundle import open_bundle

    if setup.bundle is None:
        raise Skipped("no bundle was given: export one and name it with --bundle")
    found = open_bundle(setup.bundle).precisions
    if precision not in found:
        raise Skipped(f"the bundle has no {precision} graphs, only {', '.join(found)}")


def load_model(setup: Setup, precision: Precision | None = None) -> "AcousticModel":
    """Load the bundle's encoder, by default in the best precision for the device."""
    from mms_engine.backends.options import RunOptions
    from mms_engine.bundle import open_bundle
    from mms_engine.encoder.loading import load_acoustic_model

    if setup.bundle is None:
        raise Skipped("no bundle: export the demo with mms-export --model demo")
    options = RunOptions(
        device=setup.device,
        backend=setup.backend,
        precision=precision,
        threads=setup.threads,
        adapter_cache_bytes=1 if setup.one_language else 0,  # there is always room for one
    )
    return load_acoustic_model(open_bundle(setup.bundle), options)


def make_resident(model: "AcousticModel", language: str) -> None:
    """Bring a language into the adapter bank, as a run does."""
    if model.bank is None:
        raise Skipped("the bundle has no adapters")
    with model.bank.acquire([language]):
        pass


def logits(model: "AcousticModel", rows: list[tuple[Float32Array, str]]) -> list[Float32Array]:
    """Return logits `[T, V]` of each row: normalised samples and a language."""
    from mms_engine.encoder.emission import Segment

    return model.logits([Segment(samples, language) for samples, language in rows])
