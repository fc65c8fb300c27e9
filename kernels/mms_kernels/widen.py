"""Conversion of half-precision weights to float32."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mms_kernels import _ctc, arrays
from mms_kernels.arrays import Float32Array


def widen(numbers: npt.NDArray[Any], out: Float32Array, *, threads: int = 1) -> None:
    """Write half-precision numbers as float32, exactly; NaN stays NaN.

    Args:
        numbers: Shape `[N]`, float16 or bfloat16 (ml_dtypes), C-contiguous; may be read-only, as a
            memory map is.
        out: Shape `[N]`, float32, C-contiguous.
        threads: Maximum number of threads, at least 1.

    Raises:
        TypeError: An array of another dtype.
        ValueError: An array of another shape or memory order, two sizes that differ, a read-only
            `out`, or less than one thread.
    """
    checked = arrays.check("numbers", numbers, ("float16", "bfloat16"), "N")
    arrays.check("out", out, ("float32",), "N")
    arrays.check_rows("numbers", checked, "out", out)
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    is_bfloat16 = checked.dtype.name == "bfloat16"
    _ctc.widen(checked.view(np.uint16), out, is_bfloat16, threads)
