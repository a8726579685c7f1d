/**
 * From a picture and a box to a face: what `SynergyNet.predict` does in Python.
 *
 *     const aligner = new Aligner(faceModel, network);
 *     const face = await aligner.find(picture, box, 1);
 *     face.landmarks; // (204,) photo px, interleaved x y z, y down
 */

import { cropToPhoto, roiBoxFromFaceBox, roundHalfEven, squareBoxFromLandmarks } from "./crop.js";
import { blackenBorder, networkCrop, networkInput } from "./crops.js";
import { decodePose, turnCrop, turnParamsBack, turnsToUpright } from "./pose.js";

// crops of `unsteadiness`, in sides of the face's own crop
const MOVED = [{ x: 0.12, y: 0.08, scale: 1 }, { x: -0.12, y: -0.08, scale: 1.15 }];

export class Aligner {
  /**
   * @param {FaceModel} model
   * @param network from (3 * 120 * 120) float32 to a promise of (62,) whitened parameters.
   */
  constructor(model, network) {
    Object.assign(this, { model, network });
  }

  /**
   * The face in a crop box.
   *
   * @param exact whether the box was cut around landmarks, as the training's were: such crops have
   *   the black border that the network was trained with.
   * @returns `roiBox`, `exact`, `params` (62,), `landmarks` (204,) in photo px, `pose` in degrees.
   */
  async look(picture, roiBox, exact) {
    const crop = networkCrop(picture, roiBox);
    if (exact) blackenBorder(crop, this.model.borderPx);
    const params = await this._regress(crop);
    const landmarks = cropToPhoto(this.model.landmarks(params), roiBox);
    return { roiBox, exact, params, landmarks, pose: decodePose(params) };
  }

  /** Look again, at the crop around the landmarks of an earlier look. */
  lookAround(picture, landmarks) {
    return this.look(picture, squareBoxFromLandmarks(landmarks), true);
  }

  /**
   * The face in a box around it; `refinements` is how many times it is looked at again. One is what
   * `refine_crop` does in Python.
   */
  async find(picture, faceBox, refinements) {
    let face = await this.look(picture, roiBoxFromFaceBox(faceBox), false);
    for (let i = 0; i < refinements; i++) face = await this.lookAround(picture, face.landmarks);
    return face;
  }

  /**
   * How far the landmarks move when the crop is moved, as a share of its side: the network settles
   * on a face that is there, and wanders where there is none. Two looks; one where that tells
   * already that it is above `most`.
   */
  async unsteadiness(picture, face, most = Infinity) {
    const [sx, sy, ex, ey] = squareBoxFromLandmarks(face.landmarks);
    const side = ex - sx;
    let sum = 0;
    for (const { x, y, scale } of MOVED) {
      const half = (side * scale) / 2;
      const [centreX, centreY] = [(sx + ex) / 2 + x * side, (sy + ey) / 2 + y * side];
      const box = [centreX - half, centreY - half, centreX + half, centreY + half];
      const { landmarks } = await this.look(picture, box.map(roundHalfEven), true);
      sum += meanDistance(landmarks, face.landmarks) / side / MOVED.length;
      if (sum > most) break;
    }
    return sum;
  }

  /** The dense face in photo px, (3V,) float32. */
  vertices(face) {
    return cropToPhoto(this.model.vertices(face.params), face.roiBox);
  }

  /** Real parameters of a crop; heads that lie are looked at again upright, as in Python. */
  async _regress(crop) {
    const see = async (pixels) => this.model.unwhiten(await this.network(networkInput(pixels)));
    const params = await see(crop);
    const turns = turnsToUpright(params);
    if (!turns) return params;
    const upright = await see(turnCrop(crop, turns));
    return turnsToUpright(upright) ? params : turnParamsBack(upright, turns);
  }
}

/** Mean distance of landmarks in the picture. */
function meanDistance(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 3) sum += Math.hypot(a[i] - b[i], a[i + 1] - b[i + 1]);
  return sum / (a.length / 3);
}
