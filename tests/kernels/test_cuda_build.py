"""What the build makes of the CUDA sources, and that Python knows their structs."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cuda_emulation import ROOT
from mms_kernels import cuda
from mms_kernels.cuda import arguments

ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120]


def test_fatbin_has_machine_code_for_every_architecture():
    path = cuda.fatbin_path()
    if path is None and not shutil.which("nvcc"):
        pytest.skip("no nvcc when this was installed")
    assert path is not None, "there is an nvcc, and the install has no kernels"
    fatbin = path.read_bytes()
    assert cuda.architectures(fatbin) == ARCHITECTURES


def test_what_is_no_fatbin_is_an_error():
    magic = b"\x50\xed\x55\xba"
    for data in (b"", b"ELF" * 20, magic, magic + b"\x01\x00\x10\x00" + b"\xff" * 8 + bytes(100)):
        with pytest.raises(ValueError, match="not a fatbin"):
            cuda.architectures(data)


def configure(folder, *flags):
    root = folder / "CMakeLists.txt"
    root.write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(part NONE)\n"
        f"add_subdirectory({ROOT / 'kernels/csrc/cuda'} cuda)\n"
    )
    command = ["cmake", "-S", folder, "-B", folder / "build", *flags]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")
def test_kernels_are_left_out_in_one_line(tmp_path):
    done = configure(tmp_path, "-DMMS_CUDA=OFF")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "CUDA" in line] == [
        "-- CUDA kernels: left out, MMS_CUDA is OFF"
    ]


@pytest.mark.skipif(not shutil.which("cmake"), reason="no cmake")
def test_nvcc_of_another_toolkit_is_found(tmp_path):
    """As from the pip wheels: wherever CUDAToolkit_ROOT says."""
    nvcc = tmp_path / "toolkit" / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text("#!/bin/sh\n")
    nvcc.chmod(0o755)
    done = configure(tmp_path, f"-DCUDAToolkit_ROOT={tmp_path / 'toolkit'}")
    assert f"CUDA kernels: compiled by {nvcc} for sm 75;80;86" in done.stdout


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
