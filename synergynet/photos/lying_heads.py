"""Heads that lie in a photo, found again in the photo turned upright.

Detectors are trained on upright heads: to a head that lies they give a box that is off, or none.
The network sees well how a head lies, even in such a box. So the photo is turned as the network
says and searched anew, and what is found there counts where the network sees it upright.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from synergynet.detection.boxes import MAX_OVERLAP, match, overlaps
from synergynet.faces import Faces, concatenate_faces, decode_faces
from synergynet.geometry.camera import move_params
from synergynet.photos.quarter_turns import turn_back, turn_boxes_back, turns_to_upright

Look = Callable[[np.ndarray], Faces]  # from a photo (H, W, 3) to the faces detected in it

SAME_HEAD = 0.15  # overlap of the boxes of one head in a photo and in the turned photo


def find_lying_heads(look: Look, photo: np.ndarray, faces: Faces) -> Faces:
    """The faces of one photo; those that lie are taken from the photo turned upright.

    Turns are tried, the likeliest first, until every face that lies is found again. Where one is,
    faces come along that are found only there: photos lie more often than one of their people.

    Args:
        look: detects, regresses and decodes.
        photo: (H, W, 3) uint8 BGR. Not modified.
        faces: what `look` gave for it.
    Returns:
        the faces in their order, then those that came along; `doubtful` where a face seems to lie
        and no turned photo showed it upright.
    """
    turns_of = turns_to_upright(faces.params)  # (N,)
    is_open = turns_of > 0
    likeliest_first = sorted((2, 1, 3), key=lambda turns: -np.count_nonzero(turns_of == turns))
    for turns in likeliest_first:
        if not is_open.any():
            break
        found = _upright_in_turned(look, photo, turns)
        lying = np.flatnonzero(is_open)
        pairs = match(overlaps(faces.boxes[lying], found.boxes), SAME_HEAD)
        if not pairs:
            continue
        rows = np.arange(len(faces))  # of `faces` and `found` after each other
        for column, row in pairs.items():
            rows[lying[row]] = len(faces) + column
            is_open[lying[row]] = False
        both = concatenate_faces([faces, found])
        shared = overlaps(found.boxes, both[rows].boxes).max(1)
        is_new = np.flatnonzero(shared <= MAX_OVERLAP)
        faces = both[np.concatenate([rows, len(faces) + is_new])]
        is_open = np.concatenate([is_open, np.zeros(len(is_new), bool)])
    return dataclasses.replace(faces, doubtful=is_open)


def _upright_in_turned(look: Look, photo: np.ndarray, turns: int) -> Faces:
    """Faces that are upright in the photo turned by quarter turns, as faces of the photo itself."""
    height, width = photo.shape[:2]
    found = look(np.ascontiguousarray(np.rot90(photo, turns)))
    found = found[turns_to_upright(found.params) == 0]
    return decode_faces(
        found.model,
        move_params(found.params, turn_back(np.array([turns]))),
        turn_boxes_back(found.roi_boxes, turns, width, height),
        turn_boxes_back(found.boxes, turns, width, height),
        found.image_index,
        found.scores,
    )
