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
import uuid
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.drawing.faces import draw_landmarks, draw_poses
from synergynet.drawing.maps import depth_picture, pncc
from synergynet.drawing.surface import draw_faces, draw_wireframe, edge_fade
from synergynet.drawing.texture import Unwrapping, unwrap_model, unwrap_texture
from synergynet.meshes.formats import glb_bytes, mesh_from_photo

FONTS = ("system-ui", "sans-serif")
POSE_COLUMNS = ("face", "yaw", "pitch", "roll")
NOTE = """\
Angles are in degrees, in the convention of 300W-LP and AFLW2000-3D (exact decoding). The 3D face
is that of the largest face in the photo; drag it to turn it. The file is binary glTF, in metres."""


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What the page shows of one photo.

    Attributes:
        pictures: (H, W, 3) uint8 BGR by caption.
        poses: for each face its number, yaw, pitch and roll in degrees; the largest face first.
        glb: the largest face as a textured mesh.
    """

    pictures: dict[str, np.ndarray]
    poses: list[list[float]]
    glb: bytes


def analyse(net: SynergyNet, unwrapping: Unwrapping, photo: np.ndarray) -> Analysis | None:
    """Everything the page shows of a photo (H, W, 3) uint8 BGR; None where no face is found."""
    faces = net.predict([photo])
    if not len(faces):
        return None
    sides = faces.roi_boxes[:, 2] - faces.roi_boxes[:, 0]
    faces = faces[np.argsort(-sides)]  # the largest first
    verts, triangles = faces.vertices, faces.triangles
    texture, _ = unwrap_texture(photo, verts[0], triangles, unwrapping)
    mean = net.model.mean_face
    pictures = {
        "3D face": draw_faces(photo, verts, triangles, fade=edge_fade(mean, triangles)),
        "landmarks": draw_landmarks(photo, faces),
        "head pose": draw_poses(photo, faces),
        "triangles": draw_wireframe(photo, verts, triangles),
        "depth": depth_picture(verts, triangles, photo.shape),
        "PNCC": pncc(verts, triangles, mean, photo.shape),
        "texture": texture,
    }
    pose = np.stack(faces.pose("exact"), axis=1).astype(float).round(1) + 0.0  # (N, 3), no -0.0
    mesh = mesh_from_photo(verts[0], faces.params[0], faces.roi_boxes[0])
    png = fileio.encode_image("texture.png", texture)
    return Analysis(
        pictures=pictures,
        poses=[[index, *angles] for index, angles in enumerate(pose.tolist(), start=1)],
        glb=glb_bytes(mesh, triangles, uv=unwrapping.uv, texture_png=png),
    )


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
    unwrapping = unwrap_model(net.model)

    def show(path: str | None) -> tuple:
        if path is None:
            raise gradio.Error("Choose a photo first.", print_exception=False)
        try:
            result = analyse(net, unwrapping, fileio.read_image(path))
        except fileio.InputError as error:
            raise gradio.Error(str(error), print_exception=False) from None
        if result is None:
            raise gradio.Error("No face found in this photo.", print_exception=False)
        glb = folder / f"{uuid.uuid4().hex[:8]}.glb"
        fileio.write_bytes(glb, result.glb)
        pictures = [(image[:, :, ::-1], caption) for caption, image in result.pictures.items()]
        return pictures, result.poses, str(glb), str(glb)

    with gradio.Blocks(title="SynergyNet", analytics_enabled=False) as page:
        gradio.Markdown("# SynergyNet: a 3D face from one photo")
        with gradio.Row():
            with gradio.Column():
                photo = gradio.Image(type="filepath", label="Photo", height=420)
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
                file = gradio.DownloadButton("Download the mesh (GLB)")
        button.click(show, photo, [pictures, poses, mesh, file], api_name="analyse")
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
        page = build_page(net, Path(folder))
        import gradio

        theme = gradio.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace"))
        page.launch(server_port=args.port, theme=theme, share=False, footer_links=["api"])
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
