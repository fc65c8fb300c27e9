"""Open a bundle and hand out its parts, each checked before it is trusted."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from mms_engine.bundle.adapters import AdapterWeights, load_adapter, read_vocabulary
from mms_engine.bundle.files import check
from mms_engine.bundle.schema import (
    MANIFEST,
    Adapter,
    Graph,
    Manifest,
    Plan,
    Precision,
    Stage,
    decode,
)
from mms_engine.errors import BundleCorrupt, BundleError, BundleFileMissing, LanguageError


class Bundle:
    """A model on disk. Nothing but the manifest is read until it is asked for."""

    def __init__(self, path: Path, manifest: Manifest, *, verify: bool) -> None:
        self.path = path
        self.manifest = manifest
        self._verify = verify

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, {len(self.languages)} languages)"

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages in the bundle, sorted."""
        return tuple(sorted(self.manifest.adapters))

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Precisions in which both graphs are there."""
        return tuple(g.precision for g in self.manifest.graphs if g.stage == "encoder")

    def graph(self, stage: Stage, precision: Precision) -> tuple[Graph, Path]:
        """Return a graph's entry and the path of its checked `.onnx`.

        Raises:
            BundleError: the bundle does not have it, or it is damaged.
        """
        for graph in self.manifest.graphs:
            if graph.stage == stage and graph.precision == precision:
                paths = [check(self.path, file, verify=self._verify) for file in graph.files]
                return graph, paths[0]
        if precision in self.precisions:
            raise BundleError(
                f"{self.path} has no graph {stage} in {precision}, as bundles of older releases: "
                "add it with the same mms-export command again"
            )
        raise BundleError(
            f"{self.path} has no {precision} {stage}, only {', '.join(self.precisions)}: "
            f"add it with mms-export --precision {precision}"
        )

    def plan_path(self, plan: Plan) -> Path:
        """Return the path of a plan's checked file.

        Raises:
            BundleError: it is missing or damaged.
        """
        return check(self.path, plan.file, verify=self._verify)

    def entry(self, language: str) -> Adapter:
        """Return what the manifest says of a language.

        Raises:
            LanguageError: the bundle does not have it; the message names the nearest.
        """
        entry = self.manifest.adapters.get(language)
        if entry is None:
            raise LanguageError(
                f"{self.path} does not have the language {language!r}"
                f"{suggest(language, self.languages)}"
            )
        return entry

    def vocabulary(self, language: str) -> tuple[str, ...]:
        """Return a language's tokens without reading its weights.

        The digest is checked when the weights are read, before they are used.

        Raises:
            LanguageError: the bundle does not have the language.
            BundleError: its file is missing or damaged.
        """
        entry = self.entry(language)
        return read_vocabulary(check(self.path, entry.file, verify=False))

    def adapter(self, language: str) -> AdapterWeights:
        """Read a language's weights.

        Raises:
            LanguageError: the bundle does not have the language.
            BundleCorrupt: the file is damaged, of another shape, or of another model.
        """
        entry = self.entry(language)
        path = check(self.path, entry.file, verify=self._verify)
        weights = load_adapter(path)
        self._check_adapter(path, language, weights, entry.vocab_size)
        return weights

    def _check_adapter(
        self, path: Path, language: str, weights: AdapterWeights, vocab_size: int
    ) -> None:
        architecture = self.manifest.architecture
        if weights.fingerprint != self.manifest.source.fingerprint:
            raise BundleCorrupt(
                f"{path} belongs to another base model than {self.manifest.source.name}: "
                "export the bundle again"
            )
        if weights.language != language:
            raise BundleCorrupt(f"{path} holds {weights.language!r}, not {language!r}")
        expected = {
            "adapter": (architecture.adapter_parameters,),
            "head_weight": (vocab_size, architecture.hidden_size),
            "head_bias": (vocab_size,),
        }
        for name, shape in expected.items():
            array = getattr(weights, name)
            if array.shape != shape or array.dtype.name != self.manifest.adapter_dtype:
                raise BundleCorrupt(
                    f"{path}: {name} is {array.dtype}{list(array.shape)}, the manifest says "
                    f"{self.manifest.adapter_dtype}{list(shape)}: export the bundle again"
                )
        if len(weights.vocab) != vocab_size:
            raise BundleCorrupt(
                f"{path} names {len(weights.vocab)} tokens, its head has {vocab_size}"
            )

    def problems(self) -> list[str]:
        """Check every file against its digest and return what is wrong, one sentence each."""
        found = []
        for file in self.manifest.files():
            try:
                check(self.path, file, verify=True)
            except BundleError as error:
                found.append(str(error))
        return found


def open_bundle(path: Path, *, verify: bool = True) -> Bundle:
    """Open the bundle in folder `path`.

    Args:
        path: The folder that holds `manifest.json`.
        verify: Whether each file is checked against its SHA-256 before it is used.

    Raises:
        BundleFileMissing: there is no bundle, or its export has not finished.
        BundleCorrupt: the manifest is damaged.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise BundleFileMissing(
            f"{path} holds no {MANIFEST}: it is not a bundle, or its export was interrupted; "
            f"run mms-export --out {path} to make or finish it"
        )
    return Bundle(path, decode(manifest.read_bytes(), where=str(manifest)), verify=verify)


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the nearest of `known`, or an empty string."""
    near = difflib.get_close_matches(wrong, list(known), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(near)}?" if near else ""
