"""The C++ core on its own, under the sanitizers, and the stub of the Python module."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, **options):
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(
    not shutil.which("c++") or not shutil.which("cmake"), reason="no C++ compiler or no cmake"
)
def test_core_under_sanitizers_without_warnings(tmp_path):
    on = ("MMS_BUILD_TESTS", "MMS_BUILD_FUZZ", "MMS_SANITIZE", "MMS_WERROR")
    flags = ["-DMMS_BUILD_PYTHON=OFF", *(f"-D{option}=ON" for option in on)]
    run("cmake", "-S", ROOT, "-B", tmp_path, *flags)
    run("cmake", "--build", tmp_path, "--parallel", "2")
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    output = run("ctest", "--test-dir", tmp_path, "--output-on-failure", env=environment)
    assert "100% tests passed" in output
    run(sys.executable, ROOT / "tools" / "fuzz_seeds.py", tmp_path / "seeds")
    for target in ("arpa_fuzz", "lm_file_fuzz"):
        replayed = run(tmp_path / target, tmp_path / "seeds" / target, env=environment)
        assert replayed == "4 inputs\n"


def test_committed_stub_is_that_of_the_module():
    spec = importlib.util.find_spec("mms_kernels._ctc")
    generated = Path(spec.origin).with_name("_ctc.pyi")
    committed = ROOT / "kernels" / "mms_kernels" / "_ctc.pyi"
    assert generated.read_text() == committed.read_text(), (
        f"the binding has changed: copy {generated} to {committed}"
    )


def test_module_needs_no_library_beyond_the_system(tmp_path):
    """A wheel must load on a machine without a compiler."""
    if not sys.platform.startswith("linux") or not shutil.which("ldd"):
        pytest.skip("reads ELF with ldd")
    spec = importlib.util.find_spec("mms_kernels._ctc")
    libraries = {line.split()[0].split("/")[-1] for line in run("ldd", spec.origin).splitlines()}
    known = ("linux-vdso", "libstdc++", "libgcc_s", "libc.", "libm.", "ld-linux", "libpthread")
    assert [name for name in libraries if not name.startswith(known)] == []
