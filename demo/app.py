"""A page to try it in the browser: a photo in; overlays, head pose and a 3D face out.

    pip install '.[app]'
    python demo/app.py [--weights WEIGHTS] [--port 7860]

Nothing leaves the machine: no telemetry, no fonts or scripts from elsewhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.drawing.faces import draw_landmarks, draw_poses, draw_surfaces
from synergynet.drawing.maps import depth_picture, pncc
from synergynet.drawing.surface import draw_wireframe
from synergynet.drawing.texture import Unwrapping, unwrap_surface, unwrap_texture
from synergynet.meshes.formats import glb_bytes, mesh_from_photo
from synergynet.video.annotate import draw_ids

FONTS = ("system-ui", "sans-serif")
POSE_COLUMNS = ("face", "yaw", "pitch", "roll")
NOTE = """\
Faces are numbered, the largest is 1. Angles are in degrees, in the convention of 300W-LP and
AFLW2000-3D (exact decoding). Drag the 3D face to turn it; there is one for each of the ten largest
faces. The files are binary glTF, in metres."""
MOST_MESHES = 10
MOST_PIXELS = 60e6  # of a photo: maps and overlays of larger ones take gigabytes


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What the page shows of one photo.

    Attributes:
        pictures: (H, W, 3) uint8 BGR by caption.
        poses: for each face its number, yaw, pitch and roll in degrees; the largest face first.
        meshes: of the MOST_MESHES largest faces, in this order, textured, as binary glTF.
    """

    pictures: dict[str, np.ndarray]
    poses: list[list[float]]
    meshes: list[bytes]


def analyse(net: SynergyNet, unwrapping: Unwrapping, photo: np.ndarray) -> Analysis | None:
    """Everything the page shows of a photo (H, W, 3) uint8 BGR; None where no face is found."""
    faces = net.predict([photo])
    if not len(faces):
        return None
    sides = faces.roi_boxes[:, 2] - faces.roi_boxes[:, 0]
    faces = faces[np.argsort(-sides)]  # the largest first
    dense = net.model.dense
    verts, triangles = faces.dense_vertices, dense.triangles
    textures = [
        unwrap_texture(photo, face, triangles, unwrapping)[0] for face in verts[:MOST_MESHES]
    ]
    mean = dense.apply(net.model.mean_face.T).T
    numbers = np.arange(1, len(faces) + 1)
    pictures = {
        "3D face": draw_surfaces(photo, faces),
        "landmarks": draw_ids(draw_landmarks(photo, faces), numbers, faces),
        "head pose": draw_ids(draw_poses(photo, faces), numbers, faces),
        "triangles": draw_wireframe(photo, faces.vertices, faces.triangles),
        "depth": depth_picture(verts, triangles, photo.shape),
        "PNCC": pncc(verts, triangles, mean, photo.shape),
        "texture": textures[0],
    }
    pose = np.stack(faces.pose("exact"), axis=1).astype(float).round(1) + 0.0  # (N, 3), no -0.0
    meshes = []
    for index, texture in enumerate(textures):
        own = faces.vertices[index]
        own = mesh_from_photo(own, faces.params[index], faces.roi_boxes[index])
        mesh, normals = dense.with_normals(own)
        png = fileio.encode_image("texture.png", texture)
        meshes.append(glb_bytes(mesh, triangles, None, unwrapping.uv, png, normals))
    poses = [[index, *angles] for index, angles in enumerate(pose.tolist(), start=1)]
    return Analysis(pictures, poses, meshes)


def read_photo(path: str) -> np.ndarray:
    """An uploaded photo (H, W, 3) uint8 BGR.

    Raises:
        InputError: not a picture, or larger than MOST_PIXELS; the server's folders are not named.
    """
    try:
        photo = fileio.read_image(path)
    except fileio.InputError as error:
        raise fileio.InputError(str(error).replace(path, Path(path).name)) from None
    height, width = photo.shape[:2]
    if height * width > MOST_PIXELS:
        raise fileio.InputError(
            f"{Path(path).name}: {width} x {height} px, more than {MOST_PIXELS / 1e6:.0f} million"
        )
    return photo


