"""Face profiling: photos as 3D meshes, turned out of plane and drawn with exact labels.

    mesh = photo_mesh(face, surface, model)
    view = mesh.turned(yaw_deg=70.0)  # a LabelledFace

Two layers show the photo where they are seen in it. The *face* is the morphable model as the label
poses it; the *sheet* is the whole picture on a grid. Below the face the sheet lies just behind it;
around it its depth falls off as an ellipse does, like the rest of a head, to a plane behind. Face,
head and what is near them turn as one body; from there to the border of the picture the sheet moves
less and less, and the border not at all. So the sheet stays in one piece between four sides that do
not move: the picture has no holes, and what the face uncovers is the sheet, stretched.

A head is turned away from the viewer only, to the side it looks to already, because what the other
side shows is not in the photo. Pitch and roll of the label stay, its yaw becomes another.

Source: Zhu et al., "Face Alignment Across Large Poses: A 3D Solution", CVPR 2016, section 5: its
MATLAB code made 300W-LP. Depth and anchors of the background are ours.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from model_building import load_morphable
from synergynet import fileio
from synergynet.drawing.rasterize import rasterize
from synergynet.drawing.tiles import COLUMNS, contact_sheet, face_tile
from synergynet.face_model import MorphableModel
from synergynet.geometry.camera import (
    camera_of,
    camera_rotation,
    move_params,
    with_camera,
)
from synergynet.geometry.crop import tight_box
from synergynet.geometry.decoding import turn_y
from synergynet.geometry.parameters import N_LANDMARKS
from synergynet.geometry.pose import Pose, compose_rotation, exact_angles
from utils.data.landmark_model import LandmarkModel
from utils.preparation.training_set import FaceFile, LabelledFace, exact_box, landmark_model

VIEW = 2.0  # side of a view, in those of the landmarks' box; jittered crops need 1.8
MARGIN = 0.5  # of the picture that is turned, around that: it hides where nothing may move
MOST_FACE_PX = 160.0  # larger faces are made smaller; a crop shows them at 85
MOST_VERTICES = 10_000  # finer face models are made coarser: a view has 26,000 triangles in all
CELL_UM = 4000.0
GRID_PX = 4.0  # of the sheet
BEHIND_PX = 1.0  # the sheet lies that far behind the face ...
BELOW_PX = 9  # ... at the deepest place within this square
HEAD_WIDTH, HEAD_DEPTH = 0.25, 0.55  # of the ellipse around the face, in box sides
JUMP_PX = 6.0  # neighbours that show places of the photo further apart are an edge
RIGID = 0.45  # so far from the face all turns with it, in box sides
AROUND = (-0.3, -0.5, 0.3, 0.3)  # what is head around the landmarks' box, in its sides
LEAST_WEIGHT = 1e-3  # of a mean that counts
LEAST_FACE_PX = 16.0  # smaller faces are not turned
FRONTAL_DEG = 10.0  # who looks to a side by less is turned to either
SHEET, SHEET_PHOTOS = "views.jpg", 8  # what `draw_views` draws is called, and how many rows
PHOTO_PIXEL = 0.5  # photo px count the first pixel's centre as 1; here it is 0.5


@dataclasses.dataclass(frozen=True)
class FaceSurface:
    """The vertices and triangles of a morphable model that are drawn.

    Attributes:
        mean: (V, 3); basis: (V, 3, 50), float32, micrometres, y up.
        triangles: (T, 3), counter-clockwise from outside.
    """

    mean: np.ndarray
    basis: np.ndarray
    triangles: np.ndarray

    @classmethod
    def of(cls, morphable: MorphableModel) -> FaceSurface:
        """The triangles of a model; of one with many vertices, those between one a cell of CELL_UM,
        a landmark where there is one.

        Raises:
            ValueError: it has no triangles.
        """
        if morphable.triangles is None:
            raise ValueError(f"{morphable.name}: no triangles (tri.mat), so no surface")
        verts, triangles = np.asarray(morphable.mean_face), morphable.triangles
        if len(verts) > MOST_VERTICES:
            landmarks = np.asarray(morphable.keypoints).reshape(N_LANDMARKS, 3)[:, 0] // 3
            order = np.concatenate([landmarks, np.arange(len(verts))])
            cells = np.floor(verts[order] / CELL_UM).astype(np.int64)
            _, first, cell = np.unique(cells, axis=0, return_index=True, return_inverse=True)
            kept = order[first][cell.reshape(-1)][N_LANDMARKS:]  # (V,) the vertex in its stead
            kept[landmarks] = landmarks
            triangles = kept[triangles]  # (T, 3)
            a, b, c = triangles.T
            triangles = triangles[(a != b) & (b != c) & (c != a)]
        vertices, triangles = np.unique(triangles, return_inverse=True)
        bases = [np.asarray(basis) for basis in (morphable.w_shp, morphable.w_exp)]
        basis = np.concatenate(bases, axis=1).reshape(len(verts), 3, -1)[vertices]
        return cls(verts[vertices], basis, triangles.reshape(-1, 3).astype(np.int32))

    def place(self, params: np.ndarray) -> np.ndarray:
        """Vertices (V, 3) in the picture, px, y up, of photo parameters (62,)."""
        camera = camera_of(params)
        verts = self.mean + self.basis @ params[12:].astype(np.float32)
        return (verts @ camera[:, :3].T + camera[:, 3]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class PhotoMesh:
    """A photo that can be turned.

    Attributes:
        face: a square view of the photo, and its label in it.
        picture: (S, S, 3) uint8 BGR, the view and MARGIN more on each side.
        verts: (N, 3) px of the view, y up, z towards the viewer.
        triangles: (T, 3) int32.
        rigid: (N, 1) from 0 to 1, how far each vertex turns with the head.
    """

    face: LabelledFace
    picture: np.ndarray
    verts: np.ndarray
    triangles: np.ndarray
    rigid: np.ndarray

    def turned(self, yaw_deg: float) -> LabelledFace:
        """The face turned to another yaw, about the middle of its landmarks.

        Args:
            yaw_deg: exact yaw of the new label.
        """
        face = self.face
        camera = camera_of(face.params)
        rotation = camera_rotation(camera)
        pose = exact_angles(rotation)._replace(yaw=np.asarray(float(yaw_deg)))
        turn = compose_rotation(pose) @ rotation.T  # y up
        centre = turn_y(face.landmarks).mean(1)  # (3,)
        moved = turn @ camera
        moved[:, 3] += centre - turn @ centre
        params = with_camera(face.params, moved)
        landmarks = turn_y(turn @ (turn_y(face.landmarks) - centre[:, None]) + centre[:, None])
        verts = self.verts + self.rigid * ((self.verts - centre) @ (turn.T - np.eye(3)))
        return dataclasses.replace(
            face, image=self._draw(verts), params=params, landmarks=landmarks
        )

    def _draw(self, verts: np.ndarray) -> np.ndarray:
        """The view, as vertices that have moved show it."""
        side, margin = len(self.face.image), (len(self.picture) - len(self.face.image)) // 2
        size = len(self.picture)
        source = (_to_picture(self.verts) + margin) / size
        source[:, 2] = 0
        shown, depth = rasterize(_to_picture(verts), self.triangles, source, side, side)
        x, y = (_close_cracks(place, depth) * size - 0.5 for place in cv2.split(shown)[:2])
        view = cv2.remap(self.picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        edge = _range(x) + _range(y) > JUMP_PX
        view[edge] = cv2.GaussianBlur(view, (3, 3), 0)[edge]  # or it has the steps of the pixels
        return view


def _range(values: np.ndarray) -> np.ndarray:
    """Largest less smallest value (S, S) of each pixel and its four neighbours."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.dilate(values, cross) - cv2.erode(values, cross)


