"""What the rasteriser sees of a posed head, pixel by pixel, and how its material reflects light."""

from __future__ import annotations

import dataclasses

import numpy as np

from synergynet.geometry.parameters import IMG_SIZE
from utils.synthetic.head import PARTS

SUPERSAMPLING = 1.0
CANVAS = int(IMG_SIZE * SUPERSAMPLING)  # px; pictures are painted at this size

SKIN_PULL = 0.6  # how far textured skin is brought to a person's tone, 0 to 1

CLOTH, HAIR = len(PARTS), len(PARTS) + 1  # shoulders and hanging hair, beside the head's own parts


@dataclasses.dataclass(frozen=True)
class Surface:
    """What the rasteriser saw on a canvas of C x C pixels, M of them covered.

    Attributes:
        index: (M,) of the covered pixels in the flat canvas; mask: (C, C) the same.
        depth_mm: (C, C) towards the viewer, 0 where nothing is; mm_px: millimetres per pixel.
        blocker_mm: (C, C) the same of what casts shadows, -1e4 where nothing is.
        triangle: (M,) of the head's mesh, and of what is added to it; weights: (M, 3) of corners.
        canonical: (3, M) mm; angle: (M,) radians about the vertical axis, 0 straight ahead.
        normal: (3, M) x right, y down, z towards the viewer.
        part: (M,) PARTS, CLOTH or HAIR.
    """

    index: np.ndarray
    mask: np.ndarray
    depth_mm: np.ndarray
    mm_px: float
    blocker_mm: np.ndarray
    triangle: np.ndarray
    weights: np.ndarray
    canonical: np.ndarray
    angle: np.ndarray
    normal: np.ndarray
    part: np.ndarray


# numpy is slow on `array[:, index]` and `array[index]` of arrays with two axes: for reading there
# is `take`, for writing there are these two.


def put_columns(array: np.ndarray, index: np.ndarray, columns: np.ndarray) -> None:
    """`array[:, index] = columns` of (R, K), or of (R,) for all alike, for few rows, in place."""
    for row, values in zip(array, columns, strict=True):
        row[index] = values


def put_pixels(canvas: np.ndarray, index: np.ndarray, pixels: np.ndarray) -> None:
    """`canvas[index] = pixels` for (., 4) float32, in place: each pixel as one item."""
    canvas.view(np.complex128)[index] = np.ascontiguousarray(pixels, np.float32).view(np.complex128)


@dataclasses.dataclass(frozen=True)
class Material:
    """How M surface points reflect light: albedo (3, M) linear BGR; gloss and sharpness (M,)."""

    albedo: np.ndarray
    gloss: np.ndarray
    sharpness: np.ndarray

    @classmethod
    def of(cls, count: int) -> Material:
        """An unpainted material."""
        return cls(*(np.zeros(shape, np.float32) for shape in ((3, count), count, count)))
