"""Who is photographed, dressed how, in which light, behind what: decided before anything is drawn.

Every part of a picture draws from a random generator of its own. So a picture's facts are known
without drawing it, and an ingredient left out (`WITHOUT`) changes nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from utils.synthetic.portrait.appearance import Look
from utils.synthetic.portrait.light import EVEN_LIGHT, Lights
from utils.synthetic.portrait.scenery import sample_occluder
from utils.synthetic.portrait.wardrobe import Outfit, Wardrobe

BORDERS = 0.1  # share of pictures that end within the crop
GLANCES = 0.65  # share of people who look into the camera, if their eyes can turn as far


@dataclasses.dataclass(frozen=True)
class Scene:
    """What one picture shows.

    Attributes:
        look: the person; outfit: what is worn of the wardrobe, None where all is painted.
        lights: sky and lamps.
        occluder: what hides part of the face, of `scenery.OCCLUDERS`, or None.
        has_faults: of lens, sensor and file; without them the photograph is perfect.
        has_border: the photo ends within the crop.
        has_glance: the eyes turn to the camera, whichever way the head does.
        paint, surroundings, cover, camera, border: generators that draw each of these.
    """

    look: Look
    outfit: Outfit | None
    lights: Lights
    occluder: str | None
    has_faults: bool
    has_border: bool
    has_glance: bool
    paint: np.random.Generator
    surroundings: np.random.Generator
    cover: np.random.Generator
    camera: np.random.Generator
    border: np.random.Generator

    @property
    def skin(self) -> np.ndarray:
        """Mean colour of the skin, linear BGR (3,)."""
        return self.look.skin if self.outfit is None else self.outfit.skin_mean

    @classmethod
    def sample(cls, wardrobe: Wardrobe | None, rng: np.random.Generator) -> Scene:
        """A random scene; only the generators that `rng` spawns are drawn from."""
        person, light, paint, surroundings, cover, camera, border, glance = rng.spawn(8)
        look, outfit = Look.sample(person), None
        if wardrobe is not None:
            outfit, look = Outfit.sample(wardrobe, look, person)
        return cls(
            look=look,
            outfit=outfit,
            lights=Lights.sample(light),
            occluder=sample_occluder(cover),
            has_faults=True,
            has_border=border.random() < BORDERS,
            has_glance=glance.random() < GLANCES,
            paint=paint,
            surroundings=surroundings,
            cover=cover,
            camera=camera,
            border=border,
        )


def _bald(scene: Scene) -> Scene:
    look = dataclasses.replace(scene.look, has_hair=False, has_sheet=False)
    outfit = scene.outfit and dataclasses.replace(scene.outfit, garments=[])
    return dataclasses.replace(scene, look=look, outfit=outfit)


def _shaved(scene: Scene) -> Scene:
    look = dataclasses.replace(scene.look, beard=0.0, moustache=0.0)
    return dataclasses.replace(scene, look=look)


def _without_glasses(scene: Scene) -> Scene:
    return dataclasses.replace(scene, look=dataclasses.replace(scene.look, glasses=None))


WITHOUT: dict[str, Callable[[Scene], Scene]] = {
    "hair": _bald,  # and hats
    "beards": _shaved,
    "glasses": _without_glasses,
    "glances": lambda scene: dataclasses.replace(scene, has_glance=False),
    "occluders": lambda scene: dataclasses.replace(scene, occluder=None),
    "lighting": lambda scene: dataclasses.replace(scene, lights=EVEN_LIGHT),
    "faults": lambda scene: dataclasses.replace(scene, has_faults=False),
    "borders": lambda scene: dataclasses.replace(scene, has_border=False),
}
