"""Weak-perspective cameras: scale, rotation and translation, and the move from crop to photo.

A camera is the real (de-whitened) pose block reshaped (3, 4), row-major: [s R | t], from the model
frame to the crop with y up. Functions take numpy arrays or torch tensors, batched or not.

Sources: 3DDFA (Zhu et al., PAMI 2017); SynergyNet, section 3.
"""

from __future__ import annotations

from synergynet.geometry.arrays import Array, as_float64, namespace
from synergynet.geometry.parameters import IMG_SIZE, N_POSE, POSE


def camera_of(params: Array) -> Array:
    """Cameras (..., 3, 4) of real parameters (..., 62) or pose blocks (..., 12)."""
    return params[..., POSE].reshape(*params.shape[:-1], 3, 4)


def with_camera(params: Array, camera: Array) -> Array:
    """Parameters (..., 62) with another camera (..., 3, 4). Not modified."""
    pose = camera.reshape(*camera.shape[:-2], N_POSE)
    return namespace(params).concat([pose, params[..., N_POSE:]], axis=-1)


def decompose_camera(camera: Array) -> tuple[Array, Array, Array]:
    """Split weak-perspective cameras [s R | t] into scale, rotation and translation.

    Rows 1 and 2 are normalised, not orthogonalised; row 3 of R is their cross product.

    Args:
        camera: (..., 3, 4). Not modified.
    Returns:
        scale (...) in crop px per model unit, R (..., 3, 3), t (..., 3) in crop px, y up.
    Raises:
        ValueError: wrong shape, or row 1 or 2 is zero.
    Source: 3DDFA; SynergyNet, section 3.
    """
    if tuple(camera.shape[-2:]) != (3, 4):
        raise ValueError(f"camera of shape {tuple(camera.shape)}, expected (..., 3, 4)")
    xp = namespace(camera)
    norms = xp.linalg.vector_norm(camera[..., :2, :3], axis=-1)  # (..., 2)
    if bool(xp.any(norms == 0)):
        raise ValueError("camera with a zero row: it has no rotation")
    return xp.mean(norms, axis=-1), camera_rotation(camera), camera[..., 3]


def camera_rotation(camera: Array) -> Array:
    """R (..., 3, 3) of `decompose_camera` alone; it checks nothing, as exported graphs cannot."""
    xp = namespace(camera)
    rows = camera[..., :2, :3]
    rows = rows / xp.linalg.vector_norm(rows, axis=-1, keepdims=True)
    r1, r2 = rows[..., 0, :], rows[..., 1, :]
    return xp.stack([r1, r2, xp.linalg.cross(r1, r2)], axis=-2)


def compose_camera(scale: Array, rotation: Array, translation: Array) -> Array:
    """The (..., 3, 4) camera [s R | t]; inverse of `decompose_camera` for orthonormal R."""
    scaled = scale[..., None, None] * rotation
    return namespace(rotation).concat([scaled, translation[..., None]], axis=-1)


# ---------------------------------------------------------------- rotations


def nearest_rotation(matrix: Array) -> Array:
    """The rotation (..., 3, 3) nearest to a matrix in the sum of squares, by SVD.

    Args:
        matrix: (..., 3, 3). Not modified.
    """
    xp = namespace(matrix)
    left, _, right = xp.linalg.svd(matrix, full_matrices=False)
    handedness = xp.linalg.det(left @ right)[..., None]  # (..., 1): -1 for a reflection
    last = left[..., :, 2] * handedness
    return xp.stack([left[..., :, 0], left[..., :, 1], last], axis=-1) @ right


def split_rotation(matrix: Array) -> tuple[Array, Array]:
    """Polar decomposition matrix = stretch @ rotation.

    Args:
        matrix: (..., 3, 3) of positive determinant, or nearly so. Not modified.
    Returns:
        the nearest rotation (..., 3, 3), and the stretch (..., 3, 3).
    """
    rotation = nearest_rotation(matrix)
    return rotation, matrix @ rotation.mT


def rotation_from_vector(vector: Array) -> Array:
    """Rotations (..., 3, 3) about axes (..., 3) by their lengths in radians: Rodrigues' formula."""
    xp = namespace(vector)
    angle = xp.linalg.vector_norm(vector, axis=-1, keepdims=True)[..., None]  # (..., 1, 1)
    small = angle < 1e-4  # where the next terms of both series are below 1e-17
    safe = xp.where(small, xp.ones_like(angle), angle)
    sine = xp.where(small, 1 - angle**2 / 6, xp.sin(safe) / safe)
    versine = xp.where(small, 0.5 - angle**2 / 24, (1 - xp.cos(safe)) / safe**2)
    cross = cross_matrix(vector)
    identity = xp.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + sine * cross + versine * (cross @ cross)


