"""Build `confusables.tsv` from Unicode's data on confusable characters (UTS 39).

    pip install confusable_homoglyphs
    python tools/build_confusables.py > engine/mms_engine/text/confusables.tsv

Each line is a class of letters and marks that look alike.
"""

import unicodedata
from collections import defaultdict

from confusable_homoglyphs import confusables

OWN = ("\u0219\u015f", "\u021b\u0163", "\u0218\u015e", "\u021a\u0162", "\u064a\u0649\u06cc",
       "\u0643\u06a9", "\u0647\u06c1\u06d5\u0629", "\u04cf\u04c0Il", "\u0259\u04d9\u01dd",
       "'\u2019\u2018\u201b\u02bc\u02bb\u02b9\u02be\u02bf`\u00b4\u2032\ua78c",
       "-\u2010\u2011\u2012\u2013\u2014\u2212")  # fmt: skip
"""Classes that the data lack: cedilla and comma below, letters of Arabic scripts that differ in
some positions only, the palochka, schwas, apostrophes, hyphens and dashes."""
LAST = 0xFFFF


def kept(character: str) -> bool:
    """Return whether a character is a letter or mark that no normalisation form replaces."""
    category = unicodedata.category(character)
    normal = unicodedata.normalize("NFKC", character) == character
    ideograph = unicodedata.name(character, "").startswith(("CJK", "HANGUL", "KANGXI"))
    return category[0] in "LM" and ord(character) <= LAST and normal and not ideograph


def main() -> None:
    """Print the classes."""
    classes: dict[str, set[str]] = defaultdict(set)
    for character, targets in confusables.confusables_data.items():
        for target in targets:
            if len(character) == 1 and len(target["c"]) >= 1:
                classes[target["c"]].add(character)
                if len(target["c"]) == 1:
                    classes[target["c"]].add(target["c"])
    found = {frozenset(filter(kept, members)) for members in classes.values()}
    joined: list[set[str]] = [set(own) for own in OWN]
    for members in sorted(found, key=sorted):
        if len(members) > 1:
            same = [one for one in joined if one & members]
            joined = [one for one in joined if not one & members]
            joined.append(set(members).union(*same))
    for members in sorted(joined, key=sorted):
        print("".join(sorted(members)))


if __name__ == "__main__":
    main()
