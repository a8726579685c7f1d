"""Make the README's pictures: run benchmark.py first, then `python demo/make_pictures.py`.

alignment.png, ced.png and error_vs_yaw.png come from results/; synthetic.png shows a training set's
first faces, synthetic_assets.jpg (with `--assets DIR`) the same dressed in MakeHuman's assets;
open_model.png the open morphable model's mean face and sampled people; surface.jpg what demo/app.py
shows of faces of the open test set. With `--photographs DATA`, a test set of photographs,
photographs.jpg shows faces and landmarks found in them without the photographs themselves, which
are not ours to show.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

DEMO = Path(__file__).resolve().parent
sys.path.insert(0, str(DEMO.parent))

from app import analyse  # noqa: E402

from model_building import load_morphable  # noqa: E402
from synergy3DMM import SynergyNet  # noqa: E402
from synergynet import fileio  # noqa: E402
from synergynet.drawing.faces import draw_surfaces, overlay_fade  # noqa: E402
from synergynet.drawing.lines import TRUTH_BGR, draw_landmarks, enlarge  # noqa: E402
from synergynet.drawing.rasterize import rasterize  # noqa: E402
from synergynet.drawing.texture import unwrap_surface  # noqa: E402
from synergynet.faces import decode_faces  # noqa: E402
from synergynet.geometry.crop import photo_to_crop  # noqa: E402
from synergynet.geometry.parameters import IMG_SIZE  # noqa: E402
from synergynet.geometry.pose import Pose, compose_rotation  # noqa: E402
from synergynet.meshes.formats import vertex_normals  # noqa: E402
from utils.data.evaluation_crops import CROPS, LIST, OPEN_TEST_FOLDER, EvaluationCrops  # noqa: E402
from utils.data.folders import OPEN_FOLDER, OPEN_WEIGHTS  # noqa: E402
from utils.data.loader import read_crop  # noqa: E402
from utils.synthetic.head import BASE_VERTICES, load_head  # noqa: E402
from utils.synthetic.pictures import Generator  # noqa: E402
from utils.synthetic.portrait.makehuman import load_wardrobe  # noqa: E402

RESULTS = DEMO.parent / "results"
SHOWN_OVERLAYS = (1, 3, 10, 15, 23, 27, 37, 43)
SHOWN_SURFACES = (15, 23, 37)  # lines of the open test set
SHEET_ROWS, SHEET_COLUMNS = 6, 14
MESH_PX, UM_PER_PX = 300, 720.0
SURFACE_PX = 240
SHOWN_PHOTOGRAPHS, PHOTOGRAPH_PX = 8, 360
CLAY_BGR = np.array([0.70, 0.78, 0.86])
BACKGROUND = 0.11


def tile(images: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size, row by row."""
    rows = [np.hstack(images[i : i + columns]) for i in range(0, len(images), columns)]
    return np.vstack(rows)


def clay(verts_model: np.ndarray, triangles: np.ndarray, yaw_deg: float) -> np.ndarray:
    """A face as a shaded clay model with its 68 landmarks (its last vertices)."""
    rotation = compose_rotation(Pose(*torch.tensor([yaw_deg, 0.0, 0.0]))).numpy()
    turned = (verts_model - (0, -10_000, 60_000)) @ rotation.T
    image_points = turned / UM_PER_PX * (1, -1, 1) + (MESH_PX / 2, MESH_PX / 2, 0)
    normals = vertex_normals(turned, triangles)
    light = np.clip(0.25 + normals @ (0.25, 0.35, 0.75), 0.05, 1)
    picture, depth = rasterize(
        image_points, triangles, light[:, None] * CLAY_BGR, MESH_PX, MESH_PX, BACKGROUND
    )
    picture = np.ascontiguousarray(picture * 255, np.uint8)
    for x, y, z in image_points[-68:]:
        if z > depth[int(y), int(x)] - 4:
            cv2.circle(picture, (round(x * 16), round(y * 16)), 32, (60, 60, 230), -1, 16, 4)
    return picture


def synthetic_sheet(generator: Generator) -> np.ndarray:
    """The first faces of a training set with seed 1."""
    count = SHEET_ROWS * SHEET_COLUMNS
    faces = [generator.draw(np.random.default_rng((1, i)))[0] for i in range(count)]
    return tile(faces, SHEET_COLUMNS)


