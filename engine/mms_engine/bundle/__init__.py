"""Bundle: the model on disk. Manifest, graphs, plans, and a data file per language or voice."""

from mms_engine.bundle.adapters import AdapterWeights, load_adapter, save_adapter
from mms_engine.bundle.manifest import MANIFEST, Manifest
from mms_engine.bundle.reader import Bundle, open_bundle

__all__ = [
    "MANIFEST",
    "AdapterWeights",
    "Bundle",
    "Manifest",
    "load_adapter",
    "open_bundle",
    "save_adapter",
]
