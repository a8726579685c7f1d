"""Landmarks, head pose and a 3D face of everybody in your photos and videos.

    python singleImage.py -f photo.jpg
    python singleImage.py -f FOLDER 'more/*.png' --refine-crop --mesh glb
    python singleImage.py -f clip.mp4 webcam:0 --smooth
    torchrun --nproc-per-node 8 singleImage.py -f FOLDER --results-only --resume

Writes into inference_output/: landmarks/NAME.jpg, poses/NAME.jpg, rendering_overlay/NAME.jpg,
json/NAME.json with all numbers, and results_rank0.jsonl with the same, one line a picture; of
videos, videos/NAME.mp4 with a table of the numbers as .csv and .jsonl.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.detection.detectors import DETECTORS, make_detector, read_boxes
from synergynet.drawing import lines
from synergynet.drawing.surface import draw_faces, draw_pose_box, edge_fade
from synergynet.faces import POSE_CONVENTION, Faces, describe_faces, mean_face
from synergynet.meshes.formats import glb_bytes, mesh_from_photo, mtl_text, obj_text, ply_bytes
from synergynet.meshes.texture import (
    Unwrapping,
    depth_picture,
    pncc,
    unwrap_model,
    unwrap_texture,
    vertex_colours,
)
from synergynet.photos.sources import ResultsFile, Source, find_sources, rank_and_world_size
from synergynet.video.annotate import annotate_video, is_annotated
from utils.inference.regressor import ENGINES

NOSE_TIP = 30  # of the 68 landmarks
MESHES = ("obj", "ply", "glb")

NOTES = """\
Pictures: files of any kind that OpenCV reads (JPEG, PNG, TIFF, WebP, AVIF, BMP, GIF, ...; grey,
with transparency or 16 bits too), turned as their EXIF says; of animations the first picture.
A picture that cannot be read, or that shows no face, gets one line on stderr; the others are done.

Exit code: 0 when a face was found, 2 when there was none or nothing could be read. Under torchrun a
process that found none ends with 0, so that the others go on.

--resume passes over the pictures in results_rank*.jsonl and the videos with a .json, but for those
that failed.
"""


# ---------------------------------------------------------------- pictures of results


def draw_landmarks(photo: np.ndarray, faces: Faces) -> np.ndarray:
    """The photo with the 68 landmarks of every face."""
    for landmarks, side in zip(faces.landmarks, _sides(faces), strict=True):
        photo = lines.draw_landmarks(photo, landmarks, crop_px=side)
    return photo


def draw_poses(photo: np.ndarray, faces: Faces) -> np.ndarray:
    """The photo with a box around every head, turned as it is, and axes at the tip of the nose."""
    for landmarks, rotation, side in zip(
        faces.landmarks, faces.rotations, _sides(faces), strict=True
    ):
        photo = draw_pose_box(photo, rotation, landmarks)
        nose = landmarks[:2, NOSE_TIP]
        photo = lines.draw_pose_axes(photo, rotation, nose, side / 3, crop_px=side)
    return photo


def draw_frame(image: np.ndarray, faces: Faces) -> np.ndarray:
    """A video's frame with landmarks and pose."""
    return draw_poses(draw_landmarks(image, faces), faces)


def _sides(faces: Faces) -> np.ndarray:
    """Sides (N,) of the crops in photo px."""
    return faces.roi_boxes[:, 2] - faces.roi_boxes[:, 0]


# ---------------------------------------------------------------- photos to faces


def read_ahead(
    pictures: Sequence[Source], workers: int, count: int
) -> Iterator[tuple[Source, Future[np.ndarray]]]:
    """The pictures with what reading them gives, `count` of them read in advance by threads."""
    waiting: collections.deque[tuple[Source, Future[np.ndarray]]] = collections.deque()
    with ThreadPoolExecutor(workers) as pool:
        for picture in pictures:
            waiting.append((picture, pool.submit(fileio.read_image, picture.path)))
            if len(waiting) > count:
                yield waiting.popleft()
        yield from waiting


def predict_pictures(
    net: SynergyNet,
    reading: Iterator[tuple[Source, Future[np.ndarray]]],
    boxes: dict[str, np.ndarray] | None,
    batch_size: int,
) -> Iterator[tuple[Source, np.ndarray | None, Faces | fileio.InputError]]:
    """Each picture with its photo and faces, or with None and what is wrong with it.

    Args:
        net: finds the faces where `boxes` is None.
        reading: from `read_ahead`.
        boxes: (n, 5) of the faces by path or file name of the picture.
        batch_size: pictures that go through the network together.
    """
    while batch := list(itertools.islice(reading, batch_size)):
        good: list[tuple[Source, np.ndarray, np.ndarray]] = []
        for picture, future in batch:
            try:
                photo = future.result()
                face_boxes = net.detect(photo) if boxes is None else look_up(picture, photo, boxes)
                good.append((picture, photo, face_boxes))
            except fileio.InputError as error:
                yield picture, None, error
        faces = net.predict([photo for _, photo, _ in good], [rows for *_, rows in good])
        for index, (picture, photo, _) in enumerate(good):
            yield picture, photo, faces.of_image(index)


