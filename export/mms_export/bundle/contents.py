"""Contents of a bundle: the graphs, plans and data files an export has to provide."""

import contextlib
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mms_engine.bundle.manifest import (
    MANIFEST,
    DataDtype,
    Vits,
    Wav2Vec2Classifier,
    Wav2Vec2Ctc,
    Wav2Vec2Pretrained,
    decode,
)
from mms_engine.errors import BundleError, PlanError
from mms_engine.types import Precision
from mms_export.bundle.options import ExportOptions
from mms_export.checkpoints.checkpoint import Checkpoint, VoiceSet
from mms_export.checkpoints.open import open_model
from mms_export.checkpoints.selection import matching, select_languages
from mms_export.checkpoints.voices import size_difference
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.contract import GraphKey, graph_path
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.writer import INLINE_TOTAL, data_path, is_written
from mms_export.tasks.asr import ASR
from mms_export.tasks.embedding import EMBEDDING
from mms_export.tasks.lid import LID
from mms_export.tasks.task import DataJob, Task
from mms_export.tasks.tts import TTS
from mms_export.tensorrt.plans import Planner
from mms_export.triton.encoder import BankLayout, bank_layout
from mms_export.triton.repository import check_repository, graph_precision

MARGIN = 64 << 20
"""Bytes that an export leaves free on the disk."""
_NAMED = 5
"""Voices that a sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Source and requested contents of a bundle."""

    options: ExportOptions
    task: Task
    checkpoint: Checkpoint | VoiceSet
    languages: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """Remarks on the checkpoint for the user, a sentence each."""
    planner: Planner | None
    """`None` without TensorRT plans."""

    @property
    def graphs(self) -> list[GraphKey]:
        """Every graph in each precision, of each size of voices."""
        return [
            GraphKey(g.name, p, model)
            for model in self.models
            for p in self.options.precisions
            for g in self.task.graphs
        ]

    @property
    def models(self) -> list[str]:
        """Keys in `Manifest.models` of the languages, sorted; an empty one for the model."""
        found = {self.checkpoint.model_of(code) for code in self.languages}
        return sorted(found) or [""]

    def paths(self) -> Iterator[Path]:
        """Yield the files of the graphs and the languages."""
        for key in self.graphs:
            path = graph_path(self.options.out, *key)
            yield from (path, data_path(path))
        if self.task.data:
            for language in self.languages:
                yield from self.task.data.paths(self.options.out, language)

    def build(self, key: GraphKey) -> GraphBuilder:
        """Return a graph whose weights are still to be read."""
        checkpoint, spec = self.checkpoint, self.task.spec(key.name)
        config = (
            checkpoint.sizes(key.model) if isinstance(checkpoint, VoiceSet) else checkpoint.config
        )
        return spec.build(config, checkpoint.weights, NUMERICS[key.precision])

    def current(self, whole: Collection[GraphKey]) -> set[GraphKey]:
        """Return those of the graphs on the disk that this export would not write otherwise."""
        current = {
            key
            for key in whole
            if key not in self.graphs
            or is_written(self.build(key), graph_path(self.options.out, *key))
        }
        # A graph that is written again has a new file of weights, which another one may share.
        stale = set(whole) - current
        return {
            key
            for key in current
            if key._replace(name=self.task.spec(key.name).shares) not in stale
        }

    @property
    def data_dtype(self) -> DataDtype:
        """Dtype of the data files."""
        # Rounded to float16, a head of ten thousand tokens moves logits by more than a network in
        # float32 does; without adapters it is small beside the encoder.
        config = self.checkpoint.config
        is_plain = isinstance(config, Wav2Vec2Ctc) and not config.adapter_parameters
        return self.options.data_dtype or ("float32" if is_plain else "float16")

    def data_job(self, fingerprint: str = "") -> DataJob:
        """Return the settings of the data files."""
        options = self.options
        return DataJob(
            folder=options.out,
            config=self.checkpoint.config,
            dtype=self.data_dtype,
            precisions=options.precisions,
            fingerprint=fingerprint,
        )

    def triton_bank(self, languages: Sequence[str]) -> BankLayout:
        """Return the layout of the adapter bank in a model repository of Triton."""
        dtype = NUMERICS[graph_precision(self.options.precisions)].operands
        checkpoint = self.checkpoint
        if not isinstance(checkpoint, Checkpoint) or not isinstance(checkpoint.config, Wav2Vec2Ctc):
            raise TypeError(f"{checkpoint.name} has no adapter bank")
        vocabs = {code: len(checkpoint.files[code].vocab) for code in languages}
        return bank_layout(checkpoint.config, dtype, vocabs, languages)

    def plan_name(self, key: GraphKey) -> str:
        """Return the name of a graph's plan, for display."""
        return f"{key.label} {self.planner.target if self.planner else ''}"

    def sizes(
        self, graphs: Iterable[GraphKey], plans: Iterable[GraphKey], languages: Sequence[str]
    ) -> dict[str, int]:
        """Return the bytes of graphs, plans and all data files together, by name.

        Headers and the kernels of plans are not counted.
        """
        sizes: dict[str, int] = {}
        for key in graphs:
            size = self._weights_size(key)
            is_shared = self.task.spec(key.name).shares and size > INLINE_TOTAL
            sizes[key.label] = 0 if is_shared else size
        sizes |= {self.plan_name(key): self._weights_size(key) for key in plans}
        data = self.task.data
        if data is None:
            return sizes
        job = self.data_job()
        size = sum(data.size(job, self.checkpoint.files[code]) for code in languages)
        return sizes | {f"{data.noun} ({len(languages)})": size}

    def all_sizes(self) -> dict[str, int]:
        """Return the sizes of a whole export."""
        plans = self.planner.graphs if self.planner else []
        sizes = self.sizes(self.graphs, plans, self.languages)
        if self.options.triton is None:
            return sizes
        return sizes | {
            f"triton bank ({len(self.languages)})": self.triton_bank(self.languages).size
        }

    def _weights_size(self, key: GraphKey) -> int:
        return sum(weight.nbytes for weight in self.build(key).weights)


