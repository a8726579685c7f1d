"""3D face alignment from photos and videos: landmarks, head pose and a 3D face.

    from synergynet import SynergyNet

    faces = SynergyNet().predict([cv2.imread("photo.jpg")])

Names are looked up when they are first used; importing the package alone loads nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synergynet.faces import Faces as Faces
    from synergynet.fileio import InputError as InputError
    from synergynet.geometry.pose import Pose as Pose
    from synergynet.net import SynergyNet as SynergyNet

__version__ = "0.2.0"
__all__ = ["Faces", "InputError", "Pose", "SynergyNet", "__version__"]

_HOMES = {
    "Faces": "synergynet.faces",
    "InputError": "synergynet.fileio",
    "Pose": "synergynet.geometry.pose",
    "SynergyNet": "synergynet.net",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'synergynet' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
