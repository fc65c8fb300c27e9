"""Manifests of JSON lines, as `mms segment` and NeMo write them."""

import json
from collections.abc import Iterator
from pathlib import Path

from mms_engine.errors import MmsError
from mms_export.training.corpus.clip import Part
from mms_export.training.corpus.reading import ReadingOptions
from mms_export.training.corpus.rows import Row, clips_of, read_text


def read(path: Path, options: ReadingOptions) -> Part:
    """Return the clips of a manifest; see `Reader`."""
    # `mms segment` names the recording that a clip was cut from.
    rows = ((line, {"recording": row.get("source"), **row}) for line, row in json_rows(path))
    return clips_of(rows, path, [path.parent], options)


def json_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a file, one a line.

    Raises:
        MmsError: a line is no object.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise MmsError(f"{path}, line {number}: no JSON: {error}") from error
        if not isinstance(row, dict):
            raise MmsError(f"{path}, line {number}: {type(row).__name__}, not an object")
        yield number, row