def look_up(picture: Source, photo: np.ndarray, boxes: dict[str, np.ndarray]) -> np.ndarray:
    """The boxes (n, 5) of one picture.

    Raises:
        InputError: the table does not name the picture, or a box lies beside it.
    """
    rows = boxes.get(picture.path, boxes.get(os.path.basename(picture.path)))
    if rows is None:
        raise fileio.InputError(
            f"{picture.path}: not among the boxes; give it [] if it shows no face"
        )
    height, width = photo.shape[:2]
    beside = (rows[:, 2:4] <= 0) | (rows[:, :2] >= [width, height])  # (n, 2)
    if beside.any() or (rows[:, 2:4] - rows[:, :2] > 2 * max(height, width)).any():
        raise fileio.InputError(f"{picture.path}: a box does not fit its {width} x {height} px")
    return rows


# ---------------------------------------------------------------- results


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


def plan_surface(net: SynergyNet, args: argparse.Namespace) -> Surface:
    """What the flags ask for of this face model.

    Raises:
        InputError: the face model has no triangles for it.
    """
    mean, triangles = mean_face(net.model), net.model.triangles
    if triangles is None and (args.mesh or args.texture or args.depth or args.pncc):
        raise fileio.InputError(
            "--mesh, --texture, --depth and --pncc need triangles: the face model has no tri.mat"
        )
    return Surface(
        args.mesh,
        args.texture,
        args.depth,
        args.pncc,
        unwrapping=unwrap_model(mean) if args.mesh or args.texture else None,
        fade=edge_fade(mean, triangles) if triangles is not None else None,
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
    """Pictures and JSON of one picture, and what `surface` asks for."""
    fileio.write_image(output / "landmarks" / f"{picture.name}.jpg", draw_landmarks(photo, faces))
    fileio.write_image(output / "poses" / f"{picture.name}.jpg", draw_poses(photo, faces))
    description = describe_picture(picture, photo, faces)
    fileio.write_json(output / "json" / f"{picture.name}.json", description)
    if surface.fade is None:
        return  # no triangles
    vertices, triangles = faces.vertices, faces.triangles
    overlay = draw_faces(photo, vertices, triangles, fade=surface.fade)
    fileio.write_image(output / "rendering_overlay" / f"{picture.name}.jpg", overlay)
    if surface.depth:
        depth = depth_picture(vertices, triangles, photo.shape)
        fileio.write_image(output / "depth" / f"{picture.name}.png", depth)
    if surface.pncc:
        code = pncc(vertices, triangles, mean_face(faces.model), photo.shape)
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
                write_mesh(output, name, verts, triangles, texture, surface)


def write_mesh(
    output: Path,
    name: str,
    verts: np.ndarray,
    triangles: np.ndarray,
    texture: np.ndarray,
    surface: Surface,
) -> None:
    """One face's mesh, in the colours of the photo; OBJ and GLB use the texture if it is wanted.

    Args:
        output: folder above `meshes`.
        name: of the files, without suffix.
        verts: (V, 3) mm, y up.
        triangles: (T, 3).
        texture: (size, size, 3) BGR.
        surface: what is wanted.
    """
    path = output / "meshes" / f"{name}.{surface.mesh}"
    uv = surface.unwrapping.uv
    colours = vertex_colours(texture, uv)
    if surface.mesh == "ply":
        fileio.write_bytes(path, ply_bytes(verts, triangles, colours))
    elif surface.mesh == "glb" and surface.texture:
        png = fileio.encode_image("texture.png", texture)
        fileio.write_bytes(path, glb_bytes(verts, triangles, uv=uv, texture_png=png))
    elif surface.mesh == "glb":
        fileio.write_bytes(path, glb_bytes(verts, triangles, colours))
    elif surface.texture:
        fileio.write_image(path.with_suffix(".png"), texture)  # beside it, where all readers look
        fileio.write_text(path.with_suffix(".mtl"), mtl_text(f"{path.stem}.png"))
        text = obj_text(verts, triangles, uv=uv, material_file=f"{path.stem}.mtl")
        fileio.write_text(path, text)
    else:
        fileio.write_text(path, obj_text(verts, triangles, colours))


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "-f",
        "--files",
        nargs="+",
        required=True,
        help="pictures, folders, patterns, videos, webcam:N",
    )
    add("-w", "--weights", help="checkpoint (default: pretrained/best.pth.tar or the open one)")
    add("-a", "--arch", help="default: the checkpoint's, else mobilenet_v2")
    add("-d", "--device", default="auto", help="auto, cpu, cuda or a number (default: %(default)s)")
    add("--morphable", help="3dmm_data folder (default: the checkpoint's)")
    add("--whitening", help="parameter mean and std, for weights that carry none (3DDFA_V2)")
    add("--detector", default="auto", help=f"{DETECTORS} (default: %(default)s)")
    add("--engine", default="auto", help=f"{', '.join(ENGINES)} (default: %(default)s)")
    add("--refine-crop", action="store_true", help="look twice, cut out around the landmarks")
    add("--smooth", action="store_true", help="videos: filter the parameters over time")
    add("--mesh", choices=MESHES, help="meshes/NAME_0.obj, ... of every face, in its colours")
    add("--texture", action="store_true", help="textures/NAME_0.png, ... and what of it is seen")
    add("--depth", action="store_true", help="depth/NAME.png: white is nearest")
    add("--pncc", action="store_true", help="pncc/NAME.png: place on the mean face as colour")
    add("--output", default="inference_output", help="folder (default: %(default)s)")
    add("--results-only", action="store_true", help="write numbers only, no pictures")
    add("--resume", action="store_true", help="go on with an interrupted run")
    add("--batch-size", type=int, default=8, help="pictures at a time (default: %(default)s)")
    add("--workers", type=int, default=4, help="threads that read ahead (default: %(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--batch-size": 1, "--workers": 1})
    output = fileio.make_output_folder(args.output)
    rank, world_size = rank_and_world_size()
    if world_size > 1:
        cv2.setNumThreads(torch.get_num_threads())  # which torchrun sets, for many processes
    pictures, videos = find_sources(args.files, skip=output)
    kind, _, boxes_file = args.detector.partition(":")
    boxes = read_boxes(boxes_file) if kind == "boxes" else None
    if videos and boxes is not None:
        raise fileio.InputError(
            f"{videos[0].path}: videos need a detector, not --detector {args.detector}"
        )
    net = SynergyNet(
        args.weights,
        args.device,
        args.morphable,
        make_detector(args.detector if boxes is None else "none"),
        args.engine,
        refine_crop=args.refine_crop,
        arch=args.arch,
        whitening=args.whitening,
    )
    if rank == 0:
        print(f"weights {net.weights}, morphable model {net.model.morphable_id['name']}")
    found = do_videos(net, videos[rank::world_size], output, args)
    if pictures:
        found |= do_pictures(net, pictures[rank::world_size], boxes, output, args)
    return 0 if found or world_size > 1 else 2


