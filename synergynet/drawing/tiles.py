"""Faces cut out of their photos with landmarks drawn in, and sheets of them."""

from __future__ import annotations

import numpy as np

from synergynet.drawing.lines import TRUTH_BGR, add_caption, draw_landmarks, enlarge
from synergynet.geometry.crop import photo_to_crop, square_box_from_landmarks
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.photos.crops import network_crop

TILE_PX = 320
COLUMNS = 4


def face_tile(
    image: np.ndarray, landmarks: np.ndarray, others: np.ndarray | None, caption: list[str]
) -> np.ndarray:
    """A face in TILE_PX columns: `landmarks` green, over `others` blue, and lines below it.

    Args:
        image: (H, W, 3) uint8 BGR photo. Not modified.
        landmarks: (2 or 3, 68) photo px; the face is cut out around them.
        others: landmarks to compare with, or None.
        caption: lines of text.
    """
    box = square_box_from_landmarks(landmarks)
    tile = enlarge(network_crop(image, box), TILE_PX)
    scale = TILE_PX / IMG_SIZE
    if others is not None:
        tile = draw_landmarks(tile, scale * photo_to_crop(others[:2], box) - 0.5, TRUTH_BGR)
    tile = draw_landmarks(tile, scale * photo_to_crop(landmarks[:2], box) - 0.5)
    return add_caption(tile, caption)


def contact_sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size in rows of COLUMNS at most; the rest of the last row is black."""
    columns = min(COLUMNS, len(tiles))
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])
