"""Limits of the compiled kernels: no spills, and enough blocks on a multiprocessor."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from mms_kernels.cuda import compiler_release, fatbin_path
from mms_kernels.cuda.arguments import beam_step_shared_bytes, beam_threads

TOOL = Path(__file__).resolve().parents[2] / "tools" / "kernel_resources.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("kernel_resources", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["kernel_resources"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(tool):
    """Resources of each kernel by architecture."""
    program, fatbin = tool.cuobjdump(), fatbin_path()
    if program is None or (fatbin is None and not shutil.which("nvcc")):
        pytest.skip("no cuobjdump, or no nvcc when this was installed")
    return tool.read(program, fatbin)


def test_no_kernel_spills_or_has_a_stack(found):
    assert len(found) == 7
    for name, by_architecture in found.items():
        assert len(by_architecture) == 9, name
        for architecture, resources in by_architecture.items():
            assert (resources.stack, resources.local) == (0, 0), (name, architecture)


def test_blocks_of_every_kernel_can_be_as_large_as_documented(found):
    """Registers of a block, of 1,024 threads where docs/kernels-cuda.md allows them."""
    for name, by_architecture in found.items():
        threads = {"mms_greedy": 32, "mms_beam_begin": 32}.get(name, 1024)
        threads = 128 if name in ("mms_beam_step", "mms_beam_results") else threads
        assert all(r.registers * threads <= 65536 for r in by_architecture.values()), name


def test_many_streams_share_a_multiprocessor(tool, found):
    """One stream keeps few threads busy: others must hide its waits."""
    step = found["mms_beam_step"]
    for architecture in (86, 89, 90):
        assert tool.blocks(architecture, step[architecture], 16) >= 8
    assert all(tool.blocks(each, resources, 16) >= 4 for each, resources in step.items())
    for size in (1, 16, 50, 128):
        dynamic = beam_step_shared_bytes(size, beam_threads(size))
        assert all(r.shared + dynamic <= 48 << 10 for r in step.values()), "more must be asked for"


def test_table_of_the_documentation_is_that_of_the_kernels(tool, found):
    page = tool.PAGE.read_text(encoding="utf-8")
    written = page.split(tool.BEGIN)[1].split(tool.END)[0].strip()
    release = compiler_release(fatbin_path())
    if f"by nvcc {release};" not in written:
        pytest.skip("the documentation is of another nvcc")
    assert written == tool.table(found, release)
