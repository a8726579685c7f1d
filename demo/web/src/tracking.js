/**
 * Finding a face without a detector, and following it from frame to frame.
 *
 * Following is what `synergynet/video/tracking.py` does between detections: a frame's crop is cut
 * around the landmarks of the frame before, and again where the face has moved far, as it does in
 * browsers that see few frames. What a detector would tell, the network tells itself:
 * squares of the picture are tried, and a face is where it settles (`Aligner.unsteadiness`).
 */

import { overlap, squareBoxFromLandmarks, tightBox } from "./crop.js";

// Bounds of `unsteadiness`. Of 200 photographed faces half move by 0.018, 90 % by less than 0.13;
// of what is seen in the same photos cut up and shuffled half by 0.2, 99 % by more than 0.045.
const STEADY = 0.025; // found: below it the search ends
const SURE = 0.05; // found, where MANY squares were no better
const MANY = 30;
const DOUBTFUL = 0.1; // followed: above it
const PATIENCE = 3; // doubts in a row; then the face is gone
const CHECK_EVERY = 10; // frames; also while there is doubt
const JUMPED = 0.3; // overlap of the landmarks' boxes of two frames
const FAR = 0.08; // of the crop's side: a face that moved so far is looked at again in its frame
const MOST_LOOKS = 3; // in one frame
const MIN_SIDE_PX = 8; // of a crop that can be a face
const SEARCHED_PX = 640; // longer side of the picture that is searched
const SETTLE = 3; // more looks at the face of a search
const SIDES = [0.6, 0.9, 0.4, 0.27]; // of the squares that are tried, in the picture's shorter side

/** The square [x0, y0, x1, y1] in the middle of a picture: where a face is looked for first. */
export function centredSquare({ width, height }, share = SIDES[0]) {
  const half = (Math.min(width, height) * share) / 2;
  return [width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half];
}

/** Squares all over a picture, each half a side from the next, those near the middle first. */
export function startSquares({ width, height }) {
  const squares = SIDES.flatMap((share) => {
    const side = Math.min(width, height) * share;
    const places = (length) => {
      const count = Math.ceil((length - side) / (side / 2)) + 1;
      const step = count > 1 ? (length - side) / (count - 1) : 0;
      return Array.from({ length: count }, (_, i) => (count > 1 ? i * step : (length - side) / 2));
    };
    return places(height).flatMap((y) => places(width).map((x) => [x, y, x + side, y + side]));
  });
  const away = ([x0, y0, x1, y1]) => Math.hypot(x0 + x1 - width, y0 + y1 - height) / (x1 - x0);
  return [centredSquare({ width, height }), ...squares.sort((a, b) => away(a) - away(b))];
}

/** Whether the crop around landmarks is centred in the picture and of a face's size. */
export function canBeCutOut(landmarks, { width, height }) {
  const [sx, sy, ex, ey] = squareBoxFromLandmarks(landmarks);
  const [x, y] = [(sx + ex) / 2, (sy + ey) / 2];
  const isCentred = x >= 0 && x < width && y >= 0 && y < height;
  return isCentred && ex - sx >= MIN_SIDE_PX && ex - sx <= 2 * Math.max(width, height);
}

/**
 * The face from one square, and how unsteady it is; what cannot be a face has Infinity.
 *
 * @returns {{face, unsteadiness: number}}
 */
async function tryOut(aligner, picture, square) {
  const face = await aligner.find(picture, square, 1);
  if (!canBeCutOut(face.landmarks, picture)) return { face, unsteadiness: Infinity };
  return { face, unsteadiness: await aligner.unsteadiness(picture, face, DOUBTFUL) };
}

/**
 * The steadiest face of a picture's squares; the search ends where one is steady enough.
 *
 * @param picture which can be `reduced`: a small copy is searched.
 * @param goOn awaited before every try with the share that is done; false ends the search, and
 *   there is no result.
 * @returns {{face, isSure: boolean}}
 */
export async function search(aligner, picture, goOn) {
  const small = picture.reduced(SEARCHED_PX);
  const squares = startSquares(small);
  let best = null;
  for (const [i, square] of squares.entries()) {
    if (!(await goOn(i / squares.length))) return null;
    const found = await tryOut(aligner, small, square);
    if (!best || found.unsteadiness < best.unsteadiness) best = found;
    if (best.unsteadiness < (i < MANY ? STEADY : SURE)) break;
  }
  const zoom = picture.width / small.width;
  let face = { landmarks: best.face.landmarks.map((value) => value * zoom) };
  for (let i = 0; i < SETTLE; i++) {
    face = await aligner.lookAround(picture, face.landmarks);
  }
  return { face, isSure: best.unsteadiness < SURE };
}

/** How far the crops around landmarks are apart, in sides of the first. */
function distance(landmarks, others) {
  const [a, b] = [landmarks, others].map(squareBoxFromLandmarks);
  return Math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 2 / (a[2] - a[0]);
}

/** Follows one face of a video. */
export class Tracker {
  constructor(aligner) {
    this.aligner = aligner;
    this.forget();
  }

  /** Begin again, at a square or wherever a face is found. */
  forget(square = null) {
    this.face = null;
    this._run = {}; // another one than that of a step that is under way
    this._tries = 0;
    this._lose();
    this._square = square;
  }

  _lose() {
    this._square = null;
    this._doubts = 0;
    this._sinceCheck = 0;
  }

  /**
   * The face in the next frame, or null.
   *
   * @returns as `Aligner.look`; `before` are the landmarks around which the crop was cut.
   */
  async step(picture) {
    const run = this._run;
    const face = await this._look(picture);
    if (run !== this._run) return null;
    if (!face) this._lose();
    this.face = face;
    return face;
  }

  async _look(picture) {
    const last = this.face?.landmarks ?? (await this._start(picture));
    if (!last) return null;
    let [face, before] = [null, null];
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      before = face?.landmarks ?? last;
      if (!canBeCutOut(before, picture)) return null;
      face = await this.aligner.lookAround(picture, before);
      if (distance(before, face.landmarks) < FAR) break;
    }
    const jumped = this.face && overlap(tightBox(last), tightBox(face.landmarks)) < JUMPED;
    return (await this._isGone(picture, face, jumped)) ? null : { ...face, before };
  }

  /** Landmarks to begin with: of the square that was asked for, or of one that shows a face. */
  async _start(picture) {
    if (this._square) return (await this.aligner.find(picture, this._square, 0)).landmarks;
    const squares = startSquares(picture); // one a frame, every other one the middle's
    const place = this._tries % 2 ? ((this._tries + 1) / 2) % squares.length : 0;
    this._tries++;
    const { face, unsteadiness } = await tryOut(this.aligner, picture, squares[place]);
    return unsteadiness < SURE ? face.landmarks : null;
  }

  async _isGone(picture, face, jumped) {
    this._sinceCheck++;
    if (!jumped && !this._doubts && this._sinceCheck < CHECK_EVERY) return false;
    this._sinceCheck = 0;
    const isDoubtful = (await this.aligner.unsteadiness(picture, face, DOUBTFUL)) > DOUBTFUL;
    this._doubts = isDoubtful ? this._doubts + 1 : 0;
    return this._doubts > PATIENCE;
  }
}
