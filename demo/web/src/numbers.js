/**
 * Numbers for people, and for programs.
 */

import { tightBox } from "./crop.js";

const WINDOW_MS = 2000;

/** Frames a second, over the last two seconds. */
export class FrameRate {
  constructor() {
    this._times = [];
  }

  /** Count a frame; returns the rate, or null while there are too few. */
  tick(milliseconds) {
    this._times.push(milliseconds);
    while (milliseconds - this._times[0] > WINDOW_MS) this._times.shift();
    const count = this._times.length - 1;
    return count < 1 ? null : (1000 * count) / (milliseconds - this._times[0]);
  }
}

/** A face as plain numbers, named as in the JSON that `synergynet photo.jpg` writes. */
export function describe(name, picture, face, square) {
  const rounded = (values, decimals) =>
    Array.from(values, (value) => Number(value.toFixed(decimals)));
  const { yaw, pitch, roll } = face.pose;
  const [a, b, c] = rounded([yaw, pitch, roll], 3);
  const points = Array.from({ length: 68 }, (_, i) => face.landmarks.slice(3 * i, 3 * i + 3));
  return {
    image: name,
    width: picture.width,
    height: picture.height,
    box: rounded(square ?? tightBox(face.landmarks), 2),
    roi_box: face.roiBox,
    pose: { exact: { yaw: a, pitch: b, roll: c } },
    landmarks: points.map((point) => rounded(point, 3)),
    params: Array.from(face.params, (value) => Number(value.toPrecision(9))),
  };
}

/** Hand the user a file. */
export function saveFile(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
