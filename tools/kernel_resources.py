"""Registers, shared memory and spills of the compiled CUDA kernels, and the blocks they allow.

    python tools/kernel_resources.py            print the table of docs/kernels-cuda.md
    python tools/kernel_resources.py --update   write it there

Needs cuobjdump, of a CUDA toolkit or of the package nvidia-cuda-cuobjdump.
"""

import argparse
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from mms_kernels.cuda import compiler_release, fatbin_path
from mms_kernels.cuda.arguments import beam_step_shared_bytes, beam_threads

PAGE = Path(__file__).resolve().parents[1] / "docs" / "kernels-cuda.md"
BEGIN, END = "<!-- kernel resources -->", "<!-- kernel resources: end -->"
SIZES = (16, 50, 128)
"""Beam sizes of which the table gives the blocks on a multiprocessor."""
_RESERVED = 1024  # shared memory that a block takes for the system, from sm 80 on
_REGISTERS = 65536
_PER_WARP = 256  # registers are given out in units of
LIMITS = {
    75: (64, 16, 32),
    80: (164, 32, 64),
    86: (100, 16, 48),
    87: (164, 16, 48),
    89: (100, 24, 48),
    90: (228, 32, 64),
    100: (228, 32, 64),
    110: (228, 24, 48),
    120: (100, 24, 48),
}
"""KiB of shared memory, blocks and warps of a multiprocessor: CUDA's table of capabilities."""


@dataclass(frozen=True)
class Resources:
    """What a kernel takes on one architecture."""

    registers: int
    """Of a thread."""
    stack: int
    """Bytes of a thread for spilled registers and arrays that are indexed at run time."""
    shared: int
    """Bytes of a block, without the dynamic part."""
    local: int
    """Bytes of a thread in local memory beside the stack."""


def cuobjdump() -> str | None:
    """Return the path of cuobjdump; `None` without one."""
    package = Path(sysconfig.get_path("purelib"), "nvidia")
    places = [*package.glob("cu*/bin/cuobjdump"), Path("/usr/local/cuda/bin/cuobjdump")]
    return shutil.which("cuobjdump") or next((str(p) for p in places if p.is_file()), None)


def read(program: str, fatbin: Path) -> dict[str, dict[int, Resources]]:
    """Return the resources of each kernel by architecture."""
    command = [program, "--dump-resource-usage", str(fatbin)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, dict[int, Resources]] = {}
    architecture = 0
    for line in text.splitlines():
        if match := re.search(r"arch = sm_(\d+)", line):
            architecture = int(match[1])
        elif match := re.search(r"Function (\w+):", line):
            kernel = match[1]
        elif match := re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", line):
            registers, stack, shared, local = map(int, match.groups())
            if architecture >= 90:  # the compiler counts it there
                shared -= _RESERVED
            found.setdefault(kernel, {})[architecture] = Resources(registers, stack, shared, local)
    return found


def blocks(architecture: int, step: Resources, beam_size: int) -> int:
    """Return the blocks of mms_beam_step that fit on a multiprocessor."""
    shared, most, warps = LIMITS[architecture]
    threads = beam_threads(beam_size)
    reserved = _RESERVED if architecture >= 80 else 0
    bytes_taken = step.shared + beam_step_shared_bytes(beam_size, threads) + reserved
    registers = -(-32 * step.registers // _PER_WARP) * _PER_WARP * threads // 32
    return min((shared << 10) // bytes_taken, _REGISTERS // registers, most, warps * 32 // threads)


def table(found: dict[str, dict[int, Resources]], release: str) -> str:
    """Return the table as Markdown."""
    step = found["mms_beam_step"]
    lines = [
        f"Registers of a thread and static shared memory of a block in bytes, by nvcc {release};",
        "no kernel spills registers or has a stack. Last rows: streams on a multiprocessor, by the",
        "limits of its capability.",
        "",
        f"| | {' | '.join(f'sm {each}' for each in step)} |",
        f"| --- |{' ---: |' * len(step)}",
    ]
    for name in sorted(found):
        cells = [f"{r.registers}, {r.shared:,}" for r in found[name].values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    for size in SIZES:
        cells = [str(blocks(each, resources, size)) for each, resources in step.items()]
        lines.append(f"| streams of a beam of {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write it to docs/kernels-cuda.md")
    options = parser.parse_args()
    program, fatbin = cuobjdump(), fatbin_path()
    if program is None or fatbin is None:
        parser.error("there is no cuobjdump, or this installation has no kernels")
    text = table(read(program, fatbin), compiler_release(fatbin))
    if not options.update:
        print(text)
        return
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
