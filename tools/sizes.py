"""Print the longest files and functions, and the size of product and tests.

Fails when a file or function is over its limit.
"""

import subprocess
import sys
from pathlib import Path

import lizard

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
SHOWN = 10
SUFFIXES = (".py", ".h", ".cpp", ".cu", ".cuh")

Row = tuple[int, str]


def tracked_sources() -> list[Path]:
    """Return the source files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    paths = (Path(line) for line in listed.splitlines())
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file()]


def is_test(path: Path) -> bool:
    """Return whether a file is a test: under `tests/`, or a C++ test of the kernels."""
    return path.parts[0] == "tests" or path.is_relative_to("kernels/csrc/tests")


def function_rows(path: Path) -> list[Row]:
    """Return the length in lines and the location of each function in `path`."""
    found = lizard.analyze_file(str(path)).function_list
    return [(f.end_line - f.start_line + 1, f"{path}:{f.start_line} {f.name}") for f in found]


def report(title: str, rows: list[Row], cap: int) -> bool:
    """Print the longest of `rows`; return whether one is over `cap`."""
    longest = sorted(rows, reverse=True)[:SHOWN]
    print(f"{title} (cap {cap} lines)")
    for lines, name in longest:
        print(f"  {lines:5d}  {name}{'  <- too long' if lines > cap else ''}")
    return bool(longest) and longest[0][0] > cap


def main() -> int:
    """Return the exit status."""
    paths = tracked_sources()
    files = [(len(path.read_text(encoding="utf-8").splitlines()), str(path)) for path in paths]
    functions = [row for path in paths for row in function_rows(path)]
    failed = [
        report("longest files", files, MAX_FILE_LINES),
        report("longest functions", functions, MAX_FUNCTION_LINES),
    ]
    for name, wanted in (("product", False), ("tests", True)):
        lines = sum(count for count, path in files if is_test(Path(path)) == wanted)
        print(f"{name}: {lines} lines")
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
