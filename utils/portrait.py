"""Paints a posed head as a 120-px photograph: skin, hair, eyes, clothes, light, camera. No assets.

Everything is placed in *canonical* coordinates, the position on the mean head, which the rasteriser
carries to every pixel; so lips, brows and hairline follow identity, expression and pose by
themselves. Masks live on an atlas that unrolls the mean head like a cylinder: angle about the
vertical axis to the right, height upwards. Colours are linear light until the camera.

Frames: *model* micrometres, *canonical* millimetres about the point between the eyes, same axes;
*canvas* the supersampled crop, px, y down. `rng` decides everything that is random.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from utils.open_model import EYE_LEFT, EYE_RIGHT, MOUTH, PARTS, SKIN, TEETH, TONGUE, OpenHead
from utils.params import IMG_SIZE
from utils.rasterize import rasterize

SUPERSAMPLING = 1.6
CANVAS = int(IMG_SIZE * SUPERSAMPLING)
GAMMA = 2.2

CLOTH, HAIR = len(PARTS), len(PARTS) + 1  # shoulders and hanging hair are added here

ATLAS_WIDTH, ATLAS_HEIGHT = 1024, 512
ATLAS_TOP_MM, ATLAS_BOTTOM_MM = 140.0, -200.0

# sRGB skin tones from light to dark; neighbours are mixed.
_SKIN_TONES = np.array(
    [[252, 222, 205], [240, 196, 168], [226, 174, 138], [202, 146, 108],
     [168, 112, 78], [124, 78, 54], [88, 56, 42], [58, 38, 31]], np.float32)  # fmt: skip
_HAIR_COLOURS = np.array(
    [[18, 14, 13], [32, 23, 18], [58, 38, 25], [92, 60, 36],
     [142, 98, 56], [196, 158, 104], [120, 52, 26], [150, 148, 146]], np.float32)  # fmt: skip
_IRIS_COLOURS = np.array(
    [[52, 30, 16], [84, 52, 26], [110, 84, 42], [86, 104, 74], [82, 118, 150], [112, 128, 138]],
    np.float32)  # fmt: skip

# Hairline: height in mm above the eyes by angle from straight ahead, in degrees.
_HAIRLINE_DEG = np.array([0, 25, 48, 62, 72, 81, 88, 95, 122, 150, 180], np.float32)
_HAIRLINE_MM = np.array([66, 64, 55, 40, 24, 6, 10, 34, -30, -62, -70], np.float32)

# Hanging hair: a sheet around the back of the head, by the share of its length from the top.
_SHEET_COLUMNS, _SHEET_ROWS = 32, 9
_SHEET_TOP_MM, _SHEET_RADIUS_MM = 72.0, np.array([81.0, 97.0])  # half axes along x and z

# Shoulders: rings swept from the neck's rim, as factors on x and z and a drop in mm.
_SHOULDER_RINGS = ((1.0, 1.0, 8), (1.17, 1.15, -14), (1.25, 1.2, -13), (1.7, 1.25, 4),
                   (2.4, 1.35, 24), (3.1, 1.5, 46), (3.4, 1.5, 120), (3.4, 1.5, 320))  # fmt: skip


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB 0..255 to linear light 0..1, by a plain gamma."""
    return (np.clip(np.asarray(srgb, np.float32), 0, 255) / 255) ** GAMMA


