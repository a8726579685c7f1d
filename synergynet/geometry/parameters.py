"""The 62 numbers of a face: what each is, and the whitening that networks see them in.

A face is a weak-perspective pose (12, the rows of a 3x4 matrix), 40 shape and 10 expression
coefficients. Networks see them whitened: `params = params_w * std + mean`. Frames: *model*
(micrometres, y up, z out of the face), *crop* (the network's 120-px input, y down), *photo* (the
original picture, y down).

Sources: 3DDFA (Zhu et al., PAMI 2017) for the parametrisation; SynergyNet, section 3.
"""

from __future__ import annotations

from synergynet.geometry.arrays import Array

POSE, SHAPE, EXPR = slice(0, 12), slice(12, 52), slice(52, 62)
N_PARAMS, N_POSE, N_SHAPE, N_EXPR = 62, 12, 40, 10
N_LANDMARKS = 68

IMG_SIZE = 120  # side of the network's crop, px


def unwhiten(params_w: Array, mean: Array, std: Array) -> Array:
    """Real parameters (..., 62) from whitened ones; mean and std (62,)."""
    return params_w * std + mean


def whiten(params: Array, mean: Array, std: Array) -> Array:
    """The inverse of `unwhiten`."""
    return (params - mean) / std
