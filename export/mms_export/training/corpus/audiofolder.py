"""Folders with metadata.csv or metadata.jsonl, as the library datasets reads them."""

from pathlib import Path

from mms_export.training.corpus.clip import Part
from mms_export.training.corpus.manifest import json_rows
from mms_export.training.corpus.reading import ReadingOptions
from mms_export.training.corpus.rows import clips_of, table_rows


def read(path: Path, options: ReadingOptions) -> Part:
    """Return the clips of a metadata file; see `Reader`.

    The folder's name is the split where the rows name none.
    """
    is_table = path.suffix.lower() == ".csv"
    rows = table_rows(path, delimiter=",", has_quotes=True) if is_table else json_rows(path)
    named = ((line, {"split": path.parent.name, **row}) for line, row in rows)
    return clips_of(named, path, [path.parent], options)
