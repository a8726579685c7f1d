"""One formula for numpy arrays and torch tensors: the namespace of functions that serves both.

    xp = namespace(points)
    xp.stack([points[..., 0], -points[..., 1]], axis=-1)

numpy 2 speaks the array API itself. Tensors are served by `array_api_compat`, which comes with the
extra `train`; nothing is imported for numpy arrays. Source: Python array API standard, 2023.12.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # np.ndarray or torch.Tensor; what comes in is what goes out


def namespace(*arrays: Array) -> Any:
    """The module with the array functions for these arrays, which are all of one kind.

    Raises:
        ImportError: they are tensors, and array_api_compat is not installed.
        TypeError: they are of two kinds.
    """
    if all(isinstance(array, np.ndarray) for array in arrays):
        return np
    from array_api_compat import array_namespace  # optional dependency

    return array_namespace(*arrays)


def as_float64(values: Any) -> Array:
    """An array in float64; lists and the like become numpy arrays."""
    values = values if hasattr(values, "dtype") else np.asarray(values)
    xp = namespace(values)
    return xp.astype(values, xp.float64)
