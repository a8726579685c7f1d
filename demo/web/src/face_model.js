/**
 * The linear 3D face that the 62 numbers move: `synergynet/face_model.py`, in JavaScript.
 *
 * `pack_face_model.mjs` makes the two files that it is read from: face_model.json says what lies
 * where in face_model.bin. Landmarks have bases of their own in float32; those of all vertices are
 * rounded by less than 0.01 px of the crop.
 */

import { IMG_SIZE } from "./crop.js";

const N_POSE = 12;
const KINDS = {
  float32: Float32Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
};

export class FaceModel {
  /**
   * @param facts of face_model.json: `borderPx` of the network's crops, and for each array of the
   *   file its `kind`, `offset` in bytes and `length`.
   * @param {ArrayBuffer} bytes of face_model.bin.
   */
  constructor(facts, bytes) {
    this.borderPx = facts.borderPx;
    const arrays = {};
    for (const [name, { kind, offset, length }] of Object.entries(facts.arrays)) {
      arrays[name] = new KINDS[kind](bytes, offset, length);
    }
    this.paramMean = arrays.paramMean; // (62,)
    this.paramStd = arrays.paramStd; // (62,)
    this.triangles = arrays.triangles; // (3T,), counter-clockwise from outside
    this._landmarks = { mean: arrays.landmarkMean, bases: arrays.landmarkBases };
    const { basesLow, basesHigh } = arrays;
    const steps = Int16Array.from(basesLow, (low, i) => low | (basesHigh[i] << 8));
    this._vertices = { mean: arrays.mean, bases: steps };
    this._scales = arrays.baseScales; // (50,) micrometres a step
  }

  /** Real parameters of whitened ones: (62,) float64. */
  unwhiten(paramsW) {
    return Float64Array.from(paramsW, (value, i) => value * this.paramStd[i] + this.paramMean[i]);
  }

  /** The 68 landmarks in crop px, of real parameters. */
  landmarks(params) {
    return decodePoints(params, params.subarray(N_POSE), this._landmarks);
  }

  /** All vertices in crop px, of real parameters. */
  vertices(params) {
    const scaled = params.subarray(N_POSE).map((value, i) => value * this._scales[i]);
    return decodePoints(params, scaled, this._vertices);
  }
}

/**
 * `X = mean + bases a` in the model frame, `v = P X + t` in the crop with y up, then y = 121 - y.
 *
 * @param params whose first 12 are the camera.
 * @param a (50,) shape and expression.
 * @param mean (3N,) micrometres, interleaved.
 * @param bases (50, 3N), each coefficient's after the other's.
 * @returns (3N,) float64 crop px, y down.
 */
function decodePoints(params, a, { mean, bases }) {
  const points = Float64Array.from(mean);
  for (let k = 0, at = 0; k < a.length; k++) {
    for (let row = 0; row < points.length; row++, at++) points[row] += bases[at] * a[k];
  }
  const [p00, p01, p02, t0, p10, p11, p12, t1, p20, p21, p22, t2] = params;
  for (let i = 0; i < points.length; i += 3) {
    const [x, y, z] = [points[i], points[i + 1], points[i + 2]];
    points[i] = p00 * x + p01 * y + p02 * z + t0;
    points[i + 1] = IMG_SIZE + 1 - (p10 * x + p11 * y + p12 * z + t1);
    points[i + 2] = p20 * x + p21 * y + p22 * z + t2;
  }
  return points;
}
