"""Contents of a bundle: the graphs, plans and data files an export has to provide."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mms_engine.bundle.manifest import Wav2Vec2Classifier, Wav2Vec2Ctc, Wav2Vec2Pretrained
from mms_engine.errors import BundleError, PlanError
from mms_export.bundle.options import ExportOptions
from mms_export.checkpoints.checkpoint import Checkpoint, VoiceSet
from mms_export.checkpoints.open import open_model
from mms_export.checkpoints.selection import matching, select_languages
from mms_export.graphs.builder import GraphBuilder
from mms_export.graphs.contract import GraphKey, graph_path
from mms_export.graphs.numerics import NUMERICS
from mms_export.graphs.writer import INLINE_TOTAL, data_path
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
        """Every graph in each precision."""
        return [(g.name, p) for p in self.options.precisions for g in self.task.graphs]

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
        name, precision = key
        checkpoint = self.checkpoint
        spec = self.task.spec(name)
        return spec.build(checkpoint.config, checkpoint.weights, NUMERICS[precision])

    def data_job(self, fingerprint: str = "") -> DataJob:
        """Return the settings of the data files."""
        options = self.options
        return DataJob(
            folder=options.out,
            config=self.checkpoint.config,
            dtype=options.data_dtype,
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
        return f"{'.'.join(key)} {self.planner.target if self.planner else ''}"

    def sizes(
        self, graphs: Iterable[GraphKey], plans: Iterable[GraphKey], languages: Sequence[str]
    ) -> dict[str, int]:
        """Return the bytes of graphs, plans and all data files together, by name.

        Headers and the kernels of plans are not counted.
        """
        sizes: dict[str, int] = {}
        for key in graphs:
            size = self._weights_size(key)
            is_shared = self.task.spec(key[0]).shares and size > INLINE_TOTAL
            sizes[".".join(key)] = 0 if is_shared else size
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
    return Contents(
        options=options,
        task=task,
        checkpoint=checkpoint,
        languages=languages,
        warnings=(*checkpoint.warnings, *skipped),
        planner=planner,
    )


def _with_precisions(options: ExportOptions, task: Task) -> ExportOptions:
    """Return options that name precisions, those of the task by default."""
    return replace(options, precisions=options.precisions or task.precisions)


def check_free(folder: Path, needed: int) -> None:
    """Check that the disk of `folder` has room for `needed` bytes.

    Raises:
        BundleError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if needed and free < needed + MARGIN:
        raise BundleError(
            f"{folder} has {format_size(free)} free, the export needs "
            f"{format_size(needed + MARGIN)}: free some space or choose another folder"
        )


def format_size(size: int) -> str:
    """Return a size in bytes with a decimal unit."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.2f} {unit}"
    return f"{size} B"
