/**
 * Finding and following without a network, for tests/test_web.py: a made-up aligner knows where the
 * face of each frame is, sees it from nearby, and elsewhere sees something else every time.
 *
 *     node track.mjs
 *
 * Prints JSON: for each part of a film how many frames had the face, and what two searches found.
 */

import { Tracker, search } from "../src/tracking.js";
import { roiBoxFromFaceBox, squareBoxFromLandmarks } from "../src/crop.js";

const PICTURE = { width: 640, height: 480, reduced: () => PICTURE };
const FACE_PX = 120;
const NEARBY = 0.35; // of a crop's side: from there the face is seen
const FILM = [
  { name: "there", frames: 60, at: (i) => [200 + 2 * i, 200] },
  { name: "gone", frames: 60, at: () => null },
  { name: "back", frames: 60, at: () => [480, 330] },
];

/** 68 landmarks in a square around a centre, corners among them. */
function landmarksAt([x, y], side) {
  const points = new Float32Array(204);
  for (let i = 0; i < 68; i++) {
    points[3 * i] = x + side * ((i % 2) - 0.5);
    points[3 * i + 1] = y + side * (((i >> 1) % 2) - 0.5);
  }
  return points;
}

class MadeUpAligner {
  constructor() {
    this.seed = 1;
  }

  random() {
    this.seed = (this.seed * 16807) % 2147483647;
    return this.seed / 2147483647;
  }

  see([sx, sy, ex, ey]) {
    const side = ex - sx;
    const [x, y] = [(sx + ex) / 2, (sy + ey) / 2];
    const isNear = this.face
      && Math.hypot(x - this.face[0], y - this.face[1]) < NEARBY * side && side < 5 * FACE_PX;
    if (isNear) return { landmarks: landmarksAt(this.face, FACE_PX), isFace: true };
    const place = [x, y].map((value) => value + side * 0.4 * (this.random() - 0.5));
    return { landmarks: landmarksAt(place, side * (0.5 + 0.4 * this.random())), isFace: false };
  }

  async find(picture, square) {
    return this.see(roiBoxFromFaceBox(square));
  }

  async lookAround(picture, landmarks) {
    return this.see(squareBoxFromLandmarks(landmarks));
  }

  async unsteadiness(picture, face) {
    return face.isFace ? 0.01 : 0.1 + 0.2 * this.random();
  }
}

const aligner = new MadeUpAligner();
const tracker = new Tracker(aligner);
const answer = { parts: {} };
for (const { name, frames, at } of FILM) {
  answer.parts[name] = [];
  for (let i = 0; i < frames; i++) {
    aligner.face = at(i);
    const found = await tracker.step(PICTURE);
    answer.parts[name].push(!found ? "none" : found.isFace ? "face" : "other");
  }
}
aligner.face = [140, 110];
const shares = [];
const found = await search(aligner, PICTURE, async (share) => shares.push(share) > 0);
answer.found = { isFace: found.face.isFace, isSure: found.isSure, tries: shares.length };
aligner.face = null;
answer.none = { isSure: (await search(aligner, PICTURE, async () => true)).isSure };
answer.stopped = await search(aligner, PICTURE, async (share) => share < 0.2);
console.log(JSON.stringify(answer));
