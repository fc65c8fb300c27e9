"""Run pytest, or another command, on the double of the CUDA driver.

python tests/cudasim/run.py tests/gpu_sim/test_sim_memory.py::test_new_memory_is_nan
python tests/cudasim/run.py --command python script.py
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from cudasim import build

CHILD = "CUDASIM_CHILD"
"""Set in processes that load the double, so that tests run there and start no further one."""


def environment() -> dict[str, str]:
    """Return the environment of a process that runs tests on the double."""
    return build.environment() | {CHILD: "1"}


def main(arguments: list[str]) -> None:
    """Replace this process by the command."""
    build.build()
    command = [sys.executable, "-m", "pytest", *arguments]
    if arguments[:1] == ["--command"]:
        command = arguments[1:]
    os.execvpe(command[0], command, environment())  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
