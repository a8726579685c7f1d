"""The files that one picture gives: drawings, numbers, meshes, textures and maps."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from synergynet import fileio
from synergynet.drawing.faces import draw_landmarks, draw_poses, draw_surfaces, overlay_fade
from synergynet.drawing.maps import depth_picture, pncc
from synergynet.drawing.texture import (
    Unwrapping,
    unwrap_surface,
    unwrap_texture,
    vertex_colours,
)
from synergynet.face_model import MorphableModel
from synergynet.faces import POSE_CONVENTION, Faces, describe_faces
from synergynet.geometry.pinhole import METRIC_CONVENTION, Lens
from synergynet.meshes.dense import DenseSurface
from synergynet.meshes.formats import glb_bytes, mesh_from_photo, mtl_text, obj_text, ply_bytes
from synergynet.photos.crops import blacken_border, network_crop
from synergynet.photos.focal import read_focal_px
from synergynet.photos.sources import Source


@dataclasses.dataclass(frozen=True)
class Surface:
    """What to write of each face, and with it of the dense one.

    Attributes:
        mesh: obj, ply or glb; None for no meshes.
        mesh_surface: what meshes show, with eyeballs and inner mouth where those are wanted.
        texture, depth, pncc: whether these pictures are wanted.
        crops: whether the network's crops are wanted.
        unwrapping: of the dense surface, where mesh or texture needs it.
        mesh_uv: (W, 2) of `mesh_surface`, in the same layout.
        fade: (W,) of the overlay, where the face model has triangles to draw.
    """

    mesh: str | None
    mesh_surface: DenseSurface | None
    texture: bool
    depth: bool
    pncc: bool
    crops: bool
    unwrapping: Unwrapping | None
    mesh_uv: np.ndarray | None
    fade: np.ndarray | None


def plan_surface(model: MorphableModel, args: argparse.Namespace) -> Surface:
    """What the flags ask for of this face model.

    Raises:
        InputError: the face model has no triangles for it, or flags do not fit together.
    """
    if args.mesh_parts and not args.mesh:
        raise fileio.InputError("--mesh-parts are of meshes: add --mesh obj, ply or glb")
    triangles = model.triangles
    if triangles is None and (args.mesh or args.texture or args.depth or args.pncc):
        raise fileio.InputError(
            "--mesh, --texture, --depth and --pncc need triangles: the face model has none"
        )
    unwrapping = unwrap_surface(model, model.dense) if args.mesh or args.texture else None
    mesh_surface = None
    if args.mesh:
        mesh_surface = model.dense_with_parts if args.mesh_parts else model.dense
    return Surface(
        args.mesh,
        mesh_surface,
        args.texture,
        args.depth,
        args.pncc,
        args.save_crops,
        unwrapping=unwrapping,
        mesh_uv=unwrap_surface(model, mesh_surface).uv if mesh_surface else None,
        fade=overlay_fade(model) if triangles is not None else None,
    )


def describe_picture(
    picture: Source, photo: np.ndarray, faces: Faces, focal_px: float | None = None
) -> dict[str, Any]:
    """What the JSON of one picture says.

    Args:
        picture, photo, faces: it and what it shows.
        focal_px: of the lens; None takes that of the picture's EXIF, where it has one.
    """
    camera: dict[str, Any] | None = None
    lens = None
    source = "EXIF" if focal_px is None else "--focal"
    if focal_px is None and len(faces):
        focal_px = read_focal_px(picture.path, photo.shape)
    if focal_px is not None:
        lens = Lens.of_photo(focal_px, photo.shape)
        camera = {"focal_px": round(focal_px, 2), "source": source, "centre_px": lens.centre_px}
        camera["metric_convention"] = METRIC_CONVENTION
    return {
        "image": picture.path,
        "width": photo.shape[1],
        "height": photo.shape[0],
        "morphable": faces.model.morphable_id,
        "pose_convention": POSE_CONVENTION,
        "camera": camera,
        "reliable_blendshapes": faces.reliable_blendshapes,
        "faces": describe_faces(faces, lens),
    }


def write_crops(
    output: Path, picture: Source, photo: np.ndarray, faces: Faces, border_px: int
) -> None:
    """The 120-px crops of one picture's faces as the network saw them, before any quarter turn.

    Args:
        output, picture, photo, faces: as for `write_files`.
        border_px: of the black border that this look has.
    """
    for index, box in enumerate(faces.roi_boxes):
        crop = blacken_border(network_crop(photo, box)[None], border_px)[0]
        fileio.write_image(output / "crops" / f"{picture.name}_{index}.png", crop)


def write_files(
    output: Path, picture: Source, photo: np.ndarray, faces: Faces, surface: Surface
) -> None:
    """Pictures of one picture's faces, and what `surface` asks for."""
    drawings: dict[str, Callable[[], np.ndarray]] = {}
    if surface.fade is not None:  # first, as it takes longest
        overlay = functools.partial(draw_surfaces, photo, faces, surface.fade)
        drawings["rendering_overlay"] = overlay
    drawings["landmarks"] = functools.partial(draw_landmarks, photo, faces)
    drawings["poses"] = functools.partial(draw_poses, photo, faces)
    write_drawings(output, f"{picture.name}.jpg", drawings)
    if not (surface.depth or surface.pncc or surface.unwrapping):
        return
    dense = faces.model.dense
    vertices, triangles = faces.dense_vertices, dense.triangles
    if surface.depth:
        depth = depth_picture(vertices, triangles, photo.shape)
        fileio.write_image(output / "depth" / f"{picture.name}.png", depth)
    if surface.pncc:
        mean = dense.apply(faces.model.mean_face.T).T
        code = pncc(vertices, triangles, mean, photo.shape)
        fileio.write_image(output / "pncc" / f"{picture.name}.png", code)
    if surface.unwrapping is not None:
        for index, verts in enumerate(vertices):
            texture, visible = unwrap_texture(photo, verts, triangles, surface.unwrapping)
            name = f"{picture.name}_{index}"
            if surface.texture:
                fileio.write_image(output / "textures" / f"{name}.png", texture)
                visible = np.round(255 * visible).astype(np.uint8)
                fileio.write_image(output / "textures" / f"{name}_visible.png", visible)
            if surface.mesh_surface is not None and surface.mesh_uv is not None:
                own = faces.vertices[index]  # of which the dense surface is made in millimetres
                own = mesh_from_photo(own, faces.params[index], faces.roi_boxes[index])
                path = output / "meshes" / f"{name}.{surface.mesh}"
                write_mesh(path, own, surface, texture)


