"""Array types, which import NumPy for type checkers only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Float32Array = npt.NDArray[np.float32]
else:
    Float32Array = Any