class Studio:
    """A head with everything that does not change from picture to picture.

    Args:
        head: the whole head.
        landmarks: (68, 3) of its mean face, micrometres.
    """

    def __init__(self, head: OpenHead, landmarks: np.ndarray):
        self.origin = landmarks[36:48].mean(0) * (0, 1, 1)  # between the eyes, micrometres
        rim = _neck_rim(head)
        upper = (head.mean - self.origin)[:, 1:] / 1000
        upper = upper[(upper[:, 0] > 0) & (upper[:, 0] < 60), 1]
        self.axis_z = float(upper.min() + upper.max()) / 2  # mm
        shoulders, sheet = _shoulders(head.mean[rim]), self._sheet(head.mean, PLAIN_SHEET)
        mean = np.concatenate([head.mean, shoulders, sheet])
        self._rim = rim
        cloth = _shoulder_triangles(len(rim)) + len(head.mean)
        hair = _sheet_triangles() + len(head.mean) + len(shoulders)
        triangles = np.concatenate([head.triangles, cloth, hair])
        part = np.repeat(np.uint8([CLOTH, HAIR]), [len(cloth), len(hair)])
        part = np.concatenate([head.part, part])
        self._is_sheet = part == HAIR
        self._triangles = triangles
        self._incidence = csr_matrix(
            (np.ones(triangles.size), (triangles.ravel(), np.repeat(np.arange(len(triangles)), 3))),
            (len(mean), len(triangles)),
            dtype=np.float32,
        )
        # A vertex between two parts is drawn once for each: `part` is constant on triangles.
        corners = np.stack([triangles, np.repeat(part[:, None], 3, 1)], -1).reshape(-1, 2)
        drawn, rows = np.unique(corners, axis=0, return_inverse=True)
        self._drawn_vertex, self._drawn_part = drawn.T
        self._drawn_triangles = rows.reshape(-1, 3).astype(np.int32)

        self.canonical = ((mean - self.origin) / 1000).astype(np.float32)  # (N, 3) mm
        self._low = self.canonical.min(0)
        self._span = np.ptp(self.canonical, axis=0)
        self._drawn_canonical = ((self.canonical - self._low) / self._span)[self._drawn_vertex]
        self.landmarks = ((landmarks - self.origin) / 1000).astype(np.float32)  # (68, 3) mm
        self.angle = self._angle(self.canonical)
        eyes = [np.unique(head.triangles[head.part == eye]) for eye in (EYE_LEFT, EYE_RIGHT)]
        self._eyes = eyes
        self._eye_centre = np.stack([self.canonical[eye].mean(0) for eye in eyes])  # (2, 3)
        self._bridge = int(np.linalg.norm(head.mean - landmarks[27], axis=1).argmin())
        self._is_skin = np.zeros(len(mean), bool)
        self._is_skin[head.triangles[head.part == SKIN]] = True
        self._atlas = _static_atlas(self)
        self._noise = _noise_bank()

    # ------------------------------------------------------------ coordinates

    def _angle(self, canonical: np.ndarray) -> np.ndarray:
        """Angle about the vertical axis, 0 straight ahead, positive to the subject's left."""
        return np.arctan2(canonical[..., 0], canonical[..., 2] - self.axis_z)

    def to_atlas(self, canonical: np.ndarray) -> np.ndarray:
        """Atlas px (..., 2) float32 of canonical points (..., 3)."""
        return _atlas_px(self._angle(canonical), canonical[..., 1])

    # ------------------------------------------------------------ one picture

    def render(self, verts_model: np.ndarray, camera: np.ndarray, rng: np.random.Generator):
        """Photograph one head.

        Args:
            verts_model: (N, 3) the head's vertices, micrometres.
            camera: (3, 4) real pose block [s R | t]; crop px, y up.
            rng: makes every choice.
        Returns:
            (120, 120, 3) uint8 BGR.
        """
        look = Look.sample(rng)
        surface = self._rasterize(verts_model, camera, look)
        canvas = np.zeros((CANVAS * CANVAS, 4), np.float32)
        canvas[surface.index, :3] = self._shade(surface, look, rng).T
        canvas[surface.index, 3] = 1
        canvas = canvas.reshape(CANVAS, CANVAS, 4)
        if look.glasses is not None:
            self._put_on_glasses(canvas, surface, verts_model, camera, look.glasses)
        small = cv2.resize(canvas, (IMG_SIZE, IMG_SIZE), interpolation=cv2.INTER_AREA)
        picture = small[..., :3] + (1 - small[..., 3:]) * background(rng)
        return photograph(occlude(picture, rng), rng)

    def _rasterize(self, verts_model: np.ndarray, camera: np.ndarray, look: Look) -> Surface:
        shoulders = _shoulders(verts_model[self._rim])
        sheet = self._sheet(verts_model, look.sheet)
        verts = np.concatenate([verts_model, shoulders, sheet]).astype(np.float32)
        hair = self._hair_height(self.angle, self.canonical[:, 1], look)
        hair = np.where(self._is_skin, np.clip(hair / 14, 0, 1), 0).astype(np.float32)  # (N,)
        px_per_um = float(np.linalg.norm(camera[0, :3]))
        flip = np.array([1, -1, 1], np.float32)
        posed = ((verts @ camera[:, :3].T + camera[:, 3]) * flip).astype(np.float32)
        posed[:, 1] += IMG_SIZE + 1
        normals = self._normals(posed)
        if look.has_hair:
            wave = np.sin(self.canonical @ look.hair_wave + look.hair_phase).mean(1)
            thickness = look.hair_thickness * (1 + look.hair_curl * wave)
            posed += normals * (hair * thickness * 1000 * px_per_um)[:, None]
            normals = self._normals(posed)
        posed *= SUPERSAMPLING
        (ax, bx, cx), (ay, by, cy) = (posed[:, axis][self._triangles.T] for axis in (0, 1))
        facing = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0
        if not look.has_sheet:
            facing &= ~self._is_sheet
        triangles = self._drawn_triangles[facing]
        drawn = posed[self._drawn_vertex]
        canonical, depth = rasterize(drawn, triangles, self._drawn_canonical, CANVAS, CANVAS)
        attributes = np.empty((len(drawn), 3), np.float32)
        attributes[:, :2] = normals[self._drawn_vertex, :2] * 0.5 + 0.5
        attributes[:, 2] = self._drawn_part / 8
        second, _ = rasterize(drawn, triangles, attributes, CANVAS, CANVAS)
        mask = depth > -np.inf
        index = np.flatnonzero(mask)
        canonical = canonical.reshape(-1, 3)[index] * self._span + self._low
        second = np.ascontiguousarray(second.reshape(-1, 3)[index].T)
        normal = second * 2 - 1
        normal[2] = np.sqrt(np.clip(1 - normal[0] ** 2 - normal[1] ** 2, 0.01, 1))
        px_per_mm = SUPERSAMPLING * px_per_um * 1000
        return Surface(
            index=index,
            mask=mask,
            depth_mm=np.where(mask, depth / px_per_mm, 0).astype(np.float32),
            mm_px=1 / px_per_mm,
            canonical=np.ascontiguousarray(canonical.T),
            angle=self._angle(canonical),
            normal=normal,
            part=np.rint(second[2] * 8).astype(np.uint8),
        )

    def _normals(self, posed: np.ndarray) -> np.ndarray:
        """Vertex normals (N, 3) in the picture's axes: x right, y down, z towards the viewer."""
        corner = posed[self._triangles]  # (T, 3, 3)
        a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        face = -np.stack(  # the y axis points down, which mirrors the winding
            [
                a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1],
                a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2],
                a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
            ],
            1,
        )
        normals = self._incidence @ face
        return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)

    def _hair_height(self, angle: np.ndarray, height: np.ndarray, look: Look) -> np.ndarray:
        """How far (mm) a canonical point lies above the hairline; negative below it."""
        line = np.interp(np.abs(angle), np.radians(_HAIRLINE_DEG), look.hairline)
        side = np.sign(angle) * look.hair_parting * np.clip(1.2 - np.abs(angle), 0, 1)
        return (height - line - side).astype(np.float32)

    def _sheet(self, verts_model: np.ndarray, sheet: Sheet) -> np.ndarray:
        """Hanging hair, its outside and its inside: (2 R C, 3) micrometres."""
        down = np.linspace(0, 1, _SHEET_ROWS)[:, None]  # (R, 1)
        around = np.linspace(-1, 1, _SHEET_COLUMNS)[None]  # (1, C)
        angle = np.pi + around * (np.pi - sheet.start - sheet.sway * down)
        wave = np.sin(around * sheet.waves + np.array([0, 1.7]).reshape(2, 1, 1)).sum(0)
        height = _SHEET_TOP_MM - down * (_SHEET_TOP_MM + sheet.length_mm + 9 * wave)
        swell = np.interp(down, [0, 0.2, 0.45, 1], [0.72, 1.0, 1.1, sheet.flare]) * sheet.width
        swell = swell * (1 + sheet.folds * np.sin(around * 23 + 3 * down))
        wide = np.abs(verts_model[:, 0]).max() / 1000 / 97  # this person's head against the mean's
        x = np.sin(angle) * swell * _SHEET_RADIUS_MM[0] * wide
        z = np.cos(angle) * swell * _SHEET_RADIUS_MM[1] + self.axis_z
        points = np.stack([x, height + 0 * x, z], -1).reshape(-1, 3)
        return np.tile(points * 1000 + self.origin, (2, 1)).astype(np.float32)

    # ------------------------------------------------------------ glasses

    def _put_on_glasses(
        self,
        canvas: np.ndarray,
        surface: Surface,
        verts_model: np.ndarray,
        camera: np.ndarray,
        glasses: Glasses,
    ) -> None:
        """Draw lenses, rims, bridge and temples on the canvas (C, C, 4) where nothing is nearer."""
        eyes = np.stack([verts_model[eye].mean(0) for eye in self._eyes]) / 1000  # (2, 3) mm
        front = verts_model[self._bridge, 2] / 1000 + glasses.distance_mm
        half_width = min(glasses.half_width_mm, eyes[0, 0] - 5)
        half_height = half_width * glasses.aspect
        ear = np.array([0.83 * np.abs(verts_model[:, 0]).max() / 1000, 0, self.axis_z])
        ear[1:] += self.origin[1:] / 1000 + (4, 6)
        turn = np.linspace(0, 2 * np.pi, 33)
        cosine, sine = np.cos(turn), np.sin(turn)
        loop = np.stack(
            [
                half_width * np.sign(cosine) * np.abs(cosine) ** glasses.roundness,
                half_height * np.sign(sine) * np.abs(sine) ** glasses.roundness,
                0 * turn,
            ],
            1,
        )
        lenses, lines = [], []
        for eye in eyes:
            side = np.sign(eye[0])
            centre = np.array([eye[0] + 2 * side, eye[1] + glasses.height_mm, front])
            lens = centre + loop
            lens[:, 2] -= 0.0022 * lens[:, 0] ** 2  # frames curve around the face
            lenses.append(lens)
            hinge = lens[lens[:, 0].argmax() if side > 0 else lens[:, 0].argmin()]
            hinge = hinge + np.array([0, 0.4 * half_height, 0])
            lines += [lens, np.linspace(hinge, ear * (side, 1, 1), 9)]
        inner = np.stack([lenses[0][lenses[0][:, 0].argmin()], lenses[1][lenses[1][:, 0].argmax()]])
        lines.append(
            resample(np.stack([inner[0], inner.mean(0) + np.array([0, 2, 2]), inner[1]]), 7)
        )

        def project(points: np.ndarray) -> np.ndarray:
            posed = points * 1000 @ camera[:, :3].T + camera[:, 3]
            return (posed * (1, -1, 1) + (0, IMG_SIZE + 1, 0)) * SUPERSAMPLING

        near = np.full(surface.mask.shape, -1e4, np.float32)  # depth of what is drawn, px
        cover = np.zeros(surface.mask.shape, np.uint8)
        behind = np.where(surface.mask, surface.depth_mm, -1e4) - 2  # mm
        for lens in map(project, lenses):
            plane, *_ = np.linalg.lstsq(np.insert(lens[:, :2], 2, 1, 1), lens[:, 2], rcond=1e-4)
            cover[:] = 0
            cv2.fillPoly(cover, [_fixed(lens[:, :2])], 255, cv2.LINE_AA, _SHIFT)
            rows, columns = np.nonzero(cover)
            depth = columns * plane[0] + rows * plane[1] + plane[2]
            visible = depth * surface.mm_px > behind[rows, columns]
            rows, columns = rows[visible], columns[visible]
            opacity = cover[rows, columns, None] * np.float32(glasses.tint / 255)
            glare = glasses.glare * np.clip(
                1 - np.abs((columns - lens[:, 0].mean()) * 0.1 + glasses.glare_shift), 0, 1
            )
            tinted = glasses.tint_colour * canvas[rows, columns, 3:] + glare[:, None]
            canvas[rows, columns, :3] += opacity * (tinted - canvas[rows, columns, :3])
        cover[:] = 0
        width = max(round(glasses.rim_mm / surface.mm_px), 1)
        for line in map(project, lines):
            _polyline(cover, line[:, :2], 255, width)
            for start, end in itertools.pairwise(line):
                a, b = (tuple(map(int, point[:2])) for point in (start, end))
                cv2.line(near, a, b, float(start[2] + end[2]) / 2, width + 2)
        rows, columns = np.nonzero((cover > 0) & (near * surface.mm_px > behind))
        opacity = cover[rows, columns, None] * np.float32(1 / 255)
        under = canvas[rows, columns]
        frame = np.append(glasses.colour, 1).astype(np.float32)
        canvas[rows, columns] = under + opacity * (frame - under)

    # ------------------------------------------------------------ colour

    def _shade(self, surface: Surface, look: Look, rng: np.random.Generator) -> np.ndarray:
        """Linear colour (3, M) of the covered pixels."""
        material = Material.of(len(surface.part))
        self._paint_skin(material, surface, look, rng)
        if look.has_hair:
            self._paint_hair(material, surface, look, rng)
        self._paint_eyes(material, surface, look)
        self._paint_mouth(material, surface, look)
        self._paint_cloth(material, surface, look, rng)
        light, shine = illuminate(surface, material, rng)
        cavity = np.flatnonzero((surface.part >= MOUTH) & (surface.part <= TEETH))
        light[:, cavity] *= look.mouth_light
        shine[:, cavity] *= 0.3
        return material.albedo * light + shine

    def _paint_skin(
        self, material: Material, surface: Surface, look: Look, rng: np.random.Generator
    ) -> None:
        x, y, _ = surface.canonical
        column, row = _atlas_px(surface.angle, y).T.astype(np.int32)
        row, column = np.clip(row, 0, ATLAS_HEIGHT - 1), np.clip(column, 0, ATLAS_WIDTH - 1)
        at = row * ATLAS_WIDTH + column
        masks = self._atlas[:, at] * np.float32(1 / 255)
        lips, lid, socket, crease, blush, stubble, t_zone, moustache = masks
        brows, lashes = (
            layer.reshape(-1)[at] * np.float32(1 / 255) for layer in self._draw_hairs(look, rng)
        )
        noise = self._sample_noise(x * 1.1, y * 1.1, rng)
        coarse = self._sample_noise(x * 0.25, y * 0.25, rng)
        grain = self._sample_noise(x * 4, y * 4, rng)
        tone = 1 + look.skin_blotches * (0.35 * noise + 0.65 * coarse) + 0.03 * grain
        red = look.redness * (blush + 0.5 * lid) + 0.04 * noise
        shade = look.socket_shade * socket + look.wrinkles * crease
        if look.freckles > 0:
            spots = np.clip(self._sample_noise(x * 3.2, y * 3.2, rng) * 2.2 - 1.6, 0, 1)
            shade += look.freckles * spots * blush
        skin = material.albedo
        for channel in range(3):
            skin[channel] = (
                tone
                * (look.skin[channel] * (1 - red * _REDDENING[channel]))
                * (1 - shade * _SHADOWING[channel])
            )
        _blend(skin, lips * look.lip_strength * (1 + 0.1 * noise), look.lip_colour)
        if look.eye_shadow > 0:
            _blend(skin, lid * look.eye_shadow, look.eye_shadow_colour)
        if look.beard > 0:
            strands = np.clip(0.75 + 0.9 * self._sample_noise(x * 3, y * 1.6, rng), 0, 1.2)
            cover = (stubble * look.beard + moustache * look.moustache) * strands
            _blend(skin, np.minimum(cover, 0.96) * (1 - lips), look.beard_colour)
        _blend(skin, brows, look.brow_colour)
        _blend(skin, lashes * look.lash_strength, _LASH)
        material.gloss[:] = look.skin_gloss * (0.5 + t_zone) * (1 + lips)
        material.sharpness[:] = look.skin_sharpness

    def _paint_hair(
        self, material: Material, surface: Surface, look: Look, rng: np.random.Generator
    ) -> None:
        x, y, _ = surface.canonical
        coarse = self._sample_noise(x * 0.25, y * 0.25, rng)
        across = surface.angle * 600 + y * look.strand_slant + 6 * coarse * look.hair_curl
        strand = self._sample_noise(across * look.strand_density, y * 0.25, rng)
        height = self._hair_height(surface.angle, y, look)
        cover = np.clip(0.5 + (height + look.hair_edge * (strand + coarse)) / 6, 0, 1)
        cover = np.where(surface.part == SKIN, cover * look.hair_opacity, surface.part == HAIR)
        cover = cover.astype(np.float32)
        tone = np.clip(0.8 + 0.55 * strand + 0.25 * coarse, 0.2, 2)
        _blend(material.albedo, cover, look.hair_colour, tone)
        gleam = look.hair_gloss * np.clip(0.4 + strand, 0, 1)
        material.gloss[:] += cover * (gleam - material.gloss)
        material.sharpness[:] += cover * (_HAIR_SHARPNESS - material.sharpness)

    def _paint_eyes(self, material: Material, surface: Surface, look: Look) -> None:
        """Sclera, iris and pupil by the distance from the eye's axis."""
        for part, centre in zip((EYE_LEFT, EYE_RIGHT), self._eye_centre, strict=True):
            inside = np.flatnonzero(surface.part == part)
            outward = surface.canonical[:, inside] - centre[:, None]
            radius = np.linalg.norm(outward, axis=0) + 1e-6
            cosine = look.gaze @ outward / radius
            across = np.sqrt(np.clip(1 - cosine**2, 0, 1)) * radius  # mm
            across = np.where(cosine > 0, across, radius)
            veins = 1 - 0.015 * np.clip(across - look.iris_radius, 0, 9) * _REDDENING[:, None]
            fibres = 0.75 + 0.5 * np.clip(across / look.iris_radius, 0, 1) ** 2
            limbus = 1 - 0.65 * np.clip((across - look.iris_radius) / 1.2 + 1, 0, 1)
            pupil = np.clip((across - look.pupil_radius) / 0.6 + 0.5, 0, 1)
            colour = look.iris[:, None] * (fibres * limbus * pupil) + 0.003
            edge = np.clip((across - look.iris_radius) / 0.7 + 0.5, 0, 1)
            sclera = look.sclera[:, None] * veins
            lid_shadow = 1 - 0.55 * np.clip((outward[1] - 1.5) / 4.5, 0, 1)
            material.albedo[:, inside] = (colour + edge * (sclera - colour)) * lid_shadow
            material.gloss[inside] = look.eye_gloss
            material.sharpness[inside] = _EYE_SHARPNESS

    def _paint_mouth(self, material: Material, surface: Surface, look: Look) -> None:
        for part, colour, gloss in ((MOUTH, _MOUTH, 0.1), (TONGUE, _TONGUE, 0.2)):
            inside = np.flatnonzero(surface.part == part)
            material.albedo[:, inside] = colour[:, None]
            material.gloss[inside] = gloss
        inside = np.flatnonzero(surface.part == TEETH)
        gaps = np.clip(np.cos(surface.canonical[0, inside] * (2 * np.pi / 7.5)) * 8 - 7, 0, 1)
        material.albedo[:, inside] = look.teeth[:, None] * (1 - 0.25 * gaps)
        material.gloss[inside] = 0.25

    def _paint_cloth(
        self, material: Material, surface: Surface, look: Look, rng: np.random.Generator
    ) -> None:
        inside = np.flatnonzero(surface.part == CLOTH)
        x, y, _ = surface.canonical[:, inside] * look.cloth_scale
        weave = 1 + look.cloth_pattern * self._sample_noise(x, y, rng)
        material.albedo[:, inside] = look.cloth[:, None] * weave
        material.gloss[inside] = 0.02

    def _draw_hairs(self, look: Look, rng: np.random.Generator) -> np.ndarray:
        """Brow hairs and lashes on the atlas, (H, W, 2) uint8."""
        brows = np.zeros((ATLAS_HEIGHT, ATLAS_WIDTH), np.uint8)
        lashes = np.zeros_like(brows)
        for points, outward in ((self.landmarks[17:22][::-1], -1), (self.landmarks[22:27], 1)):
            curve = self.to_atlas(resample(points, 24))  # from the nose outwards
            _draw_brow(brows, curve, outward, look, rng)
        for corners in ((36, 37, 38, 39), (42, 43, 44, 45)):
            upper = self.to_atlas(resample(self.landmarks[list(corners)], 12))
            upper[:, 1] -= 0.6
            _polyline(lashes, upper, 255, look.lash_width)
        for corners in ((39, 40, 41, 36), (45, 46, 47, 42)):
            lower = self.to_atlas(resample(self.landmarks[list(corners)], 12))
            _polyline(lashes, lower, int(255 * look.lower_lash), 1)
        brows = cv2.GaussianBlur(brows, (3, 3), 0.7)
        lashes = cv2.GaussianBlur(lashes, (3, 3), 0.8)
        return brows, lashes

    def _sample_noise(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Smooth noise of unit deviation at points (M,), detail from 1 to 64 units."""
        shift_x, shift_y = rng.uniform(1000, 2000, 2)
        column = (x + np.float32(shift_x)).astype(np.int32) & 511
        row = (y + np.float32(shift_y)).astype(np.int32) & 511
        return self._noise[row * 512 + column]


@dataclasses.dataclass(frozen=True)
class Surface:
    """What the rasteriser saw on a canvas of C x C pixels, M of them covered.

    Attributes:
        index: (M,) of the covered pixels in the flat canvas; mask: (C, C) the same.
        depth_mm: (C, C) towards the viewer, 0 where nothing is; mm_px: millimetres per pixel.
        canonical: (3, M) mm; angle: (M,) radians about the vertical axis, 0 straight ahead.
        normal: (3, M) x right, y down, z towards the viewer.
        part: (M,) PARTS, CLOTH or HAIR.
    """

    index: np.ndarray
    mask: np.ndarray
    depth_mm: np.ndarray
    mm_px: float
    canonical: np.ndarray
    angle: np.ndarray
    normal: np.ndarray
    part: np.ndarray


@dataclasses.dataclass(frozen=True)
class Material:
    """How M surface points reflect light: albedo (3, M) linear BGR; gloss and sharpness (M,)."""

    albedo: np.ndarray
    gloss: np.ndarray
    sharpness: np.ndarray

    @classmethod
    def of(cls, count: int) -> Material:
        """An unpainted material."""
        return cls(*(np.empty(shape, np.float32) for shape in ((3, count), count, count)))


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Form of hanging hair: the angle (radians) from the front where it begins, how it falls."""

    start: float
    sway: float
    length_mm: float
    width: float
    flare: float
    folds: float
    waves: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Sheet:
        """Random hanging hair."""
        return cls(
            start=rng.uniform(1.05, 1.75),
            sway=rng.normal(0, 0.15),
            length_mm=rng.uniform(70, 260),
            width=rng.uniform(0.97, 1.15),
            flare=rng.uniform(0.85, 1.3),
            folds=rng.uniform(0, 0.05),
            waves=rng.uniform(3, 11),
        )


@dataclasses.dataclass(frozen=True)
class Glasses:
    """Form and colour of glasses; tint 0 is clear, 1 opaque."""

    half_width_mm: float
    aspect: float
    roundness: float
    height_mm: float
    distance_mm: float
    rim_mm: float
    colour: np.ndarray
    tint: float
    tint_colour: np.ndarray
    glare: float
    glare_shift: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Glasses:
        """Random glasses, a third of them sunglasses."""
        dark = rng.random() < 0.33
        return cls(
            half_width_mm=rng.uniform(21, 29),
            aspect=rng.uniform(0.55, 0.95),
            roundness=rng.uniform(0.45, 1.0),
            height_mm=rng.uniform(-6, 0),
            distance_mm=rng.uniform(2, 6),
            rim_mm=rng.uniform(0.7, 4.0),
            colour=linear(rng.uniform(5, 110) + rng.beta(1, 3) * rng.uniform(-80, 80, 3)),
            tint=rng.uniform(0.55, 0.97) if dark else rng.uniform(0.0, 0.2),
            tint_colour=linear(rng.uniform(5, 60) + rng.uniform(-15, 25, 3)),
            glare=rng.uniform(0, 0.5),
            glare_shift=rng.uniform(-1.5, 1.5),
        )


PLAIN_SHEET = Sheet(start=1.4, sway=0, length_mm=200, width=1, flare=1, folds=0, waves=0)


@dataclasses.dataclass(frozen=True)
class Look:
    """Everything about a person's appearance that is a number; colours are linear BGR."""

    skin: np.ndarray
    skin_blotches: float
    skin_gloss: float
    skin_sharpness: float
    redness: float
    socket_shade: float
    wrinkles: float
    freckles: float
    lip_colour: np.ndarray
    lip_strength: float
    eye_shadow: float
    eye_shadow_colour: np.ndarray
    has_hair: bool
    hairline: np.ndarray
    hair_parting: float
    has_sheet: bool
    sheet: Sheet
    hair_thickness: float
    hair_curl: float
    hair_wave: np.ndarray
    hair_phase: np.ndarray
    hair_edge: float
    hair_opacity: float
    hair_gloss: float
    hair_colour: np.ndarray
    strand_density: float
    strand_slant: float
    beard: float
    moustache: float
    beard_colour: np.ndarray
    brow_colour: np.ndarray
    brow_density: float
    brow_width_mm: float
    brow_lift_mm: float
    lash_strength: float
    lash_width: int
    lower_lash: float
    sclera: np.ndarray
    eye_gloss: float
    iris: np.ndarray
    iris_radius: float
    pupil_radius: float
    gaze: np.ndarray
    teeth: np.ndarray
    mouth_light: float
    glasses: Glasses | None
    cloth: np.ndarray
    cloth_pattern: float
    cloth_scale: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Look:
        """A random person."""
        tone = rng.uniform(0, 1) ** 1.3 * (len(_SKIN_TONES) - 1)
        skin_srgb = _between(_SKIN_TONES, tone) * rng.uniform(0.94, 1.04, 3)
        skin = linear(skin_srgb)[::-1]
        dark = tone / (len(_SKIN_TONES) - 1)
        feminine = rng.random() < 0.5
        make_up = feminine and rng.random() < 0.5
        hair_range = (0, 3.2) if dark > 0.55 else (0, len(_HAIR_COLOURS) - 1)
        hair_srgb = _between(_HAIR_COLOURS, rng.uniform(*hair_range)) * rng.uniform(0.93, 1.07, 3)
        hair = linear(hair_srgb)[::-1]
        long_hair = rng.random() < (0.65 if feminine else 0.08)
        hairline = _HAIRLINE_MM + rng.normal(0, 4, 11)
        hairline[:4] += rng.normal(0, 6)
        if rng.random() < 0.3:
            hairline[:4] -= rng.uniform(5, 36)  # a fringe
        elif not feminine and rng.random() < 0.3:
            hairline[:6] += rng.uniform(5, 40)  # receding
        bearded = not feminine and rng.random() < 0.55
        beard = rng.choice([rng.uniform(0.1, 0.4), rng.uniform(0.5, 1.0)]) if bearded else 0.0
        brow = hair * rng.uniform(0.5, 1.0) if rng.random() < 0.8 else linear([20, 26, 34])
        yaw, pitch = rng.normal(0, 0.22), rng.normal(-0.02, 0.12)
        gaze = np.array([np.sin(yaw), np.sin(pitch), 1.0])
        lip = skin * np.array([0.60, 0.46, 0.78])
        if make_up and rng.random() < 0.6:
            lip = linear([rng.uniform(30, 120), rng.uniform(20, 90), rng.uniform(120, 220)])
        return cls(
            skin=skin.astype(np.float32),
            skin_blotches=rng.uniform(0.02, 0.13),
            skin_gloss=rng.gamma(1.5, 0.05),
            skin_sharpness=rng.uniform(8, 36),
            redness=rng.uniform(0.05, 0.45) * (1 - 0.5 * dark),
            socket_shade=rng.uniform(0.1, 0.6),
            wrinkles=rng.beta(1.2, 2.5) * 0.8,
            freckles=rng.uniform(0.2, 0.7) if rng.random() < 0.12 else 0.0,
            lip_colour=lip.astype(np.float32),
            lip_strength=rng.uniform(0.5, 0.95),
            eye_shadow=rng.uniform(0.1, 0.6) if make_up else 0.0,
            eye_shadow_colour=linear(rng.uniform(10, 140, 3)),
            has_hair=rng.random() < (0.98 if feminine else 0.86),
            hairline=hairline.astype(np.float32),
            hair_parting=rng.normal(0, 9),
            has_sheet=long_hair,
            sheet=Sheet.sample(rng),
            hair_thickness=rng.uniform(2, 14) if not long_hair else rng.uniform(5, 18),
            hair_curl=rng.uniform(0, 0.4),
            hair_wave=rng.normal(0, 0.07, (3, 4)).astype(np.float32),
            hair_phase=rng.uniform(0, 6.28, 4).astype(np.float32),
            hair_edge=rng.uniform(2, 6),
            hair_opacity=rng.uniform(0.9, 1.0) if rng.random() < 0.85 else rng.uniform(0.3, 0.8),
            hair_gloss=rng.uniform(0, 0.25),
            hair_colour=hair.astype(np.float32),
            strand_density=rng.uniform(0.6, 2.0),
            strand_slant=rng.normal(0, 0.5),
            beard=beard,
            moustache=beard * rng.uniform(0.6, 1.1),
            beard_colour=(hair * rng.uniform(0.5, 1.0)).astype(np.float32),
            brow_colour=brow.astype(np.float32),
            brow_density=rng.uniform(0.35, 1.0),
            brow_width_mm=rng.uniform(4.0, 9.0) * (0.8 if feminine else 1.1),
            brow_lift_mm=rng.normal(-2.5, 0.8),
            lash_strength=rng.uniform(0.75, 1.0) if feminine else rng.uniform(0.4, 0.85),
            lash_width=int(rng.integers(2, 5)) if make_up else int(rng.integers(1, 3)),
            lower_lash=rng.uniform(0.2, 0.9) if make_up else rng.uniform(0, 0.4),
            iris=linear(_between(_IRIS_COLOURS, rng.uniform(0, 1.6 if dark > 0.5 else 5))[::-1]),
            sclera=linear(np.array([164, 168, 178]) * rng.uniform(0.75, 1.12)),
            eye_gloss=rng.uniform(0.1, 0.8),
            iris_radius=rng.uniform(5.8, 6.8),
            pupil_radius=rng.uniform(1.6, 3.2),
            gaze=(gaze / np.linalg.norm(gaze)).astype(np.float32),
            teeth=linear(np.array([186, 206, 214]) * rng.uniform(0.85, 1.12)),
            mouth_light=rng.uniform(0.35, 0.8),
            glasses=Glasses.sample(rng) if rng.random() < 0.14 else None,
            cloth=linear(rng.uniform(8, 245) + rng.beta(1, 1.5) * rng.uniform(-90, 90, 3)),
            cloth_pattern=rng.uniform(0, 0.35),
            cloth_scale=rng.uniform(0.3, 3),
        )


_REDDENING = np.array([0.75, 0.62, 0.08], np.float32)
_SHADOWING = np.array([0.85, 0.75, 0.62], np.float32)
_LASH = linear([14, 13, 16])
_EYE_SHARPNESS, _HAIR_SHARPNESS = 90.0, 18.0
_MOUTH = linear([34, 26, 70])
_TONGUE = linear([98, 92, 178])


def _between(table: np.ndarray, position: float) -> np.ndarray:
    """Row of a table at a fractional position."""
    low = int(min(position, len(table) - 1.001))
    return table[low] + (position - low) * (table[low + 1] - table[low])


def _blend(
    under: np.ndarray, alpha: np.ndarray, colour: np.ndarray, tone: np.ndarray | float = 1
) -> None:
    """Paint a colour (3,) times tone (M,) on `under` (3, M) with opacity alpha (M,), in place."""
    for channel in range(3):
        under[channel] += alpha * (colour[channel] * tone - under[channel])


# ---------------------------------------------------------------- light


def illuminate(
    surface: Surface, material: Material, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Diffuse and specular light (3, M) on the surface.

    Hemispheric ambient light with occlusion from the depth map, and one to three lamps: wrapped
    diffuse light, Blinn-Phong highlights, and for the first lamp a shadow marched through the depth
    map.
    """
    normal = surface.normal
    occlusion = ambient_occlusion(surface)
    log_gloss = np.log(material.gloss + 1e-6)
    facing_up = rng.uniform(0.15, 0.75) * (0.75 - 0.25 * normal[1])
    light = facing_up * occlusion * _lamp_colour(rng, 0.08)[:, None]  # (3, M)
    shine = np.zeros_like(light)
    for lamp in range(1 + rng.binomial(2, 0.45)):
        azimuth, elevation = rng.normal(0, 1.5 if lamp else 0.9), rng.normal(0.45, 0.45)
        z = np.cos(azimuth) * np.cos(elevation)
        towards = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), z], np.float32)
        strength = rng.uniform(0.1, 0.6) if lamp else rng.uniform(0.45, 1.3)
        colour = strength * _lamp_colour(rng, 0.12)[:, None]
        wrap = rng.uniform(0.05, 0.4)
        diffuse = np.clip((towards @ normal + wrap) / (1 + wrap), 0, None)
        if lamp == 0:
            diffuse *= 1 - rng.uniform(0.3, 0.9) * cast_shadow(surface, towards)
        light += diffuse * (0.55 + 0.45 * occlusion) * colour
        half = towards + np.array([0, 0, 1], np.float32)
        facing = np.clip((half / np.linalg.norm(half)) @ normal, 1e-3, 1)
        highlight = np.exp(np.log(facing) * material.sharpness + log_gloss)
        shine += highlight * occlusion * (0.6 * colour)
    return light, shine


def _lamp_colour(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Linear BGR near white, mostly between warm and cool."""
    warmth = rng.normal(0, spread)
    colour = np.array([1 - warmth, 1.0, 1 + warmth]) + rng.normal(0, spread / 4, 3)
    return np.clip(colour, 0.3, 2).astype(np.float32)


def ambient_occlusion(surface: Surface) -> np.ndarray:
    """Light that reaches hollows (M,), 0 to 1: by how far a point lies behind the mean depth around
    it, at two sizes."""
    depth, weight = surface.depth_mm, surface.mask.astype(np.float32)
    own = depth.reshape(-1)[surface.index]
    occlusion = np.ones_like(own)
    for radius_mm, full_mm, strength in ((7, 5.0, 0.45), (22, 16.0, 0.4)):
        size = max(int(radius_mm / surface.mm_px) | 1, 3)
        around = cv2.blur(depth, (size, size)) / (cv2.blur(weight, (size, size)) + 1e-3)
        behind = around.reshape(-1)[surface.index] - own
        occlusion *= 1 - strength * np.clip(behind / full_mm, 0, 1)
    return occlusion


def cast_shadow(surface: Surface, towards: np.ndarray) -> np.ndarray:
    """Share of a lamp's light (M,) that nearer surface keeps off, marching through the depth map.

    Args:
        surface: what the light falls on.
        towards: (3,) unit vector to the lamp, y down.
    """
    shadow = np.zeros_like(surface.depth_mm)
    depth = np.where(surface.mask, surface.depth_mm, np.float32(-1e4))
    lateral = max(float(np.hypot(towards[0], towards[1])), 0.1)
    for distance_mm in (5, 10, 17, 26, 38, 55):
        dx, dy = np.rint(towards[:2] / lateral * distance_mm / surface.mm_px).astype(int)
        rise_mm = distance_mm * max(float(towards[2]), 0.05) / lateral
        source, target = _overlap(depth.shape, dx, dy)
        above = depth[source] - depth[target] - rise_mm
        # What is much nearer than the ray is a separate thing that light passes behind.
        above = np.clip((above - 1) / 4, 0, 1) * (above < 45)
        np.maximum(shadow[target], above, out=shadow[target])
    return cv2.blur(shadow, (5, 5)).reshape(-1)[surface.index]


def _overlap(shape: tuple[int, int], dx: int, dy: int):
    """Slices that pair each pixel (second) with the one (dx, dy) away from it (first)."""
    height, width = shape

    def pair(shift: int, size: int) -> tuple[slice, slice]:
        shift = int(np.clip(shift, 1 - size, size - 1))
        if shift >= 0:
            return slice(shift, size), slice(0, size - shift)
        return slice(0, size + shift), slice(-shift, size)

    (sy, ty), (sx, tx) = pair(dy, height), pair(dx, width)
    return (sy, sx), (ty, tx)


# ---------------------------------------------------------------- atlas


def _atlas_px(angle: np.ndarray, height_mm: np.ndarray) -> np.ndarray:
    x = (angle * (0.5 / np.pi) + 0.5) * ATLAS_WIDTH
    y = (ATLAS_TOP_MM - height_mm) * (ATLAS_HEIGHT / (ATLAS_TOP_MM - ATLAS_BOTTOM_MM))
    return np.stack([x, y], -1).astype(np.float32)


ATLAS_PX_PER_MM = ATLAS_HEIGHT / (ATLAS_TOP_MM - ATLAS_BOTTOM_MM)


def _static_atlas(studio: Studio) -> tuple[np.ndarray, np.ndarray]:
    """Masks that belong to the mean head, two (H, W, 4) uint8 atlases: lips, lids, eye sockets,
    creases; blush, stubble, T zone, moustache."""
    marks = studio.landmarks

    def empty() -> np.ndarray:
        return np.zeros((ATLAS_HEIGHT, ATLAS_WIDTH), np.uint8)

    def soft(mask: np.ndarray, sigma_mm: float) -> np.ndarray:
        return cv2.GaussianBlur(mask, (0, 0), sigma_mm * ATLAS_PX_PER_MM)

    def filled(points: np.ndarray, sigma_mm: float) -> np.ndarray:
        mask = empty()
        cv2.fillPoly(mask, [_fixed(studio.to_atlas(points))], 255, cv2.LINE_AA, _SHIFT)
        return soft(mask, sigma_mm)

    def line(points: np.ndarray, width_px: int, sigma_mm: float) -> np.ndarray:
        mask = empty()
        _polyline(mask, studio.to_atlas(resample(points, 24)), 255, width_px)
        return soft(mask, sigma_mm)

    def spot(centre: np.ndarray, axes_mm: tuple[float, float], sigma_mm: float) -> np.ndarray:
        mask = empty()
        x, y = studio.to_atlas(centre)
        per_mm = ATLAS_WIDTH / (2 * np.pi * np.hypot(centre[0], centre[2] - studio.axis_z))
        axes = int(axes_mm[0] * per_mm), int(axes_mm[1] * ATLAS_PX_PER_MM)
        cv2.ellipse(mask, (int(x), int(y)), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        return soft(mask, sigma_mm)

    def union(*masks: np.ndarray) -> np.ndarray:
        return functools.reduce(cv2.max, masks)

    up, out = np.array([0, 1, 0], np.float32), np.array([1, 0, 0], np.float32)
    lips = filled(resample(marks[[*range(48, 60), 48]], 60), 0.6)
    eyes = [marks[36:42], marks[42:48]]
    lids = union(*(spot(eye.mean(0) + 4 * up, (17, 9), 2.0) for eye in eyes))
    sockets = union(*(spot(eye.mean(0) + 1 * up, (21, 12), 5.0) for eye in eyes))
    creases = [line(eye[:4] + np.array([0, 5, 0]), 1, 0.9) for eye in (eyes[0], eyes[1])]
    bags = [line(eye[[3, 4, 5, 0]] - 6 * up, 2, 1.6) for eye in eyes]
    folds = [
        line(
            np.stack([marks[wing] + sign * 4 * out, marks[corner] + sign * 9 * out + 6 * up]),
            2,
            1.8,
        )
        for wing, corner, sign in ((31, 48, -1), (35, 54, 1))
    ]
    cheeks = [
        spot(marks[eye] * (1.05, 0, 1) + (marks[33, 1] + 6) * up, (20, 15), 8) for eye in (36, 45)
    ]
    nose = spot(marks[30], (14, 10), 5)
    jaw = [marks[k] for k in range(2, 15)]
    low_face = filled(np.array([*jaw, marks[54] + 12 * out, marks[54] + 4 * up + 6 * out,
                                marks[33] - 2 * up, marks[48] + 4 * up - 6 * out,
                                marks[48] - 12 * out]), 5)  # fmt: skip
    below_jaw = filled(np.array([*jaw, *(point - 16 * up for point in jaw[::-1])]), 6)
    moustache = line(
        np.stack([marks[48] + 2 * up, marks[50] + 4 * up, marks[51] + 4 * up,
                  marks[52] + 4 * up, marks[54] + 2 * up]), 12, 2.0)  # fmt: skip
    t_zone = union(spot(marks[29], (8, 22), 4), spot(marks[27] + 30 * up, (34, 14), 9))
    wrinkles, blush, stubble = (
        union(*creases, *bags, *folds),
        union(*cheeks, nose),
        union(low_face, below_jaw),
    )
    layers = (lips, lids, sockets, wrinkles, blush, stubble, t_zone, moustache)
    return np.stack([layer.reshape(-1) for layer in layers])


def _draw_brow(atlas: np.ndarray, curve: np.ndarray, outward: int, look: Look,
               rng: np.random.Generator) -> None:  # fmt: skip
    """Hairs of one brow along a curve (24, 2) atlas px that runs outwards from the nose."""
    width = look.brow_width_mm * ATLAS_PX_PER_MM
    curve = curve - (0, look.brow_lift_mm * ATLAS_PX_PER_MM)
    count = int(170 * (0.5 + look.brow_density))
    along = rng.beta(1.0, 1.15, count)
    thickness = width * np.interp(along, [0, 0.15, 0.6, 1], [0.75, 1.0, 0.85, 0.25])
    position = along * (len(curve) - 1)
    low = position.astype(int).clip(0, len(curve) - 2)
    root = curve[low] + (position - low)[:, None] * (curve[low + 1] - curve[low])
    root[:, 1] += thickness * rng.uniform(-0.5, 0.5, count)
    lean = np.interp(along, [0, 0.3, 0.7, 1], [1.2, 0.7, 0.15, -0.2]) + rng.normal(0, 0.2, count)
    length = rng.uniform(3.0, 6.5, count) * ATLAS_PX_PER_MM * 0.8
    tip = root + length[:, None] * np.stack([outward * np.cos(lean), -np.sin(lean)], 1)
    base = np.zeros_like(atlas)
    cv2.polylines(base, [_fixed(curve)], False, int(140 * look.brow_density),
                  max(int(width * 0.6), 1), cv2.LINE_AA, _SHIFT)  # fmt: skip
    x0, y0 = np.maximum(curve.min(0) - 24, 0).astype(int)
    x1, y1 = (curve.max(0) + 24).astype(int)
    patch = atlas[y0:y1, x0:x1]
    np.maximum(patch, cv2.GaussianBlur(base[y0:y1, x0:x1], (0, 0), 1.5), out=patch)
    strokes = list(_fixed(np.stack([root, tip], 1)))
    cv2.polylines(atlas, strokes, False, int(120 + 130 * look.brow_density), 1, cv2.LINE_AA, _SHIFT)


_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _polyline(image: np.ndarray, points: np.ndarray, value: int, width: int) -> None:
    cv2.polylines(image, [_fixed(points)], False, value, width, cv2.LINE_AA, _SHIFT)


def resample(points: np.ndarray, count: int) -> np.ndarray:
    """A smooth curve through points (K, D) as (count, D): Catmull-Rom."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, len(points) - 1, count)
    k = np.minimum(t.astype(int), len(points) - 2)
    f = (t - k)[:, None]
    p0, p1, p2, p3 = (padded[k + i] for i in range(4))
    curve = 2 * p1 + (p2 - p0) * f + (2 * p0 - 5 * p1 + 4 * p2 - p3) * f**2
    return (0.5 * (curve + (3 * p1 - p0 - 3 * p2 + p3) * f**3)).astype(np.float32)


def _noise_bank() -> np.ndarray:
    """(512 * 512,) float32 noise of several octaves that tiles; unit deviation."""
    rng = np.random.default_rng(2021)
    noise = np.zeros((512, 512), np.float32)
    for octave in range(6):
        size = 512 >> (octave + 1) if octave else 512
        grid = rng.standard_normal((max(size // 2, 8),) * 2).astype(np.float32)
        tiled = np.pad(grid, 4, mode="wrap")
        scale = 512 // len(grid)
        large = cv2.resize(tiled, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        noise += large[4 * scale : -4 * scale, 4 * scale : -4 * scale] * 1.6**octave
    return (noise / noise.std()).astype(np.float32).reshape(-1)


# ---------------------------------------------------------------- shoulders


def _neck_rim(head: OpenHead) -> np.ndarray:
    """Vertices on the lower edge of the neck, in order around it."""
    skin = head.triangles[head.part == SKIN]
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    known = set(map(tuple, edges.tolist()))
    following = {a: b for a, b in edges.tolist() if (b, a) not in known}
    lowest = min(following, key=lambda vertex: head.mean[vertex, 1])
    rim = [lowest]
    while (vertex := following.get(rim[-1])) not in (None, lowest) and len(rim) < 1000:
        rim.append(vertex)
    return np.array(rim)


def _shoulders(rim: np.ndarray) -> np.ndarray:
    """Rings of vertices (R * K, 3) micrometres that sweep the neck's rim (K, 3) out and down."""
    centre = rim.mean(0)
    rings = [
        centre + (rim - centre) * (x, 0.3, z) - (0, drop * 1000, 0)
        for x, z, drop in _SHOULDER_RINGS
    ]
    return np.concatenate(rings).astype(np.float32)


def _shoulder_triangles(count: int) -> np.ndarray:
    """Triangles (T, 3) of consecutive rings of `count` vertices, seen from outside."""
    rings = len(_SHOULDER_RINGS)
    here = np.arange((rings - 1) * count).reshape(rings - 1, count)
    following = np.roll(here, -1, 1)
    a, b, c, d = here, following, here + count, following + count
    return np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)], 1).reshape(-1, 3)


