"""Opens a language's tensors, whichever format they come in."""

from mms_export.checkpoints.checkpoint import AdapterFile
from mms_export.checkpoints.config import Config
from mms_export.checkpoints.transformers import read_adapter as read_transformers_adapter
from mms_export.checkpoints.weights import Tensors


def read_adapter(file: AdapterFile, config: Config) -> Tensors:
    """Open a language's tensors, under the names of `names.adapter_shapes`.

    Raises:
        MmsError: they are not those of an adapter of this model.
    """
    if file.format == "transformers":
        return read_transformers_adapter(file, config)
    # Loads torch, which the processes that convert safetensors do without.
    from mms_export.checkpoints.fairseq import read_adapter as read_fairseq_adapter

    return read_fairseq_adapter(file, config)