def _close_cracks(values: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Values (S, S) above 0, where nothing is drawn those of a neighbour: the rasteriser leaves a
    pixel out now and then whose centre lies on the edge between two triangles."""
    open_px = np.isneginf(depth)
    if open_px.any():
        values = np.where(open_px, cv2.dilate(values, np.ones((3, 3))), values)
    return values


def _to_picture(verts: np.ndarray) -> np.ndarray:
    """Photo px, y up, to continuous ones of the picture, y down."""
    placed = turn_y(verts.T).T
    placed[:, :2] -= PHOTO_PIXEL
    return placed


# ---------------------------------------------------------------- from a photo to a mesh


def photo_mesh(face: LabelledFace, surface: FaceSurface, model: LandmarkModel) -> PhotoMesh:
    """The mesh of a labelled photo; its landmarks are the label's own, as the model has them.

    Args:
        face: a photo with its label.
        surface, model: of the label's morphable model.
    """
    face = dataclasses.replace(face, landmarks=model.decode(face.params))
    face, picture = cut_view(face)
    margin = (len(picture) - len(face.image)) // 2
    box = tight_box(face.landmarks)
    unit = (box[2:] - box[:2]).max()  # px
    verts = surface.place(face.params)
    placed = _to_picture(verts)
    placed[:, :2] += margin
    _, depth = rasterize(placed, surface.triangles, np.zeros_like(placed), *picture.shape[:2])
    sheet, sheet_triangles, rigid = _sheet(depth, unit)
    sheet[:, :2] += PHOTO_PIXEL - margin
    all_verts = np.concatenate([turn_y(sheet.T).T, verts])
    triangles = np.concatenate([sheet_triangles, surface.triangles + len(sheet)]).astype(np.int32)
    rigid = np.concatenate([rigid, np.ones(len(verts))])[:, None]
    return PhotoMesh(
        face, picture, all_verts.astype(np.float32), triangles, rigid.astype(np.float32)
    )


def cut_view(face: LabelledFace) -> tuple[LabelledFace, np.ndarray]:
    """The square of the photo around a face, perhaps smaller, and the picture (S, S, 3) around it.

    Beyond the photo the picture repeats the photo's edge.
    """
    box = tight_box(face.landmarks)
    unit = (box[2:] - box[:2]).max()
    side, margin = round(VIEW * unit), round(MARGIN * unit)
    start = np.round((box[:2] + box[2:] - side) / 2).astype(int) - margin  # pixels
    picture = _cut_out(face.image, start, side + 2 * margin, box + unit * np.array(AROUND))
    scale = 1.0
    if unit > MOST_FACE_PX:
        side, margin = (round(length * MOST_FACE_PX / unit) for length in (side, margin))
        size = side + 2 * margin
        scale = size / len(picture)
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    shift = PHOTO_PIXEL - margin - scale * (start + PHOTO_PIXEL)
    landmarks = scale * face.landmarks  # (3, 68)
    landmarks[:2] += shift[:, None]
    similarity = np.column_stack([scale * np.eye(2), shift])  # (2, 3)
    params = move_params(face.params, similarity)
    view = picture[margin : margin + side, margin : margin + side]
    return dataclasses.replace(face, image=view, params=params, landmarks=landmarks), picture


def _cut_out(image: np.ndarray, start: np.ndarray, side: int, box: np.ndarray) -> np.ndarray:
    """A square (side, side, 3) of a photo, which goes on beyond its edges: mirrored as far as the
    face's box is from them, so that no face is seen twice, and repeating the edge from there.

    Args:
        image: (H, W, 3).
        start: (2,) the square's first pixel; may lie outside.
        side: of the square.
        box: (4,) px, what must not be mirrored.
    """
    size = np.array(image.shape[1::-1])
    first, last = np.clip([start, start + side - 1], 0, size - 1)  # (2,) each, pixels
    square = image[first[1] : last[1] + 1, first[0] : last[0] + 1]
    lacks = np.concatenate([first - start, start + side - 1 - last])  # (4,) left, top, ...
    free = np.concatenate([box[:2] - first, last - box[2:]])
    mirrored = np.clip(free.astype(int), 0, lacks)
    for (left, top, right, bottom), how in (
        (mirrored.tolist(), cv2.BORDER_REFLECT_101),
        ((lacks - mirrored).tolist(), cv2.BORDER_REPLICATE),
    ):
        square = cv2.copyMakeBorder(square, top, bottom, left, right, how)
    return square


def _sheet(depth: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The picture as a grid behind the face.

    Args:
        depth: (S, S) of the face, -inf beside it.
        unit: side of the landmarks' box, px.
    Returns:
        vertices (N, 3) continuous px, y down, triangles (T, 3), and how rigid (N,) each is.
    """
    side = depth.shape[0]
    count = int(np.ceil(side / GRID_PX)) + 1
    line = np.linspace(0, side, count).astype(np.float32)
    x, y = np.meshgrid(line, line)
    shown = np.isfinite(depth)
    around = cv2.dilate(shown.astype(np.uint8), np.ones((BELOW_PX, BELOW_PX)))
    deepest = np.where(shown, depth, depth[shown].max()).astype(np.float32)
    behind = cv2.erode(deepest, np.ones((BELOW_PX, BELOW_PX))) - BEHIND_PX
    behind = _fill(np.where(around, behind, np.nan))
    outside = cv2.morphologyEx(shown.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5))) == 0
    distance = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, 5)  # from the face
    share = np.clip(distance / (HEAD_WIDTH * unit), 0, 1)
    z = behind - HEAD_DEPTH * unit * np.sqrt(1 - (1 - share) ** 2)
    at_x, at_y = x - 0.5, y - 0.5
    z, distance = (
        cv2.remap(field, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for field in (z.astype(np.float32), distance)
    )
    border = np.minimum(np.minimum(x, side - x), np.minimum(y, side - y))
    beyond = np.maximum(distance - RIGID * unit, 0)
    rigid = border / np.maximum(border + beyond, 1e-6)
    rigid = rigid * rigid * (3 - 2 * rigid)  # smooth at both ends
    index = np.arange(count * count).reshape(count, count)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    return np.stack([x, y, z], -1).reshape(-1, 3), triangles, rigid.reshape(-1)


def _fill(field: np.ndarray) -> np.ndarray:
    """A field (S, S) whose gaps (nan) are filled from coarser and coarser versions of itself."""
    known = np.isfinite(field)
    return _fill_weighted(np.where(known, field, 0).astype(np.float32), known.astype(np.float32))


def _fill_weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums over weights, (S, S) each; where these are low, those of coarser and coarser sums."""
    if min(values.shape) <= 2:
        return np.full_like(values, values.sum() / max(weights.sum(), LEAST_WEIGHT))
    coarse = _fill_weighted(cv2.pyrDown(values), cv2.pyrDown(weights))
    coarse = cv2.pyrUp(coarse, dstsize=values.shape[::-1])
    known = weights > LEAST_WEIGHT
    return np.where(known, values / np.where(known, weights, 1), coarse)


# ---------------------------------------------------------------- which views


class View(NamedTuple):
    """The label of a turned view: the face that is turned, and which of its views this is."""

    face: FaceFile
    index: int


def with_views(
    faces: list[FaceFile], count: int, is_photo: Callable[[FaceFile], bool]
) -> list[FaceFile]:
    """Each face, followed by `count` turned views of it if it is a photo."""
    every = []
    for face in faces:
        every.append(face)
        for index in range(count if is_photo(face) else 0):
            name = f"{face.name}_view{index + 1:02d}"
            every.append(FaceFile(name, face.photo, face.picture, View(face, index)))
    return every


def choose_yaws_deg(yaw_deg: float, count: int, seed: int, name: str) -> np.ndarray:
    """Yaws (count,) of the turned views of a face: from its own on, in even steps up to 90 degrees,
    each at random within its step.

    Args:
        yaw_deg: of the photo.
        count: number of views.
        seed: of all photos.
        name: of the face.
    """
    rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
    share = (np.arange(count) + rng.uniform(size=count)) / count
    sides = rng.choice([-1.0, 1.0], count)
    if abs(yaw_deg) >= FRONTAL_DEG:
        sides[:] = np.sign(yaw_deg)
    return sides * (abs(yaw_deg) + share * (90 - abs(yaw_deg)))


@dataclasses.dataclass
class ViewReader:
    """Reads photos and their turned views, for `write_training_set`.

    Neighbours of one photo share its label and mesh.

    Attributes:
        read: of the photos.
        morphable: folder of the face model that the labels are for.
        count: views a photo.
        seed: decides their yaws.
    """

    read: Callable[[FaceFile], LabelledFace]
    morphable: Path
    count: int
    seed: int
    _name: str = ""
    _face: LabelledFace | None = None
    _mesh: PhotoMesh | None = None

    def __call__(self, face_file: FaceFile) -> LabelledFace:
        """The face of a photo or of one of its views.

        Raises:
            InputError: as `read` does; or the face lies outside the photo, or is too small.
        """
        view = face_file.label if isinstance(face_file.label, View) else None
        photo = view.face if view else face_file
        if self._face is None or photo.name != self._name:
            self._name, self._face, self._mesh = "", None, None
            self._face, self._name = self.read(photo), photo.name
        if view is None:
            return self._face
        if self._mesh is None:
            exact_box(self._face.image, self._face.landmarks, photo.picture)
            size_px = np.ptp(self._face.landmarks[:2], axis=1).max()
            if size_px < LEAST_FACE_PX:
                raise fileio.InputError(f"{photo.picture}: a face of {size_px:.0f} px is too small")
            surface, model = face_surface(self.morphable), landmark_model(self.morphable)
            self._mesh = photo_mesh(self._face, surface, model)
        yaw_deg = head_angles_deg(self._face).yaw
        yaws_deg = choose_yaws_deg(float(yaw_deg), self.count, self.seed, photo.name)
        return self._mesh.turned(yaws_deg[view.index])


@functools.lru_cache(maxsize=1)
def face_surface(folder: Path) -> FaceSurface:
    """The surface of a face model, made once a process.

    Raises:
        InputError: it has no triangles.
    """
    try:
        return FaceSurface.of(load_morphable(folder))
    except ValueError as error:
        raise fileio.InputError(f"{folder}: {error}; add it, or leave --rotate out") from None


def head_angles_deg(face: LabelledFace) -> Pose:
    """Exact angles of a face's label."""
    return exact_angles(camera_rotation(camera_of(face.params)))


def draw_views(faces: list[FaceFile], read: ViewReader) -> np.ndarray:
    """A sheet of some photos, each followed by three of its views, landmarks drawn in.

    Args:
        faces: photos and views, as `with_views` has them.
        read: of them.
    """
    first = [i for i, face in enumerate(faces) if not isinstance(face.label, View)]
    turned = [i for i in first if i + 1 < len(faces) and isinstance(faces[i + 1].label, View)]
    chosen = np.unique(np.linspace(0, len(turned) - 1, SHEET_PHOTOS).round().astype(int))
    tiles = []
    for start in (turned[row] for row in chosen):
        views = start + np.linspace(1, read.count, COLUMNS - 1).round().astype(int)
        for index in (start, *views):
            face = read(faces[index])
            caption = [faces[index].name[:36], f"yaw {head_angles_deg(face).yaw:.0f}"]
            tiles.append(face_tile(face.image, face.landmarks, None, caption))
    return contact_sheet(tiles)
