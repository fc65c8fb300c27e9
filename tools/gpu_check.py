"""First check of a machine with a GPU: `make gpu-check`. Needs only Python.

It looks at the machine, installs the project into a virtual environment of its own, and takes steps
in the order of what they prove: the kernels, the driver, plans of two layers, the demo model, and
measurements of a random checkpoint of the true size. A step that fails does not stop those that do
not need it. After each, build/gpu-check/report.json tells what is known. The measurements are files
to commit: bench/results/gpu-NAME*.json.

With --simulate it takes those steps that the double of the driver can take (tests/cudasim), on a
machine without a GPU.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gpu_machine import ROOT, Machine, NoGpu, examine, notes, problems
from gpu_steps import VENV, WORK, Step, installs_nvcc, result_path, simulated_steps, steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_KEPT_LINES = 40


@dataclass
class Result:
    """Outcome of a step."""

    name: str
    proves: str
    command: str
    status: str
    """`ok`, `failed`, `timed out` or `left out`."""
    seconds: float
    reason: str
    """Status or missing step; empty if it succeeded."""
    tail: list[str]
    """Last lines of its output, unless it succeeded."""


def run(
    wanted: Sequence[Step], machine: Machine, report: Path, environment: Mapping[str, str]
) -> list[Result]:
    """Take the steps, and write what is known to `report` before the first and after each."""
    results: list[Result] = []
    write(report, machine, results)
    for number, step in enumerate(wanted, 1):
        done = {result.name for result in results if result.status == "ok"}
        missing = [name for name in step.needs if name not in done]
        print(f"gpu-check {number}/{len(wanted)}: {step.name}: {step.command}", flush=True)
        if missing:
            result = Result(step.name, step.proves, step.command, "left out", 0.0, missing[0], [])
        else:
            result = take(step, environment)
        results.append(result)
        write(report, machine, results)
        why = f": {result.reason}" if result.reason else ""
        print(f"gpu-check: {step.name}: {result.status}{why}, {result.seconds:.0f} s", flush=True)
    return results


def take(step: Step, environment: Mapping[str, str]) -> Result:
    """Run the command of a step, and end it with all its processes at the limit."""
    tail: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
    start = time.monotonic()
    with _started(step, environment) as (process, late):
        for line in process.stdout or ():
            print(line, end="", flush=True)
            tail.append(line.rstrip("\n"))
        status = process.wait()
    outcome = ("ok", "") if status == 0 else ("failed", f"status {status}")
    if late.is_set():
        outcome = ("timed out", f"not done after {step.limit} s")
    seconds = round(time.monotonic() - start, 1)
    lines = [] if outcome[0] == "ok" else list(tail)
    return Result(step.name, step.proves, step.command, outcome[0], seconds, outcome[1], lines)


@contextlib.contextmanager
def _started(
    step: Step, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], threading.Event]]:
    """Start a command in a process group of its own; the event is set when it is ended as late."""
    late = threading.Event()
    process = subprocess.Popen(
        shlex.split(step.command),
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def expire() -> None:
        late.set()
        end()

    timer = threading.Timer(step.limit, expire)
    timer.start()
    try:
        yield process, late
    finally:  # also on an interrupt by the user
        timer.cancel()
        if process.poll() is None:
            end()
            process.wait()


def write(report: Path, machine: Machine, results: Sequence[Result]) -> None:
    """Replace the report."""
    report.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": dataclasses.asdict(machine),
        "notes": notes(machine),
        "steps": [dataclasses.asdict(result) for result in results],
    }
    fresh = report.with_suffix(".new")
    fresh.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    fresh.replace(report)


def environment(machine: Machine) -> dict[str, str]:
    """Return the environment of the steps: skips for a missing GPU are failures."""
    added = {"MMS_REQUIRE_CUDA": "1"}
    if installs_nvcc(machine):
        site = "lib/python{}.{}/site-packages/nvidia".format(*sys.version_info)
        added["CUDAToolkit_ROOT"] = str(ROOT / VENV / site / f"cu{machine.cuda_major}")
    return dict(os.environ) | added


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check and return the exit status: 0 if every step succeeded."""
    parser = argparse.ArgumentParser(description="Check this machine's GPU; see docs/gpu.md.")
    parser.add_argument("--simulate", action="store_true", help="use the double of the driver")
    parser.add_argument("--list", action="store_true", help="print the steps, and take none")
    parser.add_argument("--report", type=Path, default=ROOT / WORK / "report.json", metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        machine = examine(_double()) if options.simulate else examine()
    except NoGpu as reason:
        print(f"gpu-check: {reason}: run it on a machine with an NVIDIA GPU", file=sys.stderr)
        return 1
    print(f"gpu-check: {describe(machine)}", flush=True)
    for line in notes(machine):
        print(f"gpu-check: note: {line}", flush=True)
    wrong = [] if options.simulate else problems(machine)
    for line in wrong:
        print(f"gpu-check: {line}", file=sys.stderr)
    wanted = simulated_steps() if options.simulate else steps(machine)
    if options.list:
        for step in wanted:
            print(f"{step.name}: {step.command}")
    if wrong or options.list:
        return 1 if wrong else 0
    results = run(wanted, machine, options.report, environment(machine))
    return conclude(results, machine, options.report)


def describe(machine: Machine) -> str:
    """Return the machine in one line."""
    memory, disk = machine.memory_bytes / 1e9, machine.disk_bytes / 1e9
    parts = [
        f"{machine.gpu} of sm {machine.capability} with {machine.gpu_bytes / 1e9:.0f} GB",
        f"driver for CUDA {machine.cuda}",
        f"nvcc {machine.nvcc}" if machine.nvcc else "no nvcc",
        f"{memory:.0f} GB of memory and {disk:.0f} GB of disk free",
    ]
    return ", ".join([*parts, "a Jetson"] if machine.jetson else parts)


def conclude(results: Sequence[Result], machine: Machine, report: Path) -> int:
    """Print what the steps came to, and return the exit status."""
    bad = [result for result in results if result.status != "ok"]
    for result in bad:
        print(f"gpu-check: {result.status}: {result.name} ({result.reason})", file=sys.stderr)
    print(f"gpu-check: {len(results) - len(bad)} of {len(results)} steps succeeded: see {report}")
    made = sorted(ROOT.glob(str(result_path(machine.gpu, "*"))))
    if made:
        print(f"gpu-check: commit {' '.join(str(path.relative_to(ROOT)) for path in made)}")
    return 1 if bad else 0


def _double() -> str:
    """Build the double of the driver and return its path.

    Raises:
        NoGpu: it cannot be built.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from cudasim import build

    try:
        build.build()
    except build.Unavailable as reason:
        raise NoGpu(f"the double of the driver cannot be built: {reason}") from None
    return str(build.DRIVER / "libcuda.so.1")


if __name__ == "__main__":
    sys.exit(main())
