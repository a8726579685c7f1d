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
from synergynet.drawing.faces import draw_landmarks, draw_poses
from synergynet.drawing.maps import depth_picture, pncc
from synergynet.drawing.surface import draw_faces, edge_fade
from synergynet.drawing.texture import (
    Unwrapping,
    unwrap_model,
    unwrap_texture,
    vertex_colours,
)
from synergynet.face_model import MorphableModel
from synergynet.faces import POSE_CONVENTION, Faces, describe_faces
from synergynet.meshes.formats import glb_bytes, mesh_from_photo, mtl_text, obj_text, ply_bytes
from synergynet.photos.sources import Source


@dataclasses.dataclass(frozen=True)
class Surface:
    """What to write of the dense face.

    Attributes:
        mesh: obj, ply or glb; None for no meshes.
        texture, depth, pncc: whether these pictures are wanted.
        unwrapping: of the face model, where mesh or texture needs it.
        fade: (V,) of the overlay, where the face model has triangles to draw.
    """

    mesh: str | None
    texture: bool
    depth: bool
    pncc: bool
    unwrapping: Unwrapping | None
    fade: np.ndarray | None


def plan_surface(model: MorphableModel, args: argparse.Namespace) -> Surface:
    """What the flags ask for of this face model.

    Raises:
        InputError: the face model has no triangles for it.
    """
    triangles = model.triangles
    if triangles is None and (args.mesh or args.texture or args.depth or args.pncc):
        raise fileio.InputError(
            "--mesh, --texture, --depth and --pncc need triangles: the face model has none"
        )
    return Surface(
        args.mesh,
        args.texture,
        args.depth,
        args.pncc,
        unwrapping=unwrap_model(model) if args.mesh or args.texture else None,
        fade=edge_fade(model.mean_face, triangles) if triangles is not None else None,
    )


def describe_picture(picture: Source, photo: np.ndarray, faces: Faces) -> dict[str, Any]:
    """What the JSON of one picture says."""
    return {
        "image": picture.path,
        "width": photo.shape[1],
        "height": photo.shape[0],
        "morphable": faces.model.morphable_id,
        "pose_convention": POSE_CONVENTION,
        "faces": describe_faces(faces),
    }


def write_files(
    output: Path, picture: Source, photo: np.ndarray, faces: Faces, surface: Surface
) -> None:
    """Pictures of one picture's faces, and what `surface` asks for."""
    vertices, triangles = faces.vertices, faces.triangles
    drawings: dict[str, Callable[[], np.ndarray]] = {}
    if triangles is not None and surface.fade is not None:  # first, as it takes longest
        overlay = functools.partial(draw_faces, photo, vertices, triangles, fade=surface.fade)
        drawings["rendering_overlay"] = overlay
    drawings["landmarks"] = functools.partial(draw_landmarks, photo, faces)
    drawings["poses"] = functools.partial(draw_poses, photo, faces)
    write_drawings(output, f"{picture.name}.jpg", drawings)
    if triangles is None:
        return
    if surface.depth:
        depth = depth_picture(vertices, triangles, photo.shape)
        fileio.write_image(output / "depth" / f"{picture.name}.png", depth)
    if surface.pncc:
        code = pncc(vertices, triangles, faces.model.mean_face, photo.shape)
        fileio.write_image(output / "pncc" / f"{picture.name}.png", code)
    if surface.unwrapping is not None:
        for index, verts in enumerate(vertices):
            texture, visible = unwrap_texture(photo, verts, triangles, surface.unwrapping)
            name = f"{picture.name}_{index}"
            if surface.texture:
                fileio.write_image(output / "textures" / f"{name}.png", texture)
                visible = np.round(255 * visible).astype(np.uint8)
                fileio.write_image(output / "textures" / f"{name}_visible.png", visible)
            if surface.mesh:
                verts = mesh_from_photo(verts, faces.params[index], faces.roi_boxes[index])
                path = output / "meshes" / f"{name}.{surface.mesh}"
                uv = surface.unwrapping.uv
                write_mesh(path, verts, triangles, texture, uv, with_texture=surface.texture)


def written_files(output: Path, name: str, n_faces: int, surface: Surface) -> list[Path]:
    """What `write_files` writes for a picture of this name that shows so many faces."""
    folders = ["landmarks", "poses"] + ["rendering_overlay"] * (surface.fade is not None)
    files = [output / folder / f"{name}.jpg" for folder in folders]
    maps = {"depth": surface.depth, "pncc": surface.pncc}
    files += [output / folder / f"{name}.png" for folder, wanted in maps.items() if wanted]
    for index in range(n_faces):
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


def write_mesh(
    path: Path,
    verts: np.ndarray,
    triangles: np.ndarray,
    texture: np.ndarray,
    uv: np.ndarray,
    *,
    with_texture: bool,
) -> None:
    """One face's mesh, in the colours of the photo; OBJ and GLB use the texture if it is wanted.

    Args:
        path: of the file; its suffix says the format.
        verts: (V, 3) mm, y up.
        triangles: (T, 3).
        texture: (size, size, 3) BGR.
        uv: (V, 2) places of the vertices in it.
        with_texture: whether it is wanted; else vertices get its colours.
    """
    colours = vertex_colours(texture, uv)
    if path.suffix == ".ply":
        fileio.write_bytes(path, ply_bytes(verts, triangles, colours))
    elif path.suffix == ".glb" and with_texture:
        png = fileio.encode_image("texture.png", texture)
        fileio.write_bytes(path, glb_bytes(verts, triangles, uv=uv, texture_png=png))
    elif path.suffix == ".glb":
        fileio.write_bytes(path, glb_bytes(verts, triangles, colours))
    elif with_texture:
        fileio.write_image(path.with_suffix(".png"), texture)  # beside it, where all readers look
        fileio.write_text(path.with_suffix(".mtl"), mtl_text(f"{path.stem}.png"))
        text = obj_text(verts, triangles, uv=uv, material_file=f"{path.stem}.mtl")
        fileio.write_text(path, text)
    else:
        fileio.write_text(path, obj_text(verts, triangles, colours))
