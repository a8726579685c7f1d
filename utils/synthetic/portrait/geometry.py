"""The head's mesh with shoulders and hanging hair, and what a camera sees of it.

Frames: *model* micrometres; *canonical* the position on the mean head, millimetres about the point
between the eyes, same axes (x the subject's left, y up, z to the front); *canvas* the supersampled
crop, px, y down. Triangles are counter-clockwise seen from outside.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from synergynet.drawing.rasterize import cover_pixels, rasterize_triangles
from synergynet.geometry.parameters import IMG_SIZE
from utils.synthetic.head import EYE_LEFT, EYE_RIGHT, SKIN, OpenHead
from utils.synthetic.portrait.appearance import HAIRLINE_ANGLES, Look, Sheet
from utils.synthetic.portrait.projection import project
from utils.synthetic.portrait.surface import CANVAS, CLOTH, HAIR, SUPERSAMPLING, Surface

_MEAN_HALF_WIDTH_MM = 97.0  # of the mean head, ears included
_NAPE_MM = -95.0  # no hair grows on skin below
_HAIR_RAMP_MM = 14.0  # hair reaches its full thickness this far above the hairline

# Hanging hair is a grid around the back of the head.
_SHEET_COLUMNS, _SHEET_ROWS = 32, 9
_SHEET_TOP_MM, _SHEET_RADIUS_MM = 72.0, (81.0, 97.0)  # half axes along x and z
_MEAN_SHEET = Sheet(start=1.4, sway=0, length_mm=200, width=1, flare=1, folds=0, waves=0)

# Shoulders are rings swept from the neck's rim: factors on x and z, and a drop in mm.
_SHOULDER_RINGS = (
    (1.0, 1.0, 8),
    (1.17, 1.15, -14),
    (1.25, 1.2, -13),
    (1.7, 1.25, 4),
    (2.4, 1.35, 24),
    (3.1, 1.5, 46),
    (3.4, 1.5, 120),
    (3.4, 1.5, 320),
)


class HeadGeometry:
    """A head with shoulders and hanging hair, N vertices.

    Args:
        head: the whole head.
        landmarks: (68, 3) of its mean face, micrometres.

    Attributes:
        head_mean: (., 3) micrometres, the head's own vertices.
        origin: (3,) micrometres, of the canonical frame; axis_z: mm, of the head's vertical axis.
        canonical: (N, 3) mm; landmarks: (68, 3) mm.
        eyes: vertex ids of the left and of the right eyeball; eye_centres: (2, 3) mm.
        nose_bridge: vertex id.
    """

    def __init__(self, head: OpenHead, landmarks: np.ndarray):
        self.head_mean = head.mean
        self.origin = landmarks[36:48].mean(0) * (0, 1, 1)
        self._rim = _neck_rim(head)
        upper = (head.mean - self.origin)[:, 1:] / 1000
        upper = upper[(upper[:, 0] > 0) & (upper[:, 0] < 60), 1]
        self.axis_z = float(upper.min() + upper.max()) / 2
        self._mean_hair = self._hang(_MEAN_SHEET, head.mean)
        mean = self._dress(head.mean, None)
        self.canonical = ((mean - self.origin) / 1000).astype(np.float32)
        self.landmarks = ((landmarks - self.origin) / 1000).astype(np.float32)
        self.eyes = [np.unique(head.triangles[head.part == eye]) for eye in (EYE_LEFT, EYE_RIGHT)]
        self.eye_centres = np.stack([self.canonical[eye].mean(0) for eye in self.eyes])
        self.collar_mm = float(self.canonical[self._rim, 1].max())
        self.nose_bridge = int(np.linalg.norm(head.mean - landmarks[27], axis=1).argmin())

        cloth = _shoulder_triangles(len(self._rim)) + len(head.mean)
        hair = _sheet_triangles() + len(mean) - 2 * _SHEET_ROWS * _SHEET_COLUMNS
        triangles = np.concatenate([head.triangles, cloth, hair])
        added = np.repeat(np.uint8([CLOTH, HAIR]), [len(cloth), len(hair)])
        part = np.concatenate([head.part, added])
        self._corners = np.ascontiguousarray(triangles.T)  # (3, T)
        self._triangles, self._part = triangles.astype(np.int32), part
        self._is_sheet = part == HAIR
        self._is_skin = np.zeros(len(mean), bool)
        self._is_skin[head.triangles[head.part == SKIN]] = True
        owner = np.repeat(np.arange(len(triangles)), 3)
        self._incidence = csr_matrix(
            (np.ones(triangles.size), (triangles.ravel(), owner)),
            (len(mean), len(triangles)),
            dtype=np.float32,
        )
        self._vertex_angle = self.angle(self.canonical)
        self._scalp = np.flatnonzero(self._is_skin & (self.canonical[:, 1] > _NAPE_MM))
        upright = (self.canonical * (1, -1, 1)).astype(np.float32)  # y down
        normals = self._normals(self._areas(upright))
        self._outward = normals[self._scalp] * np.float32([1, -1, 1])

    @property
    def axis(self) -> np.ndarray:
        """(3,) micrometres: where the head's vertical axis is at the height of the eyes."""
        return self.origin + np.array([0, 0, 1000 * self.axis_z])

    def angle(self, canonical: np.ndarray) -> np.ndarray:
        """Angle (...) of canonical points (..., 3) about the head's axis, 0 straight ahead."""
        return np.arctan2(canonical[..., 0], canonical[..., 2] - self.axis_z)

    def see(
        self, verts_model: np.ndarray, camera: np.ndarray, look: Look, size: int = CANVAS
    ) -> Surface:
        """Put hair and clothes on a head and rasterise it.

        Args:
            verts_model: the head's own vertices, micrometres, (., 3).
            camera: (4, 4), or a pose block (3, 4); crop px, y up.
            look: hair style.
            size: of the canvas, px.
        """
        px_per_mm = float(np.linalg.norm(camera[2, :3])) * 1000  # in the plane of depth 0
        has_sheet = look.has_hair and look.has_sheet
        verts = self._dress(verts_model, look.sheet if has_sheet else None)  # micrometres
        if look.has_hair:
            verts[self._scalp] += self._outward * (1000 * self._hair_thickness(look))[:, None]
        verts = project_to_crop(camera, verts) * np.float32(SUPERSAMPLING)  # canvas px
        areas = self._areas(verts)
        worn = self._find_visible(verts, areas, has_sheet, size)
        triangles = self._triangles.take(worn, 0)
        triangle, weights, depth = rasterize_triangles(verts, triangles, size, size)

        mask = triangle >= 0
        index = np.flatnonzero(mask)
        triangle = triangle.reshape(-1)[index]
        weights = weights.reshape(-1, 3).take(index, 0)
        normals = self._normals(areas)
        canonical, normal = self._interpolate(normals, triangles.take(triangle, 0), weights)
        mm_px = 1 / (SUPERSAMPLING * px_per_mm)
        return Surface(
            index=index,
            mask=mask,
            depth_mm=np.where(mask, depth * mm_px, 0).astype(np.float32),
            mm_px=mm_px,
            blocker_mm=np.where(mask, depth * mm_px, -1e4).astype(np.float32),
            triangle=worn[triangle],
            weights=weights,
            canonical=canonical,
            angle=self.angle(canonical.T),
            normal=normal,
            part=self._part.take(worn).take(triangle),
        )

    def _interpolate(
        self, normals: np.ndarray, corners: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Canonical positions and unit normals, (3, M) each, between corners (M, 3)."""
        ends = np.arange(0, corners.size + 1, 3, dtype=np.int32)
        mixing = csr_matrix((weights.ravel(), corners.ravel(), ends), (len(corners), len(normals)))
        smooth = mixing @ np.concatenate([self.canonical, normals], 1)  # (M, 6)
        canonical, normal = np.ascontiguousarray(smooth.T).reshape(2, 3, -1)
        normal /= np.sqrt((normal**2).sum(0))
        return canonical, normal

    def _dress(self, verts_model: np.ndarray, sheet: Sheet | None) -> np.ndarray:
        """Vertices (N, 3) micrometres of a head with shoulders and hanging hair.

        Without hanging hair its vertices are the mean head's, and are not drawn.
        """
        hair = self._mean_hair if sheet is None else self._hang(sheet, verts_model)
        shoulders = _shoulders(verts_model[self._rim])
        return np.concatenate([verts_model, shoulders, hair]).astype(np.float32)

    def _hang(self, sheet: Sheet, verts_model: np.ndarray) -> np.ndarray:
        """Hanging hair about a head, its outside and its inside: (2 R C, 3) micrometres."""
        width = np.abs(verts_model[:, 0]).max() / 1000 / _MEAN_HALF_WIDTH_MM
        down = np.linspace(0, 1, _SHEET_ROWS)[:, None]  # (R, 1)
        around = np.linspace(-1, 1, _SHEET_COLUMNS)[None]  # (1, C)
        angle = np.pi + around * (np.pi - sheet.start - sheet.sway * down)
        wave = np.sin(around * sheet.waves) + np.sin(around * sheet.waves + 1.7)
        height = _SHEET_TOP_MM - down * (_SHEET_TOP_MM + sheet.length_mm + 9 * wave)
        swell = np.interp(down, [0, 0.2, 0.45, 1], [0.72, 1.0, 1.1, sheet.flare]) * sheet.width
        swell = swell * (1 + sheet.folds * np.sin(around * 23 + 3 * down))
        x = np.sin(angle) * swell * _SHEET_RADIUS_MM[0] * width
        z = np.cos(angle) * swell * _SHEET_RADIUS_MM[1] + self.axis_z
        points = np.stack([x, height, z], -1).reshape(-1, 3)
        return np.tile(points * 1000 + self.origin, (2, 1))

    def _hair_thickness(self, look: Look) -> np.ndarray:
        """Thickness in mm of the hair at the scalp's vertices."""
        canonical = self.canonical[self._scalp]
        height = height_above_hairline(self._vertex_angle[self._scalp], canonical[:, 1], look)
        share = np.clip(height / _HAIR_RAMP_MM, 0, 1)
        wave = np.sin(canonical @ look.hair_wave + look.hair_phase).mean(1)
        return (share * look.hair_thickness * (1 + look.hair_curl * wave)).astype(np.float32)

    def _find_visible(
        self, verts: np.ndarray, areas: np.ndarray, has_sheet: bool, size: int
    ) -> np.ndarray:
        """Ids of the triangles that face the viewer, cover pixels of the canvas and are worn.

        `verts` (N, 3) are in canvas px, `areas` (T, 3) the result of `_areas`.
        """
        facing = areas[:, 2] > 0
        if not has_sheet:
            facing &= ~self._is_sheet
        facing = np.flatnonzero(facing)
        return facing[cover_pixels(verts[:, :2].T, self._corners.take(facing, 1), size)]

    def _areas(self, verts: np.ndarray) -> np.ndarray:
        """Normals (T, 3) of the triangles, as long as twice their area: x right, y down, z towards
        the viewer."""
        (ax, bx, cx), (ay, by, cy), (az, bz, cz) = (axis.take(self._corners) for axis in verts.T)
        (ux, uy, uz), (vx, vy, vz) = (bx - ax, by - ay, bz - az), (cx - ax, cy - ay, cz - az)
        # v x u, not u x v: the y axis points down, which mirrors the winding.
        return np.stack([uz * vy - uy * vz, ux * vz - uz * vx, uy * vx - ux * vy], 1)

    def _normals(self, areas: np.ndarray) -> np.ndarray:
        """Unit normals (N, 3) of the vertices: of the triangles about each, by their areas."""
        normals = self._incidence @ areas
        lengths = np.sqrt(np.einsum("nc,nc->n", normals, normals))
        return normals / (lengths[:, None] + 1e-9)


def project_to_crop(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Model points (N, 3) micrometres in the crop: px, y down, z towards the viewer.

    Args:
        camera: (4, 4), or the pose block (3, 4) of real parameters; crop px, y up.
        points: Not modified.
    """
    verts = project(camera, points)
    verts[:, 1] = IMG_SIZE + 1 - verts[:, 1]
    return verts


def height_above_hairline(angle: np.ndarray, height_mm: np.ndarray, look: Look) -> np.ndarray:
    """How far (M,) in mm canonical points lie above the hairline; negative below it."""
    size = np.abs(angle)
    line = np.interp(size, HAIRLINE_ANGLES, look.hairline)
    parting = np.sign(angle) * look.hair_parting * np.clip(1.2 - size, 0, 1)
    return (height_mm - line - parting).astype(np.float32)


# ---------------------------------------------------------------- meshes that are added


def _neck_rim(head: OpenHead) -> np.ndarray:
    """Vertices on the lower edge of the neck, in order around it."""
    skin = head.triangles[head.part == SKIN]
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]]).tolist()
    known = set(map(tuple, edges))
    following = {a: b for a, b in edges if (b, a) not in known}
    rim = [min(following, key=lambda vertex: head.mean[vertex, 1])]
    while following[rim[-1]] != rim[0]:
        rim.append(following[rim[-1]])
    return np.array(rim)


def _shoulders(rim: np.ndarray) -> np.ndarray:
    """Rings (R * K, 3) micrometres that sweep the neck's rim (K, 3) out and down."""
    centre = rim.mean(0)
    rings = [
        centre + (rim - centre) * (x, 0.3, z) - (0, drop * 1000, 0)
        for x, z, drop in _SHOULDER_RINGS
    ]
    return np.concatenate(rings)


def _shoulder_triangles(count: int) -> np.ndarray:
    """Triangles (T, 3) between consecutive rings of `count` vertices."""
    rings = len(_SHOULDER_RINGS)
    here = np.arange((rings - 1) * count).reshape(rings - 1, count)
    following = np.roll(here, -1, 1)
    a, b, c, d = here, following, here + count, following + count
    return np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 1).reshape(-1, 3)


def _sheet_triangles() -> np.ndarray:
    """Triangles (T, 3) of hanging hair, outside and inside."""
    grid = np.arange(_SHEET_ROWS * _SHEET_COLUMNS).reshape(_SHEET_ROWS, _SHEET_COLUMNS)
    quads = (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:])
    a, b, c, d = (corner.ravel() for corner in quads)
    outside = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    return np.concatenate([outside, outside[:, ::-1] + grid.size])