def build_page(net: SynergyNet, folder: Path):
    """The page as gradio Blocks; meshes are written to `folder`.

    Raises:
        InputError: gradio is not installed, or the face model has no triangles.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        import gradio
    except ImportError:
        raise fileio.InputError("gradio is not installed: pip install '.[app]'") from None
    if net.model.triangles is None:
        raise fileio.InputError("the face model has no tri.mat, so there is no 3D face to show")
    unwrapping = unwrap_surface(net.model, net.model.dense)

    def show(path: str | None) -> tuple:
        if path is None:
            raise gradio.Error("Choose a photo first.", print_exception=False)
        try:
            result = analyse(net, unwrapping, read_photo(path))
        except fileio.InputError as error:
            raise gradio.Error(str(error), print_exception=False) from None
        if result is None:
            raise gradio.Error("No face found in this photo.", print_exception=False)
        target = Path(tempfile.mkdtemp(dir=folder))
        files = [str(target / f"face_{i}.glb") for i in range(1, len(result.meshes) + 1)]
        for file, mesh in zip(files, result.meshes, strict=True):
            fileio.write_bytes(file, mesh)
        pictures = [(image[:, :, ::-1], caption) for caption, image in result.pictures.items()]
        numbers = [str(number) for number in range(1, len(files) + 1)]
        choice = gradio.Radio(choices=numbers, value="1", visible=len(files) > 1)
        return pictures, result.poses, files[0], files, choice

    def show_mesh(number: str, files: list[str]) -> str:
        return files[int(number) - 1]

    kept_s = 600  # of uploads and results
    settings = {"analytics_enabled": False, "delete_cache": (kept_s, kept_s)}
    with gradio.Blocks(title="SynergyNet", **settings) as page:
        gradio.Markdown("# SynergyNet: a 3D face from one photo")
        with gradio.Row():
            with gradio.Column():
                photo = gradio.Image(type="filepath", label="Photo", height=420)
                # the file as it was uploaded, of any kind and depth that OpenCV reads
                photo.preprocess = lambda upload: upload and upload.path
                button = gradio.Button("Find faces", variant="primary")
                poses = gradio.Dataframe(headers=list(POSE_COLUMNS), label="Head pose")
                gradio.Markdown(NOTE)
            with gradio.Column():
                pictures = gradio.Gallery(
                    label="Overlays",
                    height=420,
                    object_fit="contain",
                    selected_index=0,
                    buttons=["download", "fullscreen"],  # none that uploads
                )
                mesh = gradio.Model3D(label="3D face", height=420, camera_position=(90, 90, None))
                choice = gradio.Radio(label="Face shown in 3D", visible=False)
                files = gradio.File(label="Meshes (GLB)", file_count="multiple", interactive=False)
        outputs = [pictures, poses, mesh, files, choice]
        button.click(show, photo, outputs, api_name="analyse")
        choice.input(show_mesh, [choice, files], mesh, api_name=False)
    return page


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("-w", "--weights", help="checkpoint (default: pretrained/best.pth.tar or the open one)")
    add("-a", "--arch", help="default: the checkpoint's, else mobilenet_v2")
    add("-d", "--device", default="auto", help="auto, cpu, cuda or a number (default: %(default)s)")
    add("--morphable", help="3dmm_data folder (default: the checkpoint's)")
    add("--whitening", help="parameter mean and std, for weights that carry none (3DDFA_V2)")
    add("--detector", default="auto", help="as for singleImage.py (default: %(default)s)")
    add("--port", type=int, default=7860, help="default: %(default)s")
    fileio.add_debug(parser)
    return parser


def main(args: argparse.Namespace) -> int:
    if not 1 <= args.port <= 65535:
        raise fileio.InputError(f"--port {args.port}: must be from 1 to 65535")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", args.port)) == 0:
            raise fileio.InputError(f"--port {args.port}: in use; choose another")
    net = SynergyNet(
        args.weights,
        args.device,
        args.morphable,
        args.detector,
        refine_crop=True,
        arch=args.arch,
        whitening=args.whitening,
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads and pictures too: nothing stays behind
        page = build_page(net, Path(folder))
        import gradio

        theme = gradio.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace"))
        page.launch(
            server_name="127.0.0.1",  # whatever the environment says
            server_port=args.port,
            theme=theme,
            share=False,
            footer_links=["api"],
        )
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