def rotation_vector(rotation: Array) -> Array:
    """The inverse of `rotation_from_vector`: axis times angle (..., 3), angles from 0 to pi.

    By the unit quaternion, whose largest component is computed from the diagonal; so it is exact
    near 0 and near half a turn, where sine or trace alone lose digits.

    Args:
        rotation: (..., 3, 3), orthonormal. Not modified.
    Source: Shepperd, "Quaternion from rotation matrix", 1978.
    """
    xp = namespace(rotation)
    r = rotation
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    odd = [r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]]
    xy = r[..., 0, 1] + r[..., 1, 0]
    xz = r[..., 0, 2] + r[..., 2, 0]
    yz = r[..., 1, 2] + r[..., 2, 1]
    # rows are 4 q_i q, of q = (w, x, y, z): the quaternion four times over, well scaled in one
    products = xp.stack(
        [
            xp.stack([1 + xx + yy + zz, odd[0], odd[1], odd[2]], axis=-1),
            xp.stack([odd[0], 1 + xx - yy - zz, xy, xz], axis=-1),
            xp.stack([odd[1], xy, 1 - xx + yy - zz, yz], axis=-1),
            xp.stack([odd[2], xz, yz, 1 - xx - yy + zz], axis=-1),
        ],
        axis=-2,
    )  # (..., 4, 4)
    squares = xp.stack([products[..., i, i] for i in range(4)], axis=-1)  # (..., 4) 4 q_i^2
    largest = xp.argmax(squares, axis=-1, keepdims=True)  # (..., 1)
    chosen = xp.astype(xp.arange(4, device=rotation.device) == largest, rotation.dtype)
    quaternion = xp.sum(chosen[..., None] * products, axis=-2)  # (..., 4)
    length = xp.linalg.vector_norm(quaternion, axis=-1, keepdims=True)
    sign = xp.where(quaternion[..., :1] < 0, -xp.ones_like(length), xp.ones_like(length))
    quaternion = quaternion * sign / length
    imaginary = quaternion[..., 1:]  # sin(angle / 2) axis
    sine = xp.linalg.vector_norm(imaginary, axis=-1, keepdims=True)
    half = xp.atan2(sine, quaternion[..., :1])
    small = sine < 1e-9
    factor = xp.where(small, 2 * xp.ones_like(sine), 2 * half / xp.where(small, 1 + sine, sine))
    return factor * imaginary


def cross_matrix(vector: Array) -> Array:
    """The matrix (..., 3, 3) that takes u to vector x u."""
    xp = namespace(vector)
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = xp.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


# ---------------------------------------------------------------- crop and photo


def params_to_photo(params: Array, roi_box: Array) -> Array:
    """Parameters of a crop as *photo parameters*: those of the box (0, 0, 120, 120) of the photo.

    Crop px of that box are photo px, so that photo parameters of several crops compare. Only the
    pose block changes, and it does so exactly.

    Args:
        params: (..., 62) real. Not modified.
        roi_box: (..., 4) sx sy ex ey of their crop.
    """
    scale, shift = _crop_in_photo(roi_box)
    camera = scale[..., None] * camera_of(params) + _in_last_column(shift)
    return with_camera(params, camera)


def params_to_crop(params: Array, roi_box: Array) -> Array:
    """The inverse of `params_to_photo`."""
    scale, shift = _crop_in_photo(roi_box)
    camera = (camera_of(params) - _in_last_column(shift)) / scale[..., None]
    return with_camera(params, camera)


def move_params(params: Array, similarity: Array) -> Array:
    """Parameters of a crop that is turned, scaled and shifted in the image plane.

    With p' = A p + d for points p, y down, and u = 121 - y, a camera [P | t] into (x, u, z)
    becomes [M P | M t + e], where
        M = [[A00, -A01, 0], [-A10, A11, 0], [0, 0, s]], s the scale of A,
        e = (121 A01 + d0, 121 - 121 A11 - d1, 0).

    Args:
        params: (..., 62) real. Not modified.
        similarity: (..., 2, 3) [A | d] of the old crop into the new one, px, y down.
    """
    xp = namespace(similarity)
    (a00, a01), (a10, a11) = (
        (similarity[..., row, 0], similarity[..., row, 1]) for row in range(2)
    )
    zero, scale = xp.zeros_like(a00), xp.hypot(a00, a10)
    rows = [[a00, -a01, zero], [-a10, a11, zero], [zero, zero, scale]]
    turn = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
    top = IMG_SIZE + 1
    d0, d1 = similarity[..., 0, 2], similarity[..., 1, 2]
    shift = xp.stack([top * a01 + d0, top - top * a11 - d1, zero], axis=-1)
    return with_camera(params, turn @ camera_of(params) + _in_last_column(shift))


def _crop_in_photo(roi_box: Array) -> tuple[Array, Array]:
    """Photo px per crop px and the crop's origin in the photo, both frames y up, (..., 3) each.

    y up is 121 - y down: y' = 121 - (ky (121 - y) + sy) = ky y + 121 - 121 ky - sy.
    """
    box = as_float64(roi_box)
    xp = namespace(box)
    kx = (box[..., 2] - box[..., 0]) / IMG_SIZE
    ky = (box[..., 3] - box[..., 1]) / IMG_SIZE
    top = IMG_SIZE + 1
    scale = xp.stack([kx, ky, (kx + ky) / 2], axis=-1)
    shift = xp.stack([box[..., 0], top - top * ky - box[..., 1], xp.zeros_like(kx)], axis=-1)
    return scale, shift


def _in_last_column(shift: Array) -> Array:
    """(..., 3) as the last column of (..., 3, 4) zeros."""
    xp = namespace(shift)
    zeros = xp.zeros_like(shift)
    return xp.stack([zeros, zeros, zeros, shift], axis=-1)
