"""What the build makes of the CUDA sources, and that Python knows their structs."""

import ctypes
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cuda_emulation import ROOT
from mms_kernels import cuda
from mms_kernels.cuda import arguments

ARCHITECTURES = [75, 80, 86, 87, 89, 90, 100, 110, 120]


def test_fatbin_has_machine_code_for_every_architecture():
    path = cuda.fatbin_path()
    if path is None and not shutil.which("nvcc"):
        pytest.skip("no nvcc when this was installed")
    assert path is not None, "there is an nvcc, and the install has no kernels"
    fatbin = path.read_bytes()
    assert cuda.architectures(fatbin) == ARCHITECTURES
    assert cuda.portable(fatbin) == 75
    assert re.fullmatch(r"\d+\.\d+", cuda.compiler_release(path))


def test_what_is_no_fatbin_is_an_error():
    magic = b"\x50\xed\x55\xba"
    for data in (b"", b"ELF" * 20, magic, magic + b"\x01\x00\x10\x00" + b"\xff" * 8 + bytes(100)):
        with pytest.raises(ValueError, match="not a fatbin"):
            cuda.architectures(data)


needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")


def configure(folder, *flags):
    root = folder / "CMakeLists.txt"
    root.write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(part NONE)\n"
        f"add_subdirectory({ROOT / 'kernels/csrc/cuda'} cuda)\n"
    )
    command = ["cmake", "-S", folder, "-B", folder / "build", *flags]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@needs_cmake
def test_kernels_are_left_out_in_one_line(tmp_path):
    done = configure(tmp_path, "-DMMS_CUDA=OFF")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "CUDA" in line] == [
        "-- CUDA kernels: left out, MMS_CUDA is OFF"
    ]


NVCC = """#!/bin/sh
case "$*" in
  --version) echo "Cuda compilation tools, release {release}, V{release}.1" ;;
  --list-gpu-code) printf "sm_50\\nsm_75\\nsm_80\\nsm_86\\nsm_87\\nsm_89\\nsm_90\\n{more}" ;;
  *) {compile} ;;
esac
"""


def toolkit(folder, release="12.4", more="", command="exit 3"):
    """Return the flag of a toolkit whose nvcc knows what CUDA 12.4 knew, and `more`."""
    nvcc = folder / "toolkit" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(NVCC.format(release=release, more=more, compile=command))
    nvcc.chmod(0o755)
    return f"-DCUDAToolkit_ROOT={folder / 'toolkit'}"


def built(folder):
    command = ["cmake", "--build", folder / "build"]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@needs_cmake
def test_nvcc_of_another_toolkit_compiles_what_it_knows(tmp_path):
    """As from the pip wheels: wherever CUDAToolkit_ROOT says."""
    out = 'while [ "$1" != -o ]; do echo "$1" >> {log}; shift; done; echo made > "$2"'
    root = toolkit(tmp_path, command=out.format(log=tmp_path / "log"))
    done = configure(tmp_path, root, "-DMMS_CUDA=ON")
    assert "not for sm 100;110;120, which nvcc 12.4 does not know" in done.stdout
    assert "nvcc, release 12.4, for sm 75;80;86;87;89;90" in done.stdout
    assert built(tmp_path).returncode == 0
    words = (tmp_path / "log").read_text().split()
    codes = [after for word, after in itertools.pairwise(words) if word == "-gencode"]
    assert codes[-2:] == ["arch=compute_90,code=sm_90", "arch=compute_75,code=compute_75"]
    assert not any("100" in code for code in codes)
    made = tmp_path / "build/cuda/mms_kernels.fatbin"
    assert made.read_text() == "made\n"
    assert cuda.compiler_release(made) == "12.4"


@needs_cmake
def test_nvcc_that_fails_leaves_the_kernels_out_unless_they_are_required(tmp_path):
    root = toolkit(tmp_path, command="echo 'x.cu: error: unsupported compiler' >&2; exit 2")
    assert configure(tmp_path, root).returncode == 0
    done = built(tmp_path)
    assert done.returncode == 0
    assert "left out, nvcc failed with 2" in re.sub(r"\s+", " ", done.stderr)
    assert "x.cu: error: unsupported compiler" in re.sub(r"\s+", " ", done.stderr)
    assert not (tmp_path / "build/cuda/mms_kernels.fatbin").exists()
    assert configure(tmp_path, root, "-DMMS_CUDA=ON").returncode == 0
    assert built(tmp_path).returncode != 0


@needs_cmake
def test_nvcc_that_does_not_run_leaves_the_kernels_out(tmp_path):
    root = toolkit(tmp_path)
    (tmp_path / "toolkit/bin/nvcc").write_text("#!/bin/sh\nexit 1\n")
    done = configure(tmp_path, root)
    assert done.returncode == 0
    assert "CUDA kernels: left out" in done.stdout
    assert "--version does not work" in done.stdout
    assert configure(tmp_path, root, "-DMMS_CUDA=ON").returncode != 0


@pytest.mark.parametrize(
    "name", ["ScoresBatch", "GreedyArgs", "AlignArgs", "BeamArgs", "BeamOutput", "BeamScoring"]
)
def test_arguments_are_as_large_as_in_the_kernels(emulated, name):
    emulated.mms_emulated_size.restype = ctypes.c_size_t
    assert ctypes.sizeof(getattr(arguments, name)) == emulated.mms_emulated_size(name.encode())


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("Status", arguments.STATUS),
        ("Frame", arguments.FRAME),
        ("GreedyStream", arguments.GREEDY_STREAM),
        ("BeamChoice", arguments.BEAM_CHOICE),
        ("BeamNode", arguments.BEAM_NODE),
        ("BeamSpan", arguments.BEAM_SPAN),
        ("BeamStream", arguments.BEAM_STREAM),
        ("BeamEntry", np.dtype((np.uint8, arguments.BEAM_ENTRY_BYTES))),
    ],
)
def test_elements_are_as_large_as_in_the_kernels(emulated, name, dtype):
    emulated.mms_emulated_size.restype = ctypes.c_size_t
    assert np.dtype(dtype).itemsize == emulated.mms_emulated_size(name.encode())
    assert emulated.mms_emulated_size(b"Nothing") == 0


def test_every_kernel_is_emulated():
    declared = set()
    for path in Path(ROOT, "kernels/csrc/cuda").rglob("*.cu"):
        declared |= set(re.findall(r'extern "C" __global__[^;{]*?\b(mms_\w+)\(', path.read_text()))
    library = Path(ROOT, "kernels/csrc/emulate/library.cpp").read_text()
    assert len(declared) == 7
    assert declared == set(re.findall(r'describe\("(\w+)"', library))
