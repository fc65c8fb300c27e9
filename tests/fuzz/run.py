"""Fuzzing of everything that reads a user's file: `run.py --seconds 3600`, or `make fuzz`.

Files of each kind are damaged at random, and each is read in a process of its own. A finding is a
signal, more than 10 s of CPU time, more memory than the limit, or an error that is not one of the
product's own. The damage of a case depends on the seed and the number of the case only.
"""

import argparse
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from targets import Target

HERE = Path(__file__).resolve().parent
CPU_SECONDS = 10
WALL_SECONDS = 60
"""The machine may be busy, so the limit of time is one of CPU time; this one finds waits."""
RSS_BYTES = 1 << 30
"""Limit on memory, as docs/contributing.md has it."""
_ADDRESS_BYTES = 16 << 30
_FAILED = 3


@dataclass(frozen=True)
class Outcome:
    """End of the process that read a file."""

    finding: str
    """Empty if all is well."""
    log: str
    rss: int
    """Peak resident set size in bytes, that of the libraries included."""


def read_in_child(target: "Target", path: Path, log: Path) -> Outcome:
    """Read a damaged file in a child process, within limits."""
    child = os.fork()
    if child == 0:
        _read(target, path, log)
    deadline, grown = time.monotonic() + WALL_SECONDS, False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        late = time.monotonic() > deadline
        grown = grown or _rss(child) > RSS_BYTES
        if late or grown:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            break
        time.sleep(0.002)
    rss = usage.ru_maxrss * 1024
    text = log.read_text(errors="replace")
    return Outcome(_finding(status, text, is_large=grown or rss > RSS_BYTES), text, rss)


def _rss(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()


def _read(target: "Target", path: Path, log: Path) -> None:
    """Read the file and end the process."""
    import click

    from mms_engine.errors import MmsError

    status = _FAILED
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_BYTES, _ADDRESS_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
        try:
            target.use(path)
        except (MmsError, click.ClickException) as error:
            if not " ".join(str(error).split()):
                raise
        status = 0
    except BaseException:  # noqa: BLE001 (reported to the parent)
        with log.open("a") as lines:
            traceback.print_exc(file=lines)
    finally:
        os._exit(status)


def _finding(status: int, log: str, *, is_large: bool) -> str:
    if is_large:
        return f"more than {RSS_BYTES >> 20} MiB"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGXCPU, signal.SIGKILL):
            return f"more than {CPU_SECONDS} s"
        return signal.Signals(number).name
    if os.WEXITSTATUS(status) == 0:
        return ""
    places = re.findall(r'File ".*/(\w+/\w+\.py)", line (\d+)', log)
    last = log.strip().splitlines()[-1].split(":")[0] if log.strip() else "unknown"
    return f"{last} at {':'.join(places[-1])}" if places else last


def check_seeds(targets: Sequence["Target"], scratch: Path) -> None:
    """Check that each target reads its seed: one that refuses it would find nothing."""
    from dataclasses import replace

    for target in targets:
        path = scratch / f"input{Path(target.name).suffix}"
        path.write_bytes(target.seed)
        outcome = read_in_child(replace(target, use=_reading(target)), path, scratch / "log")
        if outcome.finding:
            sys.exit(f"the seed of {target.name} is not read: {outcome.finding}\n{outcome.log}")


def _reading(target: "Target") -> Callable[[Path], None]:
    """Return the reader of a seed, whose refusals are errors of another kind."""
    import click

    from mms_engine.errors import MmsError

    def read(path: Path) -> None:
        try:
            (target.read_whole or target.use)(path)
        except (MmsError, click.ClickException) as error:
            raise AssertionError(str(error)) from error

    return read


def damaged(generator: random.Random, target: "Target", others: Sequence["Target"]) -> bytes:
    """Return the seed of a target after one to three mutations."""
    from mutations import splice

    content = target.seed
    for _ in range(generator.choice((1, 1, 2, 3))):
        try:
            if generator.random() < 0.1:
                content = splice(generator, content, generator.choice(others).seed)
            else:
                content = generator.choice(target.mutations)(generator, content)
        except ValueError:  # no longer of the structure that the mutation needs
            continue
    return content


def prepare(folder: Path) -> tuple[Path, Path]:
    """Write a tiny checkpoint and its bundle, in a process of its own since that loads PyTorch."""
    checkpoint, bundle = folder / "tiny", folder / "tiny-bundle"
    child = os.fork()
    if child == 0:
        try:
            from mms_export.cli import main as mms_export
            from tiny_models import make_tiny

            make_tiny(checkpoint)
            arguments = ["--model", str(checkpoint), "--out", str(bundle), "--quiet", "--jobs", "1"]
            mms_export.main([*arguments, "--precision", "fp32"], standalone_mode=False)
            os._exit(0)
        finally:  # never into the parent's code
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit("the tiny bundle could not be exported")
    return checkpoint, bundle


def loop(options: argparse.Namespace, scratch: Path) -> Counter[str]:
    """Read damaged files until the time is over; return the number of each finding."""
    from targets import targets

    (scratch / "seeds").mkdir()
    every = targets(scratch / "seeds", *prepare(scratch))
    chosen = [one for one in every if re.search(options.kinds, one.name)]
    check_seeds(chosen, scratch)
    cases: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    peak = 0
    end = time.monotonic() + options.seconds
    number = options.first
    while time.monotonic() < end and (options.cases is None or number < options.cases):
        generator = random.Random(f"{options.seed}:{number}")  # noqa: S311 (no secret)
        target = chosen[number % len(chosen)]
        path = scratch / f"input{Path(target.name).suffix}"
        path.write_bytes(damaged(generator, target, every))
        outcome = read_in_child(target, path, scratch / "log")
        cases[target.name] += 1
        peak = max(peak, outcome.rss)
        if outcome.finding:
            finding = f"{target.name.split('-')[0]}: {outcome.finding}"
            findings[finding] += 1
            _keep(options.keep, f"{target.name}-{options.seed}-{number}", path, outcome)
            print(f"case {number} of {target.name}: {outcome.finding}", flush=True)
        number += 1
        if number % 1000 == 0:
            print(f"{number} cases, {sum(findings.values())} findings", flush=True)
    print(f"{sum(cases.values())} files of {len(cases)} kinds, peak {peak >> 20} MiB")
    for finding, count in findings.most_common():
        print(f"  {count:6d}  {finding}")
    return findings


def _keep(folder: Path, name: str, path: Path, outcome: Outcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / name).exists():
        (folder / name).write_bytes(path.read_bytes())
        (folder / f"{name}.log").write_text(f"{outcome.finding}\n\n{outcome.log}")


def main() -> None:
    """Run, and exit with 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="duration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, help="number after the last case")
    parser.add_argument("--kinds", default="", help="regular expression of the kinds")
    parser.add_argument(
        "--keep", type=Path, default=Path("build/fuzz"), help="folder for what was found"
    )
    options = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    with tempfile.TemporaryDirectory(prefix="mms-fuzz-") as folder:
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = folder
        findings = loop(options, Path(folder))
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
