"""How well ARKit's 52 blendshapes are found: on drawn heads whose facial actions are known.

    python benchmarks/blendshapes.py
    python benchmarks/blendshapes.py --calibrate    # after new weights; then demo/make_assets.py

Held-out people of the open generator show random facial actions and what people show to cameras,
half of each. The strengths that are fitted are correlated with the strengths that were drawn, name
by name: fitted to the labels' own 62 numbers, in which the 10 expression coefficients are exact,
and to what a network makes of the pictures. Nothing is downloaded.

`--photographs DATA`, a test set with landmarks as labels, compares what is found of jaw, mouth and
lids with how far lips are apart, mouths wide and eyes shut in those landmarks.

`--calibrate` first measures, on other people, what the network answers to expressions, and writes
that with the correlations into the open model's folder, from where weights are exported with it.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergynet import SynergyNet, fileio
from synergynet.blendshapes import (
    ARKIT_NAMES,
    LEAST_SPREAD,
    RELIABLE,
    FacialActions,
    arrays_of,
)
from synergynet.geometry.parameters import EXPR, IMG_SIZE
from synergynet.morphable_folder import ACTIONS_FILE, read_morphable_folder
from utils.data.evaluation_crops import EvaluationCrops
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.building.expressions import sample_displays, sample_facial_actions
from utils.synthetic.pictures import GeneratorSource, load_generator

BATCH = 100
MOST_YAW_DEG = 30  # of photographs; beyond, distances in the picture say little


def sample_strengths(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 52) strengths of ARKIT_NAMES, as the open model's expressions were sampled, faint to
    full; in random order."""
    random = sample_facial_actions(ARKIT_NAMES, count // 2, rng)
    shown = sample_displays(ARKIT_NAMES, count - count // 2, rng)
    strengths = rng.permutation(np.concatenate([random, shown]))
    return strengths * rng.uniform(0.4, 1, (count, 1))


def draw_faces(
    net: SynergyNet, expressions: np.ndarray, source: GeneratorSource, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of drawn heads with these expressions (N, 10): labels and the network's, (N, 62).

    Args:
        net: looks at the pictures.
        expressions: of one head each.
        source: of people and pictures.
        seed: of all else.
    """
    generator = load_generator(source)
    labels, found, crops = [], [], []
    for index, expression in enumerate(
        tqdm(expressions, desc="drawing", leave=False, disable=None)
    ):
        rng = np.random.default_rng((seed, index))
        shot = generator.shoot(rng, expression=expression)
        labels.append(shot.params)
        crops.append(generator.render(shot, rng))
        if len(crops) == BATCH or index == len(expressions) - 1:
            boxes = np.tile([0.0, 0, IMG_SIZE, IMG_SIZE], (len(crops), 1))
            faces = net.predict_crops(crops, np.arange(len(crops)), boxes, boxes, exact=True)
            found.append(faces.params)
            crops.clear()
    return np.array(labels), np.concatenate(found)


def correlations(fitted: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(52,) of the columns of two (N, 52); 0 where one of them is constant."""
    fitted, drawn = (x.astype(np.float64) - x.mean(axis=0) for x in (fitted, drawn))
    length = np.sqrt((fitted**2).sum(axis=0) * (drawn**2).sum(axis=0))
    product = (fitted * drawn).sum(axis=0)
    return np.divide(product, length, out=np.zeros_like(product), where=length > 1e-9)


def measure_answers(
    actions: FacialActions, strengths: np.ndarray, answers: np.ndarray
) -> FacialActions:
    """The actions with a network's answers (N, 10) to strengths (N, 52): linear regression.

    Each action's spread is the correlation with which it is found where all have the same, so that
    what is not seen stays at rest. `found` is left to other faces.
    """
    change = actions.expressions(strengths) - actions.rest
    basis = np.column_stack([np.ones(len(change)), change])
    fitted = np.linalg.lstsq(basis, answers.astype(np.float64), rcond=None)[0]  # (11, 10)
    errors = answers - basis @ fitted
    measured = dataclasses.replace(
        actions,
        answer_rest=fitted[0],
        answer_gain=fitted[1:],
        answer_noise=errors.T @ errors / (len(errors) - len(fitted)),
        spread=np.ones(len(actions.effects)),
    )
    spread = correlations(measured.fit(answers), strengths).clip(LEAST_SPREAD, 1)
    return dataclasses.replace(measured, spread=spread)


def look_at_photographs(
    net: SynergyNet, folder: str, most_yaw_deg: float = MOST_YAW_DEG
) -> tuple[int, dict[str, float]]:
    """Correlations of found blendshapes with distances in the labels' landmarks, of frontal faces.

    Args:
        net: looks at the crops.
        folder: a test set as `benchmark.py` reads it.
        most_yaw_deg: of |yaw| by the labels.
    Returns:
        how many faces, and the correlations by what was compared.
    """
    crops = EvaluationCrops(folder)
    rows = np.flatnonzero(np.abs(crops.labels.yaw_deg) < most_yaw_deg)
    if len(rows) < 3:
        raise fileio.InputError(f"{folder}: fewer than 3 faces turned less than {most_yaw_deg}")
    boxes = np.tile([0.0, 0, IMG_SIZE, IMG_SIZE], (len(rows), 1))
    pictures = [crops[row].numpy() for row in rows]
    found = net.predict_crops(pictures, np.arange(len(rows)), boxes, boxes, exact=True).blendshapes
    points = crops.labels.landmarks[rows, :2]  # (N, 2, 68)

    def apart(first: tuple[int, ...], second: tuple[int, ...]) -> np.ndarray:
        return np.linalg.norm(points[:, :, first] - points[:, :, second], axis=1).mean(axis=1)

    eyes = apart((36,), (45,))
    lids = apart((37, 38, 43, 44), (41, 40, 47, 46)) / apart((36, 42), (39, 45))
    measured = {
        ("jawOpen", "lips apart"): apart((61, 62, 63), (67, 66, 65)) / eyes,
        ("mouthSmileLeft", "mouth's width"): apart((48,), (54,)) / eyes,
        ("eyeBlinkLeft", "lids closed"): -lids,
    }
    return len(rows), {
        f"{name}, {what}": float(
            correlations(found[:, [ARKIT_NAMES.index(name)]], distance[:, None])[0]
        )
        for (name, what), distance in measured.items()
    }


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("-w", "--weights", help="ONNX file of export.py (default: the open weights)")
    add("--count", type=int, default=2000, help="faces (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--assets", metavar="FOLDER", help="MakeHuman's assets, to dress the heads with")
    add("--photographs", metavar="DATA", help="test set with landmarks, instead of drawn faces")
    add("--calibrate", action="store_true", help=f"measure the network, write {ACTIONS_FILE}")
    add("--output", default=OPEN_FOLDER, help="its folder (default: 3dmm_data/open)")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--count": 100, "--seed": 0})
    net = SynergyNet(args.weights)
    open_model = read_morphable_folder(OPEN_FOLDER)
    actions = open_model.actions
    needs_measured = args.photographs or not args.calibrate
    is_other = net.model.hash != open_model.hash
    if actions is None or is_other or (net.model.actions is None and needs_measured):
        raise fileio.InputError(f"{net.model.name}: has no facial actions; see {ACTIONS_FILE}")
    if args.photographs:
        count, by_name = look_at_photographs(net, args.photographs)
        print(f"{count} faces turned less than {MOST_YAW_DEG} degrees; correlations\n")
        print("\n".join(f"{what}: {correlation:.2f}" for what, correlation in by_name.items()))
        return 0
    exact = FacialActions.exact(actions.effects, actions.rest)
    rng = np.random.default_rng(args.seed)
    test, train = (sample_strengths(args.count, rng) for _ in range(2))
    people = [GeneratorSource.of(OPEN_FOLDER, held, args.assets, ()) for held in (True, False)]
    measured = net.model.actions
    if args.calibrate:
        seed = args.seed + 1
        _, found = draw_faces(net, exact.expressions(train), people[1], seed)
        measured = measure_answers(exact, train, found[:, EXPR])
    assert measured is not None
    labels, found = draw_faces(net, exact.expressions(test), people[0], args.seed)
    start = time.perf_counter()
    fitted = measured.fit(found[:, EXPR])
    ms = 1000 * (time.perf_counter() - start) / args.count
    of_label = correlations(exact.fit(labels[:, EXPR]), test)
    of_network = correlations(fitted, test)
    print_table(of_label, of_network, fitted.mean(axis=0), test.mean(axis=0))
    reliable = [n for n, r in zip(ARKIT_NAMES, of_network, strict=True) if r >= RELIABLE]
    print(f"\n{args.count} drawn faces; {ms:.2f} ms a face; reliable: {', '.join(reliable)}")
    if args.calibrate:
        path = Path(args.output) / ACTIONS_FILE
        fileio.write_arrays(path, arrays_of(dataclasses.replace(measured, found=of_network)))
        print(f"written: {path}")
    return 0


def print_table(
    of_label: np.ndarray, of_network: np.ndarray, fitted: np.ndarray, drawn: np.ndarray
) -> None:
    """Print correlations and mean strengths by name, all (52,); what is best found comes first."""
    print("| | of the labels | of the network | mean found | mean drawn |")
    print("|---|---:|---:|---:|---:|")
    for i in np.lexsort([-of_label, -of_network]):
        numbers = (of_label[i], of_network[i], fitted[i], drawn[i])
        print(f"| {ARKIT_NAMES[i]} | {' | '.join(f'{number:.2f}' for number in numbers)} |")


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
