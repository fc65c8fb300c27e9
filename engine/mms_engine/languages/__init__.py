"""Languages of MMS: codes, names and search."""

from mms_engine.languages.search import nearest, search
from mms_engine.languages.table import Language, all_languages, language_from_code

__all__ = ["Language", "all_languages", "language_from_code", "nearest", "search"]
