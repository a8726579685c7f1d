"""Landmarks, head pose and a 3D face of everybody in your photos and videos.

    python singleImage.py -f photo.jpg
    python singleImage.py -f FOLDER 'more/*.png' --refine-crop --mesh glb
    python singleImage.py -f clip.mp4 webcam:0 --smooth
    torchrun --nproc-per-node 8 singleImage.py -f FOLDER --results-only --resume

The command `synergynet`, which takes checkpoints of PyTorch too: `-w best.pth.tar -d cuda`.
"""

from __future__ import annotations

import argparse
import sys

from synergy3DMM import SynergyNet
from synergynet.command.main import command
from synergynet.detection.detectors import Detector


def make_net(args: argparse.Namespace, detector: str | Detector) -> SynergyNet:
    """The network that the arguments name."""
    return SynergyNet(
        args.weights,
        args.device,
        args.morphable,
        detector,
        args.engine,
        refine_crop=args.refine_crop,
        arch=args.arch,
        whitening=args.whitening,
    )


if __name__ == "__main__":
    sys.exit(command(make_net=make_net))
