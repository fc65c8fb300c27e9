"""The on-disk model: `manifest.json`, graphs, plans and one adapter a language."""

from mms_engine.bundle.adapters import AdapterWeights, load_adapter, save_adapter
from mms_engine.bundle.reader import Bundle, open_bundle
from mms_engine.bundle.schema import MANIFEST, Manifest

__all__ = [
    "MANIFEST",
    "AdapterWeights",
    "Bundle",
    "Manifest",
    "load_adapter",
    "open_bundle",
    "save_adapter",
]
