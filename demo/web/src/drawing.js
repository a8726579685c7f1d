/**
 * Lines over a picture: landmarks, pose and boxes, as `synergynet/drawing/` draws them.
 *
 * Everything is drawn in px of the picture, where whole numbers are pixel centres; the canvas is
 * scaled to that. Widths are made for crops of 480 px on the screen.
 */

import { cameraRotation } from "./pose.js";

const RUNS = [ // of the 68 landmarks that are joined by lines: first, last, closed
  [0, 16, false], [17, 21, false], [22, 26, false], [27, 30, false], [31, 35, false],
  [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true],
];
const NOSE_TIP = 30;
const LANDMARKS = "#3cdc78";
const BOX = "#fac83c";
const SQUARE = "#ffffff";
const AXES = ["#eb3c3c", "#46c846", "#2882eb"]; // x, y, z
const BOX_MARGIN = 0.06; // around the landmarks, of their size

/**
 * Draw what was found.
 *
 * @param context whose transform maps px of the picture to the canvas.
 * @param scale of that transform.
 * @param shown which of `landmarks`, `pose`, `crop` to draw.
 */
export function drawFace(context, face, scale, shown) {
  const side = face.roiBox[2] - face.roiBox[0];
  const unit = Math.max((side * scale) / 480, 0.3) / scale; // px of the picture
  context.save();
  context.translate(0.5, 0.5);
  context.lineJoin = context.lineCap = "round";
  if (shown.crop) drawSquare(context, face.roiBox, scale, true);
  if (shown.pose) {
    const rotation = cameraRotation(face.params);
    drawPoseBox(context, face.landmarks, rotation, unit);
    drawAxes(context, face.landmarks, rotation, side / 3, unit);
  }
  if (shown.landmarks) drawLandmarks(context, face.landmarks, unit);
  context.restore();
}

/** A square, dashed where it is the network's crop and not the user's. */
export function drawSquare(context, [x0, y0, x1, y1], scale, dashed) {
  context.save();
  context.lineWidth = (dashed ? 1.5 : 2.5) / scale;
  context.setLineDash(dashed ? [6 / scale, 5 / scale] : []);
  context.shadowColor = "black";
  context.shadowBlur = 3;
  context.strokeStyle = SQUARE;
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  context.restore();
}

function drawLandmarks(context, points, unit) {
  const path = new Path2D();
  for (const [first, last, closed] of RUNS) {
    path.moveTo(points[3 * first], points[3 * first + 1]);
    for (let i = first + 1; i <= last; i++) path.lineTo(points[3 * i], points[3 * i + 1]);
    if (closed) path.lineTo(points[3 * first], points[3 * first + 1]);
  }
  stroke(context, path, "rgba(0, 0, 0, 0.6)", 4 * unit);
  stroke(context, path, LANDMARKS, 2 * unit);
  context.fillStyle = "white";
  for (let i = 0; i < points.length; i += 3) {
    context.beginPath();
    context.arc(points[i], points[i + 1], 2.6 * unit, 0, 2 * Math.PI);
    context.fill();
  }
}

/** Axes at the nose: x to the head's left, y down, z out of the face. */
function drawAxes(context, points, rotation, length, unit) {
  const [x, y] = [points[3 * NOSE_TIP], points[3 * NOSE_TIP + 1]];
  const order = [0, 1, 2].sort((a, b) => depthOf(a) - depthOf(b)); // nearest last
  function depthOf(axis) {
    return rotation[2][axis] * (axis === 1 ? -1 : 1);
  }
  for (const axis of order) {
    const sign = axis === 1 ? -1 : 1;
    const path = new Path2D();
    path.moveTo(x, y);
    path.lineTo(x + sign * rotation[0][axis] * length, y - sign * rotation[1][axis] * length);
    stroke(context, path, "rgba(0, 0, 0, 0.6)", 5.5 * unit);
    stroke(context, path, AXES[axis], 3.5 * unit);
  }
}

/** A box around the head, turned as it is; its front is drawn thicker. */
function drawPoseBox(context, points, rotation, unit) {
  const low = [Infinity, Infinity, Infinity];
  const high = low.map((value) => -value);
  for (let i = 0; i < points.length; i += 3) {
    const point = [points[i], -points[i + 1], points[i + 2]]; // y up
    for (let axis = 0; axis < 3; axis++) { // along the head's own axes
      const along = rotation.reduce((sum, row, k) => sum + row[axis] * point[k], 0);
      low[axis] = Math.min(low[axis], along);
      high[axis] = Math.max(high[axis], along);
    }
  }
  const margin = BOX_MARGIN * Math.max(...high.map((value, axis) => value - low[axis]));
  const corner = (i, j, k) => {
    const ends = [i, j, k].map((end, axis) => (end ? high[axis] + margin : low[axis] - margin));
    const [x, y] = rotation.map((row) => row[0] * ends[0] + row[1] * ends[1] + row[2] * ends[2]);
    return [x, -y];
  };
  const around = [[0, 0], [1, 0], [1, 1], [0, 1]];
  const faces = [0, 1].map((k) => around.map(([i, j]) => corner(i, j, k))); // back, front
  faces.forEach((corners, isFront) => {
    const path = new Path2D();
    corners.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
    stroke(context, path, BOX, (isFront ? 4 : 2) * unit);
  });
  const joins = new Path2D();
  for (let i = 0; i < 4; i++) {
    joins.moveTo(...faces[0][i]);
    joins.lineTo(...faces[1][i]);
  }
  stroke(context, joins, BOX, 2 * unit);
}

function stroke(context, path, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.stroke(path);
}