def written_files(output: Path, name: str, n_faces: int, surface: Surface) -> list[Path]:
    """What `write_files` and `write_crops` write for a picture of this name with so many faces."""
    folders = ["landmarks", "poses"] + ["rendering_overlay"] * (surface.fade is not None)
    files = [output / folder / f"{name}.jpg" for folder in folders]
    maps = {"depth": surface.depth, "pncc": surface.pncc}
    files += [output / folder / f"{name}.png" for folder, wanted in maps.items() if wanted]
    for index in range(n_faces):
        if surface.crops:
            files.append(output / "crops" / f"{name}_{index}.png")
        if surface.texture:
            files.append(output / "textures" / f"{name}_{index}.png")
        if surface.mesh:
            files.append(output / "meshes" / f"{name}_{index}.{surface.mesh}")
    return files


def require_apart(files: list[Path], sources: Set[str]) -> None:
    """Refuse to write over pictures that are read.

    Args:
        files: to be written.
        sources: real paths of all pictures of the run.
    Raises:
        InputError: names the picture that would be replaced.
    """
    for file in files:
        if os.path.realpath(file) in sources:
            raise fileio.InputError(
                f"{file}: is one of the pictures, and would be replaced; choose another --output"
            )


def write_drawings(
    output: Path, name: str, drawings: Mapping[str, Callable[[], np.ndarray]]
) -> None:
    """Draw and write pictures side by side, in a thread each; encoding costs as much as drawing.

    Args:
        output: folder above those of the pictures.
        name: of each file, with its suffix.
        drawings: what gives the picture, by its folder.
    """

    def write(folder: str, draw: Callable[[], np.ndarray]) -> None:
        fileio.write_image(output / folder / name, draw())

    with ThreadPoolExecutor(len(drawings)) as pool:
        written = [pool.submit(write, *drawing) for drawing in drawings.items()]
    for future in written:
        future.result()  # raises what its thread raised


def write_mesh(path: Path, verts: np.ndarray, surface: Surface, texture: np.ndarray) -> None:
    """One face's mesh, in the colours of the photo; OBJ and GLB use the texture if it is wanted.

    Args:
        path: of the file; its suffix says the format.
        verts: (V, 3) mm, y up, of the face model's own vertices.
        surface: what is written; its `mesh_surface` and `mesh_uv` are there.
        texture: (size, size, 3) BGR.
    """
    dense, uv = surface.mesh_surface, surface.mesh_uv
    assert dense is not None
    assert uv is not None
    triangles = dense.triangles
    verts, normals = dense.with_normals(verts)
    colours = vertex_colours(texture, uv) * dense.light[:, None]
    if path.suffix == ".ply":
        fileio.write_bytes(path, ply_bytes(verts, triangles, colours))
    elif path.suffix == ".glb" and surface.texture:
        png = fileio.encode_image("texture.png", texture)
        glb = glb_bytes(verts, triangles, uv=uv, texture_png=png, normals=normals)
        fileio.write_bytes(path, glb)
    elif path.suffix == ".glb":
        fileio.write_bytes(path, glb_bytes(verts, triangles, colours, normals=normals))
    elif surface.texture:
        fileio.write_image(path.with_suffix(".png"), texture)  # beside it, where all readers look
        fileio.write_text(path.with_suffix(".mtl"), mtl_text(f"{path.stem}.png"))
        text = obj_text(verts, triangles, uv=uv, material_file=f"{path.stem}.mtl")
        fileio.write_text(path, text)
    else:
        fileio.write_text(path, obj_text(verts, triangles, colours))
