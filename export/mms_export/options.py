"""What the user asks for."""

from dataclasses import dataclass
from pathlib import Path

from mms_engine.bundle.schema import Precision
from mms_export.stages import AdapterDtype
from mms_export.tensorrt.options import PlanOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to export."""

    model: str
    """`demo`, a folder, a fairseq `.pt`, or a hub id."""
    languages: str
    """`all`, or codes and globs separated by commas."""
    out: Path
    precisions: tuple[Precision, ...]
    adapter_dtype: AdapterDtype = "float16"
    plans: PlanOptions | None = None
    """`None` for no TensorRT plans."""
    jobs: int = 1
    """Worker processes."""
    replace: bool = False
    """Whether a bundle of another model that is in the way is thrown away."""
