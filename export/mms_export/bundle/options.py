"""Export options."""

from dataclasses import dataclass
from pathlib import Path

from mms_engine.bundle.manifest import DataDtype
from mms_engine.types import Precision
from mms_export.tensorrt.options import PlanOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Source, contents and destination of an export."""

    model: str
    """`demo`, a folder, a `.pt` file of fairseq or torchaudio, or a hub id."""
    languages: str
    """`all`, or codes and globs separated by commas."""
    out: Path
    """Folder of the bundle."""
    precisions: tuple[Precision, ...] = ()
    """Precisions of the graphs; none for the default of the task."""
    data_dtype: DataDtype | None = None
    """Dtype of the data files; `None` for that of the model: float16 where there is a file for
    each of many languages, float32 for a head that serves all."""
    plans: PlanOptions | None = None
    """`None` for no TensorRT plans."""
    triton: Path | None = None
    """Folder of a model repository of Triton; `None` for none."""
    jobs: int = 1
    """Worker processes."""
    replace: bool = False
    """Whether to overwrite a bundle of another model, or of another schema."""