def _task(checkpoint: Checkpoint | VoiceSet) -> Task:
    """Return the task of a checkpoint."""
    if isinstance(checkpoint, VoiceSet):
        return TTS
    match checkpoint.config:
        case Wav2Vec2Classifier():
            return LID
        case Wav2Vec2Pretrained():
            return EMBEDDING
        case _:
            return ASR


def open_contents(options: ExportOptions) -> Contents:
    """Open the checkpoint, and resolve what to export from it.

    Raises:
        MmsError: there is no such checkpoint or language, or the plans cannot be built here.
    """
    checkpoint = open_model(options.model, options.languages)
    if isinstance(checkpoint, VoiceSet) and not options.replace:
        checkpoint = _beside_earlier(checkpoint, options.out)
    task = _task(checkpoint)
    options = _with_precisions(options, task)
    if options.plans and task is EMBEDDING:
        raise PlanError(
            "embeddings have no TensorRT plans yet: leave out --engine; ONNX Runtime runs the "
            "graphs on a GPU"
        )
    if options.triton is not None:
        if task is not ASR:
            raise BundleError(
                f"{checkpoint.name} is not a model of speech recognition, which a repository of "
                "Triton needs: leave out --triton"
            )
        check_repository(options.triton, may_replace=options.replace)
    unusable = checkpoint.unusable
    languages: tuple[str, ...] = ()
    if task.data is not None:
        languages = select_languages(
            options.languages, checkpoint.files, source=checkpoint.name, unusable=unusable
        )
    planner = None
    if options.plans:
        names = [graph.name for graph in task.graphs if graph.planned]
        planner = Planner(options.plans, checkpoint, options.precisions, names)
    skipped = [f"skipped: {unusable[code]}" for code in matching(options.languages, unusable)]
    others = _others(checkpoint) if isinstance(checkpoint, VoiceSet) else []
    return Contents(
        options=options,
        task=task,
        checkpoint=checkpoint,
        languages=languages,
        warnings=(*checkpoint.warnings, *others, *skipped),
        planner=planner,
    )


def _beside_earlier(checkpoint: VoiceSet, out: Path) -> VoiceSet:
    """Return voices whose sizes of most are those of the bundle to which they are added."""
    manifest = out / MANIFEST
    with contextlib.suppress(BundleError):  # which the export reports
        if manifest.is_file():
            earlier = decode(manifest.read_bytes(), where=str(manifest)).model
            if isinstance(earlier, Vits):
                return replace(checkpoint, config=earlier)
    return checkpoint


def _others(checkpoint: VoiceSet) -> Iterator[str]:
    """Yield a sentence for each size of voices that differs from most."""
    for key, sizes in checkpoint.models.items():
        codes = [code for code in checkpoint.voices if checkpoint.model_of(code) == key]
        names = ", ".join(codes[:_NAMED]) + (", …" if len(codes) > _NAMED else "")
        difference = size_difference(checkpoint.config, sizes)
        if len(codes) == 1:
            yield f"1 voice differs from most in {difference} and has graphs of its own: {names}"
        else:
            yield (
                f"{len(codes)} voices differ from most in {difference} and have graphs of their "
                f"own: {names}"
            )


def _with_precisions(options: ExportOptions, task: Task) -> ExportOptions:
    """Return options that name precisions: by default those of the bundle, else of the task."""
    if options.precisions:
        return options
    path = options.out / MANIFEST
    there: tuple[Precision, ...] = ()
    if path.is_file() and not options.replace:
        manifest = decode(path.read_bytes(), where=str(path))
        there = tuple(dict.fromkeys(graph.precision for graph in manifest.graphs))
    return replace(options, precisions=there or task.precisions)


def check_free(folder: Path, needed: int, what: str = "the export") -> None:
    """Check that the disk of `folder` has room for `needed` bytes of `what`.

    Raises:
        BundleError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if needed and free < needed + MARGIN:
        raise BundleError(
            f"{folder} has {format_size(free)} free, {what} needs "
            f"{format_size(needed + MARGIN)}: free some space or choose another folder"
        )


def format_size(size: int) -> str:
    """Return a size in bytes with a decimal unit."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.2f} {unit}"
    return f"{size} B"
