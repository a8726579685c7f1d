/**
 * Crop boxes, and the map from crop to photo: `synergynet/geometry/crop.py`, in JavaScript.
 *
 * Boxes are [sx, sy, ex, ey] in photo px. Points are interleaved, x0 y0 z0 x1 ..., y down, z
 * towards the camera.
 */

export const IMG_SIZE = 120; // side of the network's crop, px
const CROP_FACTOR = Math.SQRT2; // side of the crop over the longer side of the landmarks' box
export const BOX_FACTOR = 1.2; // side of the crop over the height of a face's box

/** Rounding as numpy and OpenCV do it: halves go to the even neighbour. */
export function roundHalfEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The crop box around landmarks: their tight box's longer side times sqrt(2). */
export function squareBoxFromLandmarks(landmarks) {
  const [x0, y0, x1, y1] = tightBox(landmarks);
  return square(x0 + x1, y0 + y1, Math.max(x1 - x0, y1 - y0) * CROP_FACTOR);
}

/** The crop box around a face's box: 1.2 times its height. */
export function roiBoxFromFaceBox([x0, y0, x1, y1]) {
  return square(x0 + x1, y0 + y1, (y1 - y0) * BOX_FACTOR);
}

/** The box that just holds points. */
export function tightBox(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < points.length; i += 3) {
    box[0] = Math.min(box[0], points[i]);
    box[1] = Math.min(box[1], points[i + 1]);
    box[2] = Math.max(box[2], points[i]);
    box[3] = Math.max(box[3], points[i + 1]);
  }
  return box;
}

/** The box of whole numbers around a centre, which is given twice over. */
function square(twiceX, twiceY, side) {
  const x = roundHalfEven((twiceX - side) / 2);
  const y = roundHalfEven((twiceY - side) / 2);
  const whole = Math.max(roundHalfEven(side), 1);
  return [x, y, x + whole, y + whole];
}

/** Points of the 120-px crop in the photo, float32; z takes the mean of the two scales. */
export function cropToPhoto(points, [sx, sy, ex, ey]) {
  const [kx, ky] = [(ex - sx) / IMG_SIZE, (ey - sy) / IMG_SIZE];
  const moved = new Float32Array(points.length);
  for (let i = 0; i < points.length; i += 3) {
    moved[i] = points[i] * kx + sx;
    moved[i + 1] = points[i + 1] * ky + sy;
    moved[i + 2] = (points[i + 2] * (kx + ky)) / 2;
  }
  return moved;
}

/** Intersection over union of two boxes. */
export function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (!(width > 0 && height > 0)) return 0;
  const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
  return (width * height) / (area(a) + area(b) - width * height);
}
