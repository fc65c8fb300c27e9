"""Speech recognition: wav2vec 2.0 with CTC, whose languages are adapters of one encoder."""

from pathlib import Path

import numpy as np

from mms_engine.bundle import AdapterWeights, save_adapter
from mms_engine.bundle.files import describe
from mms_engine.bundle.manifest import DataFile, Wav2Vec2
from mms_engine.errors import MmsError
from mms_export.checkpoints.checkpoint import AdapterFile, Checkpoint, DamagedAdapter
from mms_export.checkpoints.config import adapter_parameters
from mms_export.checkpoints.open import read_adapter
from mms_export.graphs.wav2vec2.adapters import pack_adapter
from mms_export.graphs.wav2vec2.encoder import build_encoder
from mms_export.graphs.wav2vec2.frontend import build_frontend
from mms_export.graphs.wav2vec2.step import build_step
from mms_export.parity.comparison import Case, compare, reference_logits
from mms_export.parity.execution import graph_logits
from mms_export.tasks.task import DataJob, DataSpec, GraphSpec, Task


def adapter_path(folder: Path, language: str) -> Path:
    """Return the path of a language's data file in a bundle."""
    return folder / "adapters" / f"{language}.safetensors"


def parity_case(checkpoint: Checkpoint, languages: list[str]) -> Case:
    """Return two clips, in the first two languages of the bundle."""
    pair = (languages[0], languages[min(1, len(languages) - 1)]) if languages else ()
    config = checkpoint.config
    return Case(checkpoint.path, pair, config.normalize, config.normalize_epsilon)


def write_adapter(job: DataJob, file: AdapterFile) -> DataFile:
    """Write the data file of one language and return its manifest entry.

    Raises:
        DamagedAdapter: a value is not finite.
        MmsError: the adapter does not fit the model, or its values do not fit the dtype.
    """
    if file.base_sha256 not in ("", job.fingerprint):
        raise MmsError(
            f"{file.path} was trained for another base model than the one beside it: its text "
            "would be meaningless. Export the folder that mms-train wrote"
        )
    weights = read_adapter(file, job.config)
    arrays = {
        "adapter": pack_adapter(weights, job.config),
        "head_weight": weights.read("lm_head.weight"),
        "head_bias": weights.read("lm_head.bias"),
    }
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise DamagedAdapter(f"{file.path} is damaged: its {name} has values not finite")
        with np.errstate(over="ignore"):  # overflow is detected here
            arrays[name] = array.astype(job.dtype)
        if not np.isfinite(arrays[name]).all():
            raise MmsError(
                f"{file.path} has values that are not finite in {job.dtype}: "
                "it needs --adapter-dtype float32"
            )
    adapter = AdapterWeights(
        language=file.language,
        vocab=file.vocab,
        fingerprint=job.fingerprint,
        word_delimiter=file.labels.word_delimiter,
        delimiter_text=file.labels.delimiter_text,
        **arrays,
    )
    path = adapter_path(job.folder, file.language)
    save_adapter(path, adapter)
    return DataFile(file=describe(job.folder, path), vocab_size=len(file.vocab))


def adapter_size(job: DataJob, file: AdapterFile) -> int:
    """Return the bytes of a language's adapter and head."""
    config: Wav2Vec2 = job.config
    head = len(file.vocab) * (config.hidden_size + 1)
    return (adapter_parameters(config) + head) * job.itemsize


ASR = Task(
    graphs=(
        GraphSpec(name="frontend", build=build_frontend),
        GraphSpec(name="encoder", build=build_encoder, has_parity=True, planned=False),
        GraphSpec(name="step", build=build_step, shares="encoder", has_parity=True),
    ),
    model=lambda checkpoint: checkpoint.config,
    data=DataSpec(
        noun="adapters",
        paths=lambda folder, language: (adapter_path(folder, language),),
        write=write_adapter,
        size=adapter_size,
    ),
    sample="ten seconds of speech",
    case=parity_case,
    reference=reference_logits,
    outputs=graph_logits,
    compare=compare,
)
