"""Run pytest, or another command, on the double of the CUDA driver.

MMS_CUDA_DRIVER chooses the package that calls it, pycuda or cuda-bindings.

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


def environment(package: str) -> dict[str, str]:
    """Return the environment of a process that runs tests on the double over a package."""
    return build.environment() | {CHILD: "1", "MMS_CUDA_DRIVER": package}


def main(arguments: list[str]) -> None:
    """Replace this process by the command."""
    build.build()
    command = [sys.executable, "-m", "pytest", *arguments]
    if arguments[:1] == ["--command"]:
        command = arguments[1:]
    package = os.environ.get("MMS_CUDA_DRIVER", "pycuda")
    os.execvpe(command[0], command, environment(package))  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