def do_videos(
    net: SynergyNet, videos: Sequence[Source], output: Path, args: argparse.Namespace
) -> bool:
    """Annotate videos; whether one shows a face, or an earlier run has done some of them."""
    draw = None if args.results_only else draw_frame
    n_done = n_faces = 0
    for video in videos:
        stem = output / "videos" / video.name
        if args.resume and is_annotated(video.path, stem):
            n_done += 1
            continue
        try:
            summary = annotate_video(net, video.path, stem, draw, smooth=args.smooth)
        except fileio.InputError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        if summary.problem:
            print(summary.problem, file=sys.stderr)
        print(f"{video.path}: {summary.identities} people, {summary.frames} frames: {stem}.*")
        n_faces += summary.faces
    return n_faces > 0 or n_done > 0


def do_pictures(
    net: SynergyNet,
    pictures: Sequence[Source],
    boxes: dict[str, np.ndarray] | None,
    output: Path,
    args: argparse.Namespace,
) -> bool:
    """Annotate pictures; whether one shows a face, or an earlier run has done some of them."""
    surface = plan_surface(net, args)
    results = ResultsFile(output, args.resume)
    done = results.done() if args.resume else set()
    pictures = [picture for picture in pictures if picture.path not in done]
    n_read = n_faces = 0
    reading = read_ahead(pictures, args.workers, args.batch_size)
    rank, _ = rank_and_world_size()
    with tqdm(total=len(pictures), unit="picture", leave=False, disable=rank or None) as progress:
        for picture, photo, faces in predict_pictures(net, reading, boxes, args.batch_size):
            progress.update()
            if isinstance(faces, fileio.InputError):
                tqdm.write(f"skipped: {faces}", file=sys.stderr)
                results.add({"image": picture.path, "error": str(faces)})
                continue
            n_read += 1
            n_faces += len(faces)
            if not len(faces):
                tqdm.write(f"{picture.path}: no face found", file=sys.stderr)
            elif not args.results_only:
                write_files(output, picture, photo, faces, surface)
            results.add(describe_picture(picture, photo, faces))
    print(f"{n_faces} faces in {n_read} of {len(pictures)} pictures: {output}")
    return n_faces > 0 or bool(done)


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
