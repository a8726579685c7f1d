"""The columns of faces in tables: those of a picture run, of videos, and of `Faces.to_dict`.

What a table is of comes before them: image and face, frame and identity. Columns that are new in a
version come last.
"""

from __future__ import annotations

from typing import Any

from synergynet.geometry.parameters import N_LANDMARKS, N_PARAMS

ANGLES = ("yaw", "pitch", "roll")
METRIC = (
    *("rvec_x", "rvec_y", "rvec_z", "tvec_x_mm", "tvec_y_mm", "tvec_z_mm", "distance_head_units"),
    *(f"{angle}_camera" for angle in ANGLES),
)
COLUMNS = (
    *("box_x0", "box_y0", "box_x1", "box_y1", "score"),
    *ANGLES,
    *(f"{angle}_published" for angle in ANGLES),
    *(f"{axis}{i}" for i in range(N_LANDMARKS) for axis in "xyz"),
    *(f"param{i}" for i in range(N_PARAMS)),
    *("roi_x0", "roi_y0", "roi_x1", "roi_y1"),
    *(f"visible{i}" for i in range(N_LANDMARKS)),
    "head_unit_px",
    *METRIC,
    "doubtful",
)


def cells(face: dict[str, Any]) -> list[Any]:
    """One row of COLUMNS, None where something is not known.

    Args:
        face: an entry of `describe_faces`, or one of an older version's, which lacks some.
    """
    poses = (face["pose"][method] for method in ("exact", "published"))
    angles = [pose[name] for pose in poses for name in ANGLES]
    points = [value for point in face["landmarks"] for value in point]
    visible = face.get("visible")
    seen = [None] * N_LANDMARKS if visible is None else [int(is_seen) for is_seen in visible]
    metric = face.get("metric_pose")
    where: list[float | None] = [None] * len(METRIC)
    if metric is not None:
        where = [*metric["rvec"], *metric["tvec_mm"], metric["distance_head_units"]]
        where += [metric[name] for name in ANGLES]
    start = [*face["box"], face["score"], *angles, *points, *face["params"]]
    doubtful = int(face["doubtful"]) if "doubtful" in face else None
    return [*start, *face["roi_box"], *seen, face.get("head_unit_px"), *where, doubtful]
