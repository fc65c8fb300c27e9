"""Plant known bugs in the kernels, one at a time, and see that the tests catch each.

`tools/mutations.toml` lists them: what to replace by what, in which file, and which tests must
fail. The tree is copied to a scratch folder first; nothing here is changed. Exit status 1 if a bug
survives, cannot be planted (its old text is not there exactly once) or does not compile.
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
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("mutations.toml")
PATIENCE, TIMEOUT = 3600.0, 300.0
"""Seconds for all the tests of the tree as it is; and for those of one bug: tests that take longer
have noticed it too, unless the machine is merely slow, so that the report tells them apart."""
_PYCUDA = ROOT / "build" / "cudasim" / "site"
ROOMS = ("export", "engine", "kernels", "bench")
_NATIVE = "ctest:"
_OUTPUT = "mutate-output.txt"
_TIMED_OUT = 1000
_TOO_LONG = "took too long"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One bug."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Patterns of test files, or `ctest:NAME`; at least one of these tests must fail."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it."""

    mutation: Mutation
    verdict: str
    """`killed`, `survived` or `broken`."""
    detail: str = ""


def read_list(path: Path) -> list[Mutation]:
    """Return the bugs of a list.

    Raises:
        ValueError: two have the same name.
    """
    found = [
        Mutation(**(entry | {"tests": tuple(entry["tests"])}))
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutation"]
    ]
    names = [mutation.name for mutation in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two mutations are called {name!r}")
    return found


def plant(tree: Path, mutation: Mutation) -> str:
    """Write the bug into the tree and return the file's text from before.

    Raises:
        ValueError: the old text is not there exactly once.
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
    """Plant one bug after the other, each into the tree as it was.

    Args:
        tree: A copy that may be changed.
        mutations: The bugs.
        run: Builds and runs tests and returns `passed`, `failed`, `took too long`, or why they
            could not be run.
        tell: Takes a line of progress.
    """
    outcomes = []
    for number, mutation in enumerate(mutations, 1):
        start = time.monotonic()
        outcome = _try(tree, mutation, run)
        outcomes.append(outcome)
        tell(
            f"{number:3d}/{len(mutations)}  {outcome.verdict:8s}  {mutation.name}"
            f"{'  (' + outcome.detail + ')' if outcome.detail else ''}"
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


@dataclass(frozen=True, slots=True)
class Bench:
    """A copy of the tree with a build of its own and an interpreter that sees only that."""

    tree: Path
    native: bool
    """Whether tests in C++ are run as well."""
    timeout: float
    """Seconds, of one command."""

    @property
    def _build(self) -> Path:
        return self.tree / "build" / "mutate"

    @property
    def _python(self) -> Path:
        return self.tree / ".venv" / "bin" / "python"

    def set_up(self) -> None:
        """Copy the sources, make the interpreter, configure the build."""
        command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        if _PYCUDA.is_dir():  # minutes to build, and nothing is planted in it
            shutil.copytree(_PYCUDA, self.tree / _PYCUDA.relative_to(ROOT))
        venv.create(self.tree / ".venv", symlinks=True)
        (packages,) = (self.tree / ".venv").glob("lib/python*/site-packages")
        # Ours first; the installed ones after, without what their .pth files would bring along.
        paths = [str(self.tree / room) for room in ROOMS]
        paths += [path for path in sys.path if path.endswith(("site-packages", "peers"))]
        (packages / "mutate.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
        names = ("BUILD_EMULATION", "WERROR", *(("BUILD_TESTS",) if self.native else ()))
        options = [f"-DMMS_{name}=ON" for name in names]
        # The CUDA kernels are tested by their emulation: nothing is compiled for devices.
        options += ["-DMMS_CUDA=OFF", f"-DPython_EXECUTABLE={self._python}"]
        generator = ("-G", "Ninja") if shutil.which("ninja") else ()
        self._must("cmake", "-S", str(self.tree), "-B", str(self._build), *generator, *options)

    def run(self, tests: Sequence[str]) -> str:
        """Build and run tests; see `try_all` for what is returned."""
        if self._call("cmake", "--build", str(self._build), "--parallel", "2") != 0:
            return "does not compile"
        (module,) = self._build.glob("_ctc*.so")
        shutil.copy2(module, self.tree / "kernels" / "mms_kernels")
        native = [test.removeprefix(_NATIVE) for test in tests if test.startswith(_NATIVE)]
        patterns = [test for test in tests if not test.startswith(_NATIVE)]
        python = [str(path) for pattern in patterns for path in sorted(self.tree.glob(pattern))]
        if native:
            names = f"^({'|'.join(native)})$"
            command = ("ctest", "--test-dir", str(self._build), "-R", names, "--no-tests=error")
            if (code := self._call(*command)) != 0:
                return _TOO_LONG if code == _TIMED_OUT else "failed"
        if python:
            code = self._call(str(self._python), "-m", "pytest", "-x", "-q", *python)
            if code == _TIMED_OUT:
                return _TOO_LONG
            if code not in (0, 1):
                return "failed" if code < 0 else f"pytest ended with {code}"
            return "failed" if code else "passed"
        return "passed"

    def last_words(self) -> str:
        """Return the end of what the last command said."""
        return (self.tree / _OUTPUT).read_text(encoding="utf-8", errors="replace")[-3000:]

    def _must(self, *command: str) -> None:
        if self._call(*command) != 0:
            raise SystemExit(f"{self.last_words()}mutate: {command[0]} failed")

    def _call(self, *command: str) -> int:
        """Run a command and return its exit status, or that it took too long."""
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        if shutil.which("ccache"):
            environment["CMAKE_CXX_COMPILER_LAUNCHER"] = "ccache"
        with (self.tree / _OUTPUT).open("wb") as output:
            try:
                done = subprocess.run(
                    command,
                    check=False,
                    cwd=self.tree,
                    env=environment,
                    timeout=self.timeout,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            except subprocess.TimeoutExpired:
                output.write(f"\nended after {self.timeout:.0f} s\n".encode())
                return _TIMED_OUT
        return done.returncode


def main(words: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--list", type=Path, default=LIST, help="file of mutations")
    parser.add_argument("names", nargs="*", help="part of a name; all mutations without any")
    asked = parser.parse_args(words)
    mutations = [
        mutation
        for mutation in read_list(asked.list)
        if not asked.names or any(name in mutation.name for name in asked.names)
    ]
    with tempfile.TemporaryDirectory(prefix="mms-mutate-") as folder:
        tests = tuple(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
        native = any(test.startswith(_NATIVE) for test in tests)
        bench = Bench(Path(folder), native, PATIENCE)
        bench.set_up()
        found = bench.run(tests)
        if found != "passed":
            print(f"{bench.last_words()}\nthe tests must pass before a bug is planted: {found}")
            return 1
        outcomes = try_all(bench.tree, mutations, replace(bench, timeout=TIMEOUT).run, print)
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