def _sheet_triangles() -> np.ndarray:
    """Triangles (T, 3) of hanging hair, outside and inside."""
    grid = np.arange(_SHEET_ROWS * _SHEET_COLUMNS).reshape(_SHEET_ROWS, _SHEET_COLUMNS)
    a, b, c, d = (
        part.ravel() for part in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:])
    )
    outside = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    return np.concatenate([outside, outside[:, ::-1] + grid.size])


# ---------------------------------------------------------------- scene and camera


def background(rng: np.random.Generator) -> np.ndarray:
    """(120, 120, 3) linear: gradients, blobs, stripes, checks, shapes, blurred."""
    size = IMG_SIZE

    def colour() -> np.ndarray:
        grey = rng.uniform(5, 235)
        spread = rng.choice([8, 40, 90])
        return linear(grey + rng.normal(0, spread, 3))

    cells = int(rng.choice([2, 3, 5, 9, 16]))
    base = colour()
    grid = np.clip(base * np.exp(rng.normal(0, rng.uniform(0.1, 0.9), (cells, cells, 1)))
                   + rng.normal(0, 0.06, (cells, cells, 3)), 0, 1).astype(np.float32)  # fmt: skip
    picture = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.2:
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        turn, period = rng.uniform(0, np.pi), rng.uniform(4, 50)
        wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * (2 * np.pi / period))
        if rng.random() < 0.4:
            wave *= np.sin((y * np.cos(turn) - x * np.sin(turn)) * (2 * np.pi / period))
        picture += (np.sign(wave) * rng.uniform(0.1, 0.6))[..., None] * (colour() - base)
    picture = np.ascontiguousarray(np.clip(picture, 0, 1))
    for _ in range(rng.poisson(4) if rng.random() < 0.7 else 0):
        _draw_shape(picture, colour(), rng.uniform(3, 60), rng)
    if rng.random() < 0.75:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.gamma(2, 1.6) + 0.3)
    return picture * rng.uniform(0.3, 1.3)


