"""Languages of MMS: codes, names and search."""

from mms_engine.languages.search import candidates, nearest, resolve, search
from mms_engine.languages.table import (
    TASKS,
    Language,
    Task,
    all_languages,
    codes_of_label,
    labels_with_codes,
    language_from_code,
)

__all__ = [
    "TASKS",
    "Language",
    "Task",
    "all_languages",
    "candidates",
    "codes_of_label",
    "labels_with_codes",
    "language_from_code",
    "nearest",
    "resolve",
    "search",
]
