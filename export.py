"""Write a network as one file for other programs: ONNX, TorchScript or ExportedProgram.

    python export.py -w WEIGHTS --format runtime --output face.onnx   # for the package synergynet
    python export.py -w WEIGHTS --format onnx --with landmarks,pose --output face.onnx
    python export.py -w WEIGHTS --preprocess in-the-wild --output face.onnx   # uint8 photos in

The batch size stays free, and batch norms are folded. The file says what its input and outputs are,
their units, and which arch, morphable model and pre-processing it was made of: ONNX in its
metadata_props, the others in their extra file metadata.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model_building import SynergyNet
from synergynet import fileio
from utils.data.preprocessing import BENCHMARK, IN_THE_WILD
from utils.inference.arguments import add_network, network_files
from utils.inference.export import FORMATS, OUTPUTS, FaceGraph, write_for_runtime
from utils.inference.loading import load_model

RUNTIME = "runtime"
PREPROCESS = {"none": None, "benchmark": BENCHMARK, "in-the-wild": IN_THE_WILD}


def get_args_parser() -> argparse.ArgumentParser:
    outputs = "\n".join(f"  {name:<10} {text}" for name, text in OUTPUTS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"outputs:\n{outputs}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_network(parser, required=True)
    add(
        "--format",
        choices=[*FORMATS, RUNTIME],
        default="onnx",
        help=f"{RUNTIME}: FILE.onnx and FILE.npz for synergynet (default: %(default)s)",
    )
    add("--output", required=True, help="file to write, for instance face.onnx, face.pt, face.pt2")
    add(
        "--with",
        dest="decoded",
        default="",
        help="decoded outputs beside the parameters: any of landmarks,pose,vertices",
    )
    add(
        "--preprocess",
        choices=PREPROCESS,
        default="none",
        help="what the graph does to its images: none takes float ones that are pre-processed; the "
        "others take uint8 BGR, benchmark with the 5-px black border (default: %(default)s)",
    )
    fileio.add_debug(parser)
    return parser


def main(args: argparse.Namespace) -> int:
    decoded = [name for name in args.decoded.split(",") if name]
    fileio.make_output_folder(Path(args.output).parent)
    model = load_model(*network_files(args))
    if args.format == RUNTIME:
        return export_for_runtime(model, args)
    graph = FaceGraph(model, dict.fromkeys(["params", *decoded]), PREPROCESS[args.preprocess])
    with fileio.whole_file(args.output) as temporary:
        temporary.write_bytes(FORMATS[args.format](graph))
    metadata = graph.metadata()
    print(f"{args.output}: {args.format}, arch {metadata['arch']}, {metadata['preprocessing']}")
    for name, text in (metadata["inputs"] | metadata["outputs"]).items():
        print(f"  {name:<10} {text}")
    return 0


def export_for_runtime(model: SynergyNet, args: argparse.Namespace) -> int:
    """Write the two files of the package synergynet."""
    path = Path(args.output)
    if path.suffix != ".onnx" or args.decoded or args.preprocess != "none":
        raise fileio.InputError(
            f"--format {RUNTIME}: --output must end with .onnx; --with and --preprocess are for "
            f"the other formats"
        )
    write_for_runtime(model, path)
    print(f"{path} and {path.with_suffix('.npz').name}: synergynet -w {path} photo.jpg")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
