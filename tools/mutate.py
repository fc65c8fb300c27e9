"""Mutation audit: plant known bugs, one at a time, and check that the tests catch each.

`tools/mutations.toml` lists the bugs: file, old and new text, and the tests of which at least one
must fail. Everything happens in a scratch copy of the tree. The exit status is 1 if a bug survives,
cannot be planted (its old text does not occur exactly once) or does not compile.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutations.toml")
UNCHANGED_TIMEOUT, TIMEOUT = 3600.0, 300.0
"""Limits of one command in seconds: for the unchanged tree, and for a bug. Tests that exceed the
latter have noticed the bug, unless the machine is merely slow, so the report says so."""
ROOMS = ("export", "engine", "kernels", "bench")
_PYCUDA = ROOT / "build" / "cudasim" / "site"
_OUTPUT = "mutate-output.txt"
_TOO_LONG = "took too long"


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Patterns of test files, of which at least one test must fail."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one mutation."""

    mutation: Mutation
    verdict: str
    """`killed`, `survived` or `broken`."""
    detail: str = ""


def read_list(path: Path) -> list[Mutation]:
    """Return the mutations of a list.

    Raises:
        ValueError: Two mutations have the same name.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutation"]
    found = [Mutation(**(entry | {"tests": tuple(entry["tests"])})) for entry in entries]
    names = [mutation.name for mutation in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two mutations are called {name!r}")
    return found


def plant(tree: Path, mutation: Mutation) -> str:
    """Write the bug into the tree and return the file's original text.

    Raises:
        ValueError: The old text does not occur exactly once.
    """
    path = tree / mutation.file
    text = path.read_text(encoding="utf-8")
    count = text.count(mutation.old)
    if count != 1:
        raise ValueError(f"{mutation.file} has the old text {count} times, not once")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return text


def try_all(
    tree: Path,
    mutations: Sequence[Mutation],
    run: Callable[[Sequence[str]], str],
    tell: Callable[[str], None],
) -> list[Outcome]:
    """Try each mutation on the unchanged tree.

    Args:
        tree: A scratch copy of the sources.
        mutations: The mutations.
        run: Builds, runs tests and returns `passed`, `failed`, `took too long`, or the reason why
            they could not be run.
        tell: Receives one line of progress per mutation.
    """
    outcomes = []
    for number, mutation in enumerate(mutations, 1):
        start = time.monotonic()
        outcome = _try(tree, mutation, run)
        outcomes.append(outcome)
        detail = f"  ({outcome.detail})" if outcome.detail else ""
        tell(
            f"{number:3d}/{len(mutations)}  {outcome.verdict:8s}  {mutation.name}{detail}"
            f"  {time.monotonic() - start:.0f} s"
        )
    return outcomes


def _try(tree: Path, mutation: Mutation, run: Callable[[Sequence[str]], str]) -> Outcome:
    try:
        before = plant(tree, mutation)
    except (OSError, ValueError) as error:
        return Outcome(mutation, "broken", str(error))
    try:
        found = run(mutation.tests)
    finally:
        (tree / mutation.file).write_text(before, encoding="utf-8")
    if found == _TOO_LONG:
        return Outcome(mutation, "killed", found)
    if found in ("failed", "passed"):
        return Outcome(mutation, "killed" if found == "failed" else "survived")
    return Outcome(mutation, "broken", found)


class Bench:
    """A scratch copy of the tree, with its own build and an interpreter that sees only that."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.timeout = UNCHANGED_TIMEOUT
        self._build = tree / "build" / "mutate"
        self._python = tree / ".venv" / "bin" / "python"

    def set_up(self) -> None:
        """Copy the sources, create the interpreter and configure the build."""
        command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        if _PYCUDA.is_dir():  # takes minutes to build, and no bug is planted in it
            shutil.copytree(_PYCUDA, self.tree / _PYCUDA.relative_to(ROOT))
        venv.create(self.tree / ".venv", symlinks=True)
        (packages,) = (self.tree / ".venv").glob("lib/python*/site-packages")
        # The copy's packages first, then the installed ones without their .pth files.
        paths = [str(self.tree / room) for room in ROOMS]
        paths += [path for path in sys.path if path.endswith(("site-packages", "peers"))]
        (packages / "mutate.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
        # The CUDA kernels are tested in emulation: nothing is compiled for devices.
        options = ["-DMMS_BUILD_EMULATION=ON", "-DMMS_WERROR=ON", "-DMMS_CUDA=OFF"]
        options += [f"-DPython_EXECUTABLE={self._python}"]
        generator = ("-G", "Ninja") if shutil.which("ninja") else ()
        if self._call("cmake", "-S", self.tree, "-B", self._build, *generator, *options) != 0:
            raise SystemExit(f"{self.last_output()}mutate: cmake failed")

    def run(self, tests: Sequence[str]) -> str:
        """Build and run tests; see `try_all` for the result."""
        try:
            return self._run(tests)
        except subprocess.TimeoutExpired:
            return _TOO_LONG

    def _run(self, tests: Sequence[str]) -> str:
        if self._call("cmake", "--build", self._build, "--parallel", "2") != 0:
            return "does not compile"
        (module,) = self._build.glob("_ctc*.so")
        shutil.copy2(module, self.tree / "kernels" / "mms_kernels")
        files = [path for pattern in tests for path in sorted(self.tree.glob(pattern))]
        code = self._call(self._python, "-m", "pytest", "-x", "-q", *files)
        if code > 1:
            return f"pytest ended with {code}"
        return "failed" if code else "passed"

    def last_output(self) -> str:
        """Return the end of the last command's output."""
        return (self.tree / _OUTPUT).read_text(encoding="utf-8", errors="replace")[-3000:]

    def _call(self, *command: str | Path) -> int:
        """Run a command and return its exit status."""
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        if shutil.which("ccache"):
            environment["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
        with (self.tree / _OUTPUT).open("wb") as output:
            return subprocess.run(
                command,
                check=False,
                cwd=self.tree,
                env=environment,
                timeout=self.timeout,
                stdout=output,
                stderr=subprocess.STDOUT,
            ).returncode


def main(words: Sequence[str] | None = None) -> int:
    """Run the audit and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--list", type=Path, default=LIST, help="file of mutations")
    parser.add_argument("names", nargs="*", help="parts of names; without any, all mutations")
    asked = parser.parse_args(words)
    mutations = [
        mutation
        for mutation in read_list(asked.list)
        if not asked.names or any(name in mutation.name for name in asked.names)
    ]
    with tempfile.TemporaryDirectory(prefix="mms-mutate-") as folder:
        bench = Bench(Path(folder))
        bench.set_up()
        tests = dict.fromkeys(test for mutation in mutations for test in mutation.tests)
        found = bench.run(tuple(tests))
        if found != "passed":
            print(f"{bench.last_output()}\nthe tests must pass before a bug is planted: {found}")
            return 1
        bench.timeout = TIMEOUT
        outcomes = try_all(bench.tree, mutations, bench.run, print)
    return report(outcomes)


def report(outcomes: Sequence[Outcome]) -> int:
    """Print the summary and return the exit status."""
    alive = [outcome for outcome in outcomes if outcome.verdict != "killed"]
    print(f"{len(outcomes) - len(alive)} of {len(outcomes)} bugs are caught")
    for outcome in alive:
        print(f"  {outcome.verdict}: {outcome.mutation.name} {outcome.detail}".rstrip())
    return int(bool(alive) or not outcomes)


if __name__ == "__main__":
    sys.exit(main())
