"""This project's engine."""

import itertools
from pathlib import Path
from typing import cast

from mms_bench.errors import Skipped
from mms_bench.peers.base import HALF_ADAPTERS, Batch, Peer, Ready, Setup, Switch
from mms_engine.types import Precision


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
        from mms_engine.backends.options import RunOptions
        from mms_engine.bundle import open_bundle
        from mms_engine.encoder.loading import load_acoustic_model

        options = RunOptions(
            device=setup.device,
            backend=setup.backend,
            precision=self._wanted,
            threads=setup.threads,
            adapter_cache_bytes=1 if setup.one_language else 0,  # there is always room for one
        )
        bundle = open_bundle(check_precision(setup, self._wanted))
        self._model = load_acoustic_model(bundle, options)
        if self._wanted == "fp32" and bundle.manifest.data_dtype == "float16":
            self.precision = HALF_ADAPTERS
        for language in setup.languages:
            self._make_resident(language)

    def ready(self, work: Batch | Switch) -> Ready:
        """Prepare a batch in any languages, or a change of the resident language."""
        from mms_engine.encoder.emission import Segment

        if isinstance(work, Switch):
            languages = itertools.cycle(work.languages)
            return Ready(lambda: self._make_resident(next(languages)))
        rows = [Segment(*row) for row in zip(work.audio, work.languages, strict=True)]
        return Ready(lambda: self._model.logits(rows), list)

    def _make_resident(self, language: str) -> None:
        """Bring a language into the adapter bank, as a run does."""
        if self._model.bank is None:
            raise Skipped("the bundle has no adapters")
        with self._model.bank.acquire([language]):
            pass


def check_precision(setup: Setup, precision: Precision) -> Path:
    """Return the bundle's path; Skipped if it has no graphs in a precision."""
    from mms_engine.bundle import open_bundle

    if setup.bundle is None:
        raise Skipped("no bundle was given: export one and name it with --bundle")
    found = open_bundle(setup.bundle, verify=False).precisions
    if precision not in found:
        raise Skipped(f"the bundle has no {precision} graphs, only {', '.join(found)}")
    return setup.bundle
