"""One checkout's side of benchmarks/photo.py: runs the stages of a photo when it is told to.

    python benchmarks/photo_worker.py PHOTO OUTPUT

The checkout is the working directory: everything is imported from there, as its command does it,
with `synergynet/` or, in commits before that, with `singleImage.py`. Answers on stdout: names of
the stages as JSON, then a line of seconds for each name that it reads on stdin.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# modules with SynergyNet, readers and writers, the files of a photo, and Source
NOW = (
    *("synergynet", "synergynet.fileio"),
    *("synergynet.command.results", "synergynet.photos.sources"),
)
BEFORE = ("synergy3DMM", "utils.io", "singleImage", "utils.gallery")

Stages = dict[str, Callable[[], Any]]


def photo_stages(tree: Path, photo_file: str, output: Path) -> Stages:
    """The stages of the command from a photo's file to all files that are written, in order."""
    is_package = (tree / "synergynet" / "command").is_dir()
    package, *modules = NOW if is_package else BEFORE
    files, command, sources = map(importlib.import_module, modules)
    net = importlib.import_module(package).SynergyNet()
    picture = sources.Source(photo_file, Path(photo_file).stem)
    kinds = dict.fromkeys(("mesh_parts", "texture", "depth", "pncc", "save_crops"), False)
    wanted = argparse.Namespace(mesh=None, **kinds)
    surface = command.plan_surface(net.model if is_package else net, wanted)
    photo = files.read_image(photo_file)
    boxes = net.detect(photo)
    faces = net.predict([photo], [boxes])

    def write() -> None:
        fresh = dataclasses.replace(faces) if is_package else faces  # without what it has computed
        command.write_files(output, picture, photo, fresh, surface)
        if is_package:  # before, JSON was one of the files above
            description = command.describe_picture(picture, photo, fresh)
            files.write_json(output / "json" / f"{picture.name}.json", description)

    return {
        "read": lambda: files.read_image(photo_file),
        "detect": lambda: net.detect(photo),
        "crop, network, landmarks": lambda: net.predict([photo], [boxes]),
        "draw and write": write,
    }


def main() -> None:
    photo_file, output = sys.argv[1:]
    sys.path.insert(0, str(Path.cwd()))
    stages = photo_stages(Path.cwd(), photo_file, Path(output))
    print(json.dumps(list(stages)), flush=True)
    for line in sys.stdin:
        run = stages[line.strip()]
        start = time.perf_counter()
        run()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
