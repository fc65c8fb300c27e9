"""The C++ core on its own, under the sanitizers, and the stub of the Python module."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mms_kernels import _ctc

ROOT = Path(__file__).parents[2]


def run(*command, **options):
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Folder of a build under the sanitizers, in which a warning is an error."""
    if not shutil.which("c++") or not shutil.which("cmake"):
        pytest.skip("no C++ compiler or no cmake")
    folder = tmp_path_factory.mktemp("build")
    on = ("MMS_BUILD_TESTS", "MMS_BUILD_FUZZ", "MMS_WERROR")
    flags = ["-DMMS_BUILD_PYTHON=OFF", "-DMMS_SANITIZE=address,undefined"]
    flags += [f"-D{option}=ON" for option in on]
    run("cmake", "-S", ROOT, "-B", folder, *flags)
    run("cmake", "--build", folder, "--parallel", "2")
    return folder


def test_core_under_sanitizers(build):
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    output = run("ctest", "--test-dir", build, "--output-on-failure", env=environment)
    assert "100% tests passed" in output


def test_fuzz_targets_take_their_seeds(build, tmp_path):
    run(sys.executable, ROOT / "tools" / "fuzz_seeds.py", tmp_path)
    for target, inputs in {"arpa_fuzz": 4, "lm_file_fuzz": 4, "decoders_fuzz": 3}.items():
        assert run(build / target, tmp_path / target) == f"{inputs} inputs\n"


def test_decoders_fuzz_takes_what_once_broke_it(build):
    """Whatever the fuzzer has found stays mended, under the sanitizers."""
    found = ROOT / "kernels/csrc/fuzz/regressions/decoders_fuzz"
    inputs = len(list(found.iterdir()))
    assert run(build / "decoders_fuzz", found) == f"{inputs} inputs\n"


def test_inner_loops_define_one_table_each_and_nothing_to_share(build):
    """Code there with a weak symbol could be the one copy that the linker keeps for all."""
    sources = {path.name for path in (ROOT / "kernels/csrc/cpu/isa").glob("*.cpp")}
    for isa in _ctc.isas():
        objects = list(build.glob(f"CMakeFiles/mms_{isa}.dir/**/*.o"))
        assert {path.stem for path in objects} == sources
        for path in objects:
            lines = run("nm", "--defined-only", "--extern-only", "--demangle", path).splitlines()
            names = [line.split(" ", 2)[2] for line in lines if "__odr_asan" not in line]
            assert [name.rpartition("::")[0] for name in names] == [f"mms::{isa}"]


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
