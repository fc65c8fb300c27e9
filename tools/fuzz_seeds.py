"""Write the first inputs of the fuzz targets: `tools/fuzz_seeds.py FOLDER` fills a folder each."""

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


def main(folder: Path) -> None:
    """Write `arpa_fuzz/` and `lm_file_fuzz/`; an input's first byte is its target's option."""
    for target in ("arpa_fuzz", "lm_file_fuzz"):
        (folder / target).mkdir(parents=True, exist_ok=True)
    for name, text in _MODELS.items():
        for piece in (0, 7):
            (folder / "arpa_fuzz" / f"{name}-{piece}").write_bytes(bytes([piece]) + text.encode())
        with tempfile.TemporaryDirectory() as scratch:
            source, target = Path(scratch) / "arpa", Path(scratch) / "model"
            source.write_text(text, encoding="utf-8")
            convert_arpa(source, target)
            for mended in (0, 1):
                content = bytes([mended]) + target.read_bytes()
                (folder / "lm_file_fuzz" / f"{name}-{mended}").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
