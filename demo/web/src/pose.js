/**
 * The camera of a face and its angles, and crops of lying heads: `synergynet/geometry/camera.py`,
 * `pose.py` and `synergynet/photos/quarter_turns.py`, in JavaScript.
 *
 * A camera is the first 12 of the 62 real parameters: the rows of [s R | t], from the model frame
 * to the crop, y up. Angles are those of 300W-LP: R = Rx(pitch) Ry(yaw) Rz(roll), in degrees.
 */

import { IMG_SIZE } from "./crop.js";

const DEGREES = 180 / Math.PI; // per radian
const SMALL_COSINE = Math.sqrt(2 ** -52); // below it pitch and roll turn about one axis

/** R as three rows of three: rows 1 and 2 of a camera normalised, and their cross product. */
export function cameraRotation(params) {
  const rows = [params.slice(0, 3), params.slice(4, 7)].map((row) => {
    const length = Math.hypot(...row);
    return Array.from(row, (value) => value / length);
  });
  const [a, b] = rows;
  const cross = [
    a[1] * b[2] - a[2] * b[1],
    a[2] * b[0] - a[0] * b[2],
    a[0] * b[1] - a[1] * b[0],
  ];
  return [a, b, cross];
}

/** Yaw in [-90, 90], pitch and roll in (-180, 180] degrees; at yaw +-90 roll is 0. */
export function exactAngles(r) {
  const cosYaw = Math.hypot(r[0][0], r[0][1]);
  const yaw = Math.atan2(-r[0][2], cosYaw);
  const gimbal = cosYaw < SMALL_COSINE;
  const pitch = gimbal ? Math.atan2(-r[2][1], r[1][1]) : Math.atan2(r[1][2], r[2][2]);
  const roll = gimbal ? 0 : Math.atan2(r[0][1], r[0][0]);
  return { yaw: yaw * DEGREES, pitch: pitch * DEGREES, roll: roll * DEGREES };
}

/** Angles of real parameters. */
export function decodePose(params) {
  return exactAngles(cameraRotation(params));
}

/** Quarter turns, 0 to 3, of a crop that bring its head within 45 degrees of upright. */
export function turnsToUpright(params) {
  const quarters = Math.round((Math.atan2(params[1], params[5]) * DEGREES) / 90) || 0;
  return (quarters + 4) % 4;
}

/** A crop turned by quarter turns, counter-clockwise as `numpy.rot90` counts them. */
export function turnCrop(crop, turns) {
  const turned = new Uint8ClampedArray(crop.length);
  const last = IMG_SIZE - 1;
  for (let y = 0; y < IMG_SIZE; y++) {
    for (let x = 0; x < IMG_SIZE; x++) {
      const [fromX, fromY] = [[x, y], [last - y, x], [last - x, last - y], [y, last - x]][turns];
      const from = (fromY * IMG_SIZE + fromX) * 4;
      turned.set(crop.subarray(from, from + 4), (y * IMG_SIZE + x) * 4);
    }
  }
  return turned;
}

/**
 * Parameters found in a turned crop, as parameters of the crop itself.
 *
 * With p' = A p + d for points p, y down, and u = 121 - y, a camera [P | t] into (x, u, z) becomes
 * [M P | M t + e]; see `move_params` in synergynet/geometry/camera.py.
 */
export function turnParamsBack(params, turns) {
  const [a00, a01, a10, a11] = [[1, 0, 0, 1], [0, -1, 1, 0], [-1, 0, 0, -1], [0, 1, -1, 0]][turns];
  const [d0, d1] = [[0, 0], [1, 0], [1, 1], [0, 1]][turns].map((side) => side * IMG_SIZE);
  const top = IMG_SIZE + 1;
  const moved = Float64Array.from(params);
  for (let column = 0; column < 4; column++) {
    const [x, y] = [params[column], params[4 + column]];
    moved[column] = a00 * x - a01 * y;
    moved[4 + column] = -a10 * x + a11 * y;
  }
  moved[3] += top * a01 + d0;
  moved[7] += top - top * a11 - d1;
  return moved;
}
