"""Build `exemplars.tsv` from Unicode's CLDR: the letters of languages written with an alphabet.

    npm pack cldr-misc-full@48.2.0 && tar xzf cldr-misc-full-*.tgz
    python tools/build_exemplars.py package/main > engine/mms_engine/text/exemplars.tsv

Each line is a BCP 47 tag and the letters, in lower case, of the language and of the foreign words
that its texts have.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

MOST = 300
"""Letters of the largest alphabet: larger sets are of Chinese characters, and not complete."""
_TAG = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?")
_UNIT = re.compile(
    r"\{(?P<sequence>[^}]*)\}|\\u(?P<code>[0-9A-Fa-f]{4})|\\u\{(?P<long>[0-9A-Fa-f]+)\}"
    r"|\\(?P<escaped>.)|(?P<one>\S)",
    re.DOTALL,
)


def units(written: str) -> Iterator[str]:
    """Yield the characters and sequences of a set in the syntax of CLDR: `[a b {ch} d-f]`."""
    first = ""
    is_range = False
    for match in _UNIT.finditer(written[1:-1]):
        if match["one"] == "-" and first:
            is_range = True
            continue
        code = match["code"] or match["long"]
        text = chr(int(code, 16)) if code else match["sequence"] or match["escaped"] or match["one"]
        if is_range:
            yield from map(chr, range(ord(first) + 1, ord(text) + 1))
        else:
            yield text
        first, is_range = ("", False) if is_range else (text, False)


def letters(characters: dict[str, str]) -> str:
    """Return the letters of a locale, sorted."""
    found: set[str] = set()
    for name in ("exemplarCharacters", "auxiliary"):
        for text in units(characters.get(name, "[]")):
            found.update(unicodedata.normalize("NFC", text.lower()))
    return "".join(sorted(c for c in found if unicodedata.category(c)[0] == "L"))


def main(folder: Path) -> None:
    """Print the table."""
    for locale in sorted(path.name for path in folder.iterdir()):
        if not _TAG.fullmatch(locale):
            continue
        document = json.loads((folder / locale / "characters.json").read_text(encoding="utf-8"))
        found = letters(document["main"][locale]["characters"])
        if 0 < len(found) <= MOST:
            print(f"{locale}\t{found}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
