"""Build the double of the CUDA driver, and pycuda against it, below build/cudasim.

    python tests/cudasim/build.py

Up-to-date parts are not rebuilt. pycuda goes into a folder of its own, never into the environment
that runs this.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "cudasim"
DRIVER = FOLDER / "tests" / "cudasim"
SITE = FOLDER / "site"
HEADERS = FOLDER / "headers"
PYCUDA = "pycuda>=2025.1"
HEADER_PACKAGES = ("nvidia-cuda-runtime>=13,<14", "nvidia-cuda-profiler-api>=13,<14")


class Unavailable(Exception):
    """The double or pycuda cannot be built on this machine, for the reason in the text."""


def environment() -> dict[str, str]:
    """Return the environment in which a process loads the double and its pycuda."""
    libraries = [str(DRIVER), *_entries("LD_LIBRARY_PATH")]
    modules = [str(SITE), str(ROOT / "tests"), *_entries("PYTHONPATH")]
    paths = {"LD_LIBRARY_PATH": libraries, "PYTHONPATH": modules}
    return os.environ | {name: os.pathsep.join(path) for name, path in paths.items()}


def build() -> None:
    """Build the missing and outdated parts.

    Raises:
        Unavailable: no compiler, no cmake, no headers of CUDA, or a build that fails.
    """
    if sys.platform != "linux":
        raise Unavailable("the double of the CUDA driver runs on Linux only")
    for program in ("c++", "cmake"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _alone():
        _build_driver()
        if not any(SITE.glob("pycuda/_driver*.so")):
            _build_pycuda()


def _build_driver() -> None:
    flags = ["-DMMS_BUILD_PYTHON=OFF", "-DMMS_BUILD_CUDASIM=ON", "-DMMS_WERROR=ON"]
    _run("cmake", "-S", ROOT, "-B", FOLDER, *flags)
    _run("cmake", "--build", FOLDER, "--target", "cudasim")


def _build_pycuda() -> None:
    # pycuda reads its settings from the home folder. Its wheel must not get into pip's cache: it
    # has no curand and is not optimised.
    home = FOLDER / "home"
    home.mkdir(exist_ok=True)
    settings = {
        "CUDA_ENABLE_CURAND": False,
        "CUDA_INC_DIR": [str(_headers())],
        "CUDADRV_LIB_DIR": [str(DRIVER)],
        "CXXFLAGS": ["-O0", "-g0", "-w"],
    }
    lines = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    (home / ".aksetup-defaults.py").write_text(lines, encoding="utf-8")
    fresh = FOLDER / "site.new"
    shutil.rmtree(fresh, ignore_errors=True)
    _pip("install", "--no-cache-dir", "--target", fresh, PYCUDA, home=home)
    shutil.rmtree(SITE, ignore_errors=True)
    fresh.rename(SITE)


def _headers() -> Path:
    """Return a folder with cuda.h, of the toolkit or of NVIDIA's packages."""
    nvcc = shutil.which("nvcc")
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    folders = [Path(root, "include") for root in roots if root]
    folders += [Path(nvcc).resolve().parents[1] / "include"] if nvcc else []
    folders += [HEADERS / "nvidia" / "cu13" / "include"]
    for folder in folders:
        if (folder / "cuda.h").is_file() and (folder / "cudaProfiler.h").is_file():
            return folder
    if HEADERS.exists():
        raise Unavailable(f"no cuda.h in {', '.join(map(str, folders))}")
    _pip("install", "--no-deps", "--target", HEADERS, *HEADER_PACKAGES)
    return _headers()


def _pip(*arguments: object, home: Path | None = None) -> None:
    environ = dict(os.environ)
    if home:
        settings = Path.home() / ".config" / "pip" / "pip.conf"
        if "PIP_CONFIG_FILE" not in environ and settings.is_file():
            environ["PIP_CONFIG_FILE"] = str(settings)
        environ["HOME"] = str(home)
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run(*command, *arguments, env=environ)


def _run(*command: object, env: dict[str, str] | None = None) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise Unavailable(f"{' '.join(words)}\n{tail}")


def _entries(variable: str) -> list[str]:
    return [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry]


@contextmanager
def _alone():
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        build()
    except Unavailable as reason:
        sys.exit(f"cudasim: {reason}")