def _draw_shape(picture: np.ndarray, colour: np.ndarray, size: float,
                rng: np.random.Generator) -> None:  # fmt: skip
    """An ellipse, a polygon or a line somewhere."""
    x, y = (int(v) for v in rng.uniform(-10, IMG_SIZE + 10, 2))
    paint = [float(c) for c in colour]
    kind = rng.integers(4)
    if kind == 0:
        axes = int(size / 2) + 1, int(size * rng.uniform(0.2, 0.6)) + 1
        cv2.ellipse(picture, (x, y), axes, rng.uniform(0, 180), 0, 360, paint, -1, cv2.LINE_AA)
    elif kind == 1:
        turn = rng.uniform(0, 2 * np.pi)
        to = int(x + 200 * np.cos(turn)), int(y + 200 * np.sin(turn))
        cv2.line(picture, (x, y), to, paint, int(rng.integers(1, 12)), cv2.LINE_AA)
    else:
        corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
        spokes = size * rng.uniform(0.5, 1, len(corners))
        points = np.stack([x + spokes * np.cos(corners), y + spokes * np.sin(corners)], 1)
        cv2.fillPoly(picture, [points.astype(np.int32)], paint, cv2.LINE_AA)


def occlude(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sometimes something hides part of the face."""
    if rng.random() < 0.12:
        picture = np.ascontiguousarray(picture)
        for _ in range(rng.integers(1, 3)):
            tone = _between(_SKIN_TONES, rng.uniform(0, 6))[::-1]
            colour = linear(tone if rng.random() < 0.4 else rng.uniform(5, 240, 3))
            _draw_shape(picture, colour * rng.uniform(0.3, 1), rng.uniform(12, 38), rng)
    return picture


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camera and file: blur, white balance, exposure, tone curve, noise, JPEG.

    Args:
        picture: (120, 120, 3) linear BGR.
    Returns:
        (120, 120, 3) uint8.
    """
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.25, 0.9))
    if rng.random() < 0.12:  # enlarged from a small picture
        small = int(rng.uniform(40, 100))
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (IMG_SIZE, IMG_SIZE), interpolation=cv2.INTER_LINEAR)
    middle = picture[24:96, 24:96].mean() + 0.02
    exposure = rng.uniform(0.13, 0.36) / middle
    picture = picture * (exposure ** rng.uniform(0.4, 0.9) * rng.uniform(0.75, 1.25))
    picture = picture * (1 + rng.normal(0, 0.06, 3).astype(np.float32))
    if rng.random() < 0.1:
        weights = rng.dirichlet([4, 6, 6])
        picture = np.repeat((picture @ weights.astype(np.float32))[..., None], 3, 2)
    picture = np.clip(picture, 0, None)
    picture = picture / (1 + picture * 0.25) * 1.2  # soft shoulder
    picture = np.clip(picture, 0, 1) ** (1 / GAMMA * rng.uniform(0.85, 1.15))
    contrast = rng.uniform(0.85, 1.15)
    picture = (picture - 0.45) * contrast + 0.45
    noise = rng.gamma(1.5, 0.008)
    picture = picture + rng.standard_normal(picture.shape, np.float32) * noise
    result = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(30, 90))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    return result
