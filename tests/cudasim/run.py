"""Runs pytest, or another command, on the double of the CUDA driver.

python tests/cudasim/run.py tests/gpu_sim/test_driver.py::test_a_leak_is_reported
python tests/cudasim/run.py --command python script.py
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from cudasim import build

CHILD = "CUDASIM_CHILD"
"""Set where the double is in place, so that tests run here instead of in a process of their own."""


def environment() -> dict[str, str]:
    """Return the environment of a process that runs tests on the double."""
    return build.environment() | {CHILD: "1"}


def main(arguments: list[str]) -> None:
    """Become the command."""
    build.build()
    command = [sys.executable, "-m", "pytest", *arguments]
    if arguments[:1] == ["--command"]:
        command = arguments[1:]
    os.execvpe(command[0], command, environment())  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
