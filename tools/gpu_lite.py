"""Check of a GPU in ten minutes, on a machine that can reach nothing: `make gpu-check-lite`.

    python tools/gpu_lite.py bundle     here: put what it needs into build/gpu-lite, at most 64 MiB
    python tools/gpu_lite.py run        there, from the same tree: take the steps

It needs a driver, Python and numpy there, and no TensorRT: it checks the compiled kernels, also
under compute-sanitizer where that is, and the driver, and measures decoding and copies. Where torch
is, it takes TensorRT's place, and recordings and streams go through the whole engine. The results
go into the folder of --out. The bundle is for one release of Python on Linux, x86-64.
"""

import argparse
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gpu_check import conclude, describe, run
from gpu_machine import ROOT, NoGpu, examine
from gpu_steps import Step

FOLDER = ROOT / "build" / "gpu-lite"
SITE = FOLDER / "site"
MODEL = FOLDER / "model"
LIMIT = 64 << 20
_PACKAGES = (
    "cuda-bindings>=12.6.1",
    "hypothesis>=6.120",
    "ml_dtypes>=0.5",
    "msgspec>=0.19",
    "nanobind-backend~=1.0",
    "platformdirs>=4",
    "pytest>=8.4",
    "safetensors>=0.5",
)
_NUMPY = ("numpy", "numpy.libs")  # there is one there
_KERNELS = ("greedy", "align", "beam", "beam_streams")
_SANITIZER = ("memcheck", "racecheck", "synccheck")
_FEW = "chunking or repeats_collapse"


def bundle(python: str, *, complete: bool = True) -> int:
    """Write the bundle and return its size in bytes.

    Args:
        python: Release of Python it is for, such as `3.12`.
        complete: Whether to add other projects' packages, and the model of the engine's check.

    Raises:
        SystemExit: pip fails, the install has no kernels, or the bundle is too large.
    """
    import mms_kernels
    from mms_kernels.cuda import fatbin_path

    fatbin = fatbin_path()
    if fatbin is None:
        raise SystemExit("gpu-lite: this installation has no CUDA kernels: reinstall it with nvcc")
    shutil.rmtree(FOLDER, ignore_errors=True)
    SITE.mkdir(parents=True)
    if complete:
        chosen = [
            "--no-compile",
            "--no-warn-conflicts",
            "--only-binary=:all:",
            "--python-version",
            python,
            "--target",
            str(SITE),
        ]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", *chosen, *_PACKAGES]
        subprocess.run(pip, check=True)
        for name in _NUMPY:
            shutil.rmtree(SITE / name, ignore_errors=True)
        # Its plans name files from the root of the tree, which is elsewhere there.
        model = [sys.executable, "-m", "torch_runtime.model", str(MODEL.relative_to(ROOT))]
        tests = dict(os.environ) | {"PYTHONPATH": str(ROOT / "tests")}
        subprocess.run(model, check=True, cwd=ROOT, env=tests)
    ignored = shutil.ignore_patterns("__pycache__")
    for source in (ROOT / "engine" / "mms_engine", ROOT / "kernels" / "mms_kernels"):
        shutil.copytree(source, SITE / source.name, ignore=ignored)
    native = Path(mms_kernels._ctc.__file__)  # noqa: SLF001  (the compiled module, for any Python)
    shutil.copy2(native, SITE / "mms_kernels" / native.name)
    for path in (fatbin, fatbin.with_name(f"{fatbin.name}.nvcc")):
        if path.is_file():
            shutil.copy2(path, SITE / "mms_kernels" / "cuda" / path.name)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    if size > LIMIT:
        raise SystemExit(f"gpu-lite: {size >> 20} MiB, at most {LIMIT >> 20} can be carried")
    return size


def steps(out: Path, sanitizer: str | None) -> list[Step]:
    """Return the steps, in the order of what they prove."""
    python = shlex.quote(sys.executable)
    pytest = f"{python} -m pytest -q -p no:cacheprovider -m needs_cuda"
    driver = f"{pytest} --confcutdir=tests/gpu tests/gpu/test_gpu_driver.py"
    files = " ".join(f"tests/kernels/test_{name}.py" for name in _KERNELS)
    made = [
        Step("driver", "streams, copies, graphs and memory do", driver, 60),
        Step("kernels", "they compute what the CPU's do", f"{pytest} {_CUT} {files}", 180),
    ]
    if importlib.util.find_spec("torch"):
        engine = f"{python} -m torch_runtime.check {shlex.quote(str(MODEL.relative_to(ROOT)))}"
        text = "recordings and streams go through it, with torch in TensorRT's place"
        made.append(Step("engine", text, engine, 100, ("driver",)))
    if sanitizer:
        few = f"{pytest} {_CUT} tests/kernels/test_greedy.py -k {shlex.quote(_FEW)}"
        made += [
            Step(name, "memory and barriers", f"{sanitizer} --tool {name} {_STRICT} {few}", 90)
            for name in _SANITIZER
        ]
    bench = f"{python} tools/gpu_bench.py --json {shlex.quote(str(out / 'gpu-bench.json'))}"
    return [*made, Step("bench", "speed of decoding and copies", bench, 240, ("driver",))]


_CUT = "--confcutdir=tests/kernels"
_STRICT = "--error-exitcode 9"


def environment() -> dict[str, str]:
    """Return the environment of the steps: the bundle before everything else."""
    path = os.pathsep.join([str(SITE), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return dict(os.environ) | {"PYTHONPATH": path.rstrip(os.pathsep), "MMS_REQUIRE_CUDA": "1"}


def check(out: Path) -> int:
    """Take the steps and return the exit status."""
    if not SITE.is_dir():
        print(f"gpu-lite: there is no {SITE}: make it with gpu_lite.py bundle", file=sys.stderr)
        return 1
    try:
        machine = examine()
    except NoGpu as reason:
        print(f"gpu-lite: {reason}: run it on a machine with an NVIDIA GPU", file=sys.stderr)
        return 1
    print(f"gpu-lite: {describe(machine)}", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    report = out / "gpu-lite.json"
    results = run(steps(out, shutil.which("compute-sanitizer")), machine, report, environment())
    return conclude(results, machine, report)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("bundle", help="write build/gpu-lite")
    made.add_argument("--python", default="3.12", help="release of Python there (default: 3.12)")
    run_it = commands.add_parser("run", help="take the steps")
    run_it.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="folder of results")
    options = parser.parse_args(arguments)
    if options.command == "run":
        return check(options.out)
    size = bundle(options.python)
    print(f"gpu-lite: {size / 1e6:.0f} MB for Python {options.python} in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