def surfaces() -> np.ndarray:
    """Photo, 3D face, landmarks, pose, triangles, depth, PNCC and texture, one face a row."""
    net = SynergyNet(OPEN_WEIGHTS, "cpu", detector="none", refine_crop=True)
    unwrapping = unwrap_surface(net.model, net.model.dense)
    crops = OPEN_TEST_FOLDER / CROPS
    names = fileio.read_list(OPEN_TEST_FOLDER / LIST)
    pictures = []
    for index in SHOWN_SURFACES:
        photo = enlarge(fileio.read_image(crops / names[index]), 2 * SURFACE_PX)
        pictures += [photo, *analyse(net, unwrapping, photo).pictures.values()]
    columns = len(pictures) // len(SHOWN_SURFACES)
    size = (SURFACE_PX, SURFACE_PX)
    return tile([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures], columns)


def photographs(folder: str) -> np.ndarray:
    """Faces found in a test set's first photographs; landmarks found (green) and true (blue)."""
    net = SynergyNet(OPEN_WEIGHTS, "cpu", detector="none")
    crops = EvaluationCrops(folder)
    fade = overlay_fade(net.model)
    pictures = []
    photographs = zip(crops.names, crops.labels.roi_box, crops.labels.landmarks, strict=True)
    for name, box, truth in itertools.islice(photographs, SHOWN_PHOTOGRAPHS):
        crop = read_crop(crops.folder / CROPS / name)
        first = np.zeros(1, int)
        whole = np.array([[0.0, 0, IMG_SIZE, IMG_SIZE]])
        params = net.predict_crops([crop], first, whole, whole, exact=True).params
        picture_box = np.array([[0.0, 0, PHOTOGRAPH_PX, PHOTOGRAPH_PX]])
        face = decode_faces(net.model, params, picture_box, picture_box, first)
        picture = np.full((PHOTOGRAPH_PX, PHOTOGRAPH_PX, 3), 255 * BACKGROUND, np.uint8)
        picture = draw_surfaces(picture, face, fade)
        true_points = photo_to_crop(truth, box) * (PHOTOGRAPH_PX / IMG_SIZE)
        picture = draw_landmarks(picture, true_points, TRUTH_BGR)
        pictures.append(draw_landmarks(picture, face.landmarks[0]))
    return tile(pictures, 4)


def main(args: argparse.Namespace) -> int:
    """Write the pictures beside this file."""
    morphable, head = load_morphable(OPEN_FOLDER), load_head(OPEN_FOLDER)
    fileio.write_image(DEMO / "synthetic.jpg", synthetic_sheet(Generator(head, morphable)), 90)
    if args.assets:
        base_vertices = fileio.read_array(OPEN_FOLDER / BASE_VERTICES)
        wardrobe = load_wardrobe(args.assets, head, base_vertices)
        sheet = synthetic_sheet(Generator(head, morphable, wardrobe=wardrobe))
        fileio.write_image(DEMO / "synthetic_assets.jpg", sheet, 90)

    mean = morphable.u.numpy().reshape(-1, 3).astype(float)
    views = [clay(mean, morphable.triangles, yaw) for yaw in (0, 35, 75)]
    for i, yaw in ((3, -20), (40, 20), (77, 45)):
        offsets = morphable.w_shp.numpy() @ head.identities[i]
        offsets = offsets + morphable.w_exp.numpy() @ head.expressions[i]
        views.append(clay(mean + offsets.reshape(-1, 3), morphable.triangles, yaw))
    fileio.write_image(DEMO / "open_model.jpg", tile(views, 6), 92)

    overlays = [fileio.read_image(RESULTS / f"{i}.png") for i in SHOWN_OVERLAYS]
    half = [cv2.resize(image, None, fx=0.5, fy=0.5) for image in overlays]
    fileio.write_image(DEMO / "alignment.jpg", tile(half, 4), 90)
    for name in ("ced.png", "error_vs_yaw.png"):
        shutil.copyfile(RESULTS / name, DEMO / name)
    fileio.write_image(DEMO / "surface.jpg", surfaces(), 90)
    if args.photographs:
        fileio.write_image(DEMO / "photographs.jpg", photographs(args.photographs), 90)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--assets", help="MakeHuman's assets, for synthetic_assets.jpg")
    parser.add_argument(
        "--photographs", metavar="DATA", help="test set of photographs, for photographs.jpg"
    )
    sys.exit(fileio.run_command(main, parser.parse_args()))
