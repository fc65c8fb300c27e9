"""Write the first inputs of the fuzz targets: `tools/fuzz_seeds.py FOLDER` fills a folder each."""

import random
import sys
import tempfile
from pathlib import Path

from mms_kernels.arpa import convert_arpa

_UNIGRAMS = "-99\t<s>\t-0.5\n-1\t</s>\n-2\t<unk>\n-0.5\ta\t-0.25\n-0.75\tb\t-0.125\n"
_MODELS = {
    "unigram": "\\data\\\nngram 1=3\n\n\\1-grams:\n-99 <s>\n-1 </s>\n-0.5 a\n\n\\end\\\n",
    "trigram": (
        "\\data\\\nngram 1=5\nngram 2=4\nngram 3=2\n\n"
        f"\\1-grams:\n{_UNIGRAMS}\n"
        "\\2-grams:\n-0.25\t<s> a\t-0.5\n-0.5\ta b\t-1\n-0.5\tb a\n-1\tb </s>\n\n"
        "\\3-grams:\n-0.125\t<s> a b\n-0.25\ta b </s>\n\n\\end\\\n"
    ),
}
_VOCAB, _FRAMES = 5, 24
_CASES = {
    # What `read_case` of kernels/csrc/fuzz/decoders_fuzz.cpp takes, byte by byte: vocabulary less
    # 1, cut, kind, blank, beam less 1, separator plus 1; of each option 0 and its value, or 1 for
    # none; how many hotwords and what they are; how many tokens to align and which.
    "plain": (_VOCAB - 1, 7, 1, 0, 3, 0, 1, 1, 1, 1, 1, 0, 3, 3, 2, 4),
    "options": (_VOCAB - 1, 12, 1, 0, 7, 2, 0, 8, 0, 9, 0, 48, 0, 6, 0, 20, 0, 0),
    "hotwords": (_VOCAB - 1, 3, 0, 0, 5, 2, 1, 1, 1, 1, 1, 2, 12, 2, 3, 4, 3, 20, 0, 4, 2, 4, 5),
}


def _scores(seed: int) -> bytes:
    """Return frames in which one token is likely and the others are not, as the target reads."""
    generator = random.Random(seed)  # noqa: S311 - no secret
    rows = bytearray(generator.randrange(120, 190) for _ in range(_VOCAB * _FRAMES))
    for frame in range(_FRAMES):
        rows[frame * _VOCAB + generator.randrange(_VOCAB)] = 200
    return bytes(rows)


def main(folder: Path) -> None:
    """Write a folder for each target; the first byte for those of models is the target's option."""
    for target in ("arpa_fuzz", "lm_file_fuzz", "decoders_fuzz"):
        (folder / target).mkdir(parents=True, exist_ok=True)
    for seed, (name, options) in enumerate(_CASES.items()):
        (folder / "decoders_fuzz" / name).write_bytes(bytes(options) + _scores(seed))
    for name, text in _MODELS.items():
        for piece in (0, 7):
            (folder / "arpa_fuzz" / f"{name}-{piece}").write_bytes(bytes([piece]) + text.encode())
        with tempfile.TemporaryDirectory() as scratch:
            source, target = Path(scratch) / "arpa", Path(scratch) / "model"
            source.write_text(text, encoding="utf-8")
            with target.open("wb") as stream:
                convert_arpa(source, stream)
            for mended in (0, 1):
                content = bytes([mended]) + target.read_bytes()
                (folder / "lm_file_fuzz" / f"{name}-{mended}").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
