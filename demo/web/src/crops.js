/**
 * Faces cut out of pictures as the network sees them: `synergynet/photos/crops.py`, in JavaScript.
 *
 * Pixels are RGBA, as the browser has them; the network's input is in the order B, G, R. A picture
 * is anything with `width`, `height` and `region(left, top, width, height)`, which gives the RGBA
 * bytes of a part that lies inside.
 */

import { IMG_SIZE, roundHalfEven } from "./crop.js";

const PIXEL_MEAN = 127.5; // networks see (x - PIXEL_MEAN) / PIXEL_STD
const PIXEL_STD = 128;
const RGBA = 4;

/** A picture whose pixels are in memory: (height * width * 4) bytes. */
export class ArrayPicture {
  constructor(pixels, width, height) {
    Object.assign(this, { pixels, width, height });
  }

  region(left, top, width, height) {
    const part = new Uint8ClampedArray(width * height * RGBA);
    for (let row = 0; row < height; row++) {
      const start = ((top + row) * this.width + left) * RGBA;
      part.set(this.pixels.subarray(start, start + width * RGBA), row * width * RGBA);
    }
    return part;
  }
}

/**
 * Cut a box out of a picture; what lies outside the picture is black.
 *
 * @param box [sx, sy, ex, ey], rounded half to even; may reach outside.
 * @returns {{pixels, width, height}} of (height * width * 4) bytes.
 */
export function cutOut(picture, box) {
  const [sx, sy, ex, ey] = box.map(roundHalfEven);
  if (!(ex > sx && ey > sy)) throw new Error(`crop box ${[sx, sy, ex, ey]} has no area`);
  const [left, right] = [sx, ex].map((x) => Math.min(Math.max(x, 0), picture.width));
  const [top, bottom] = [sy, ey].map((y) => Math.min(Math.max(y, 0), picture.height));
  const [width, height] = [ex - sx, ey - sy];
  const pixels = new Uint8ClampedArray(width * height * RGBA);
  if (right > left && bottom > top) {
    const part = picture.region(left, top, right - left, bottom - top);
    const bytes = (right - left) * RGBA;
    for (let row = 0; row < bottom - top; row++) {
      const start = ((top - sy + row) * width + left - sx) * RGBA;
      pixels.set(part.subarray(row * bytes, (row + 1) * bytes), start);
    }
  }
  return { pixels, width, height };
}

/** Cut a box out of a picture and resize it to the network's (120 * 120 * 4) bytes. */
export function networkCrop(picture, box) {
  const { pixels, width, height } = cutOut(picture, box);
  return resize(pixels, width, height, IMG_SIZE, IMG_SIZE);
}

/**
 * Resize as OpenCV's INTER_LINEAR does with bytes, bit for bit: weights of 11 bits, rounded as its
 * row and column passes round. No canvas does that: `drawImage` filters as each browser likes.
 *
 * @returns (toHeight * toWidth * 4) bytes, the alpha channel as the others.
 * Source: OpenCV, modules/imgproc/src/resize.cpp: `HResizeLinear`, `VResizeLinear`.
 */
export function resize(pixels, width, height, toWidth, toHeight) {
  if (width === toWidth && height === toHeight) return pixels.slice();
  if (width === 2 * toWidth && height === 2 * toHeight) return halve(pixels, toWidth, toHeight);
  const columns = linearWeights(width, toWidth);
  const rows = linearWeights(height, toHeight);
  const result = new Uint8ClampedArray(toWidth * toHeight * RGBA);
  const lines = new Map(); // row of the source -> resized row, in units of 1 / 2048
  const line = (y) => {
    if (!lines.has(y)) {
      if (lines.size > 1) lines.delete(Math.min(...lines.keys()));
      lines.set(y, resizeRow(pixels, y * width * RGBA, columns));
    }
    return lines.get(y);
  };
  for (let y = 0; y < toHeight; y++) {
    const [above, below] = [line(rows.from[y]), line(rows.to[y])];
    const [a, b] = [rows.fromWeight[y], rows.toWeight[y]];
    for (let i = 0, at = y * toWidth * RGBA; i < above.length; i++, at++) {
      result[at] = (((a * (above[i] >> 4)) >> 16) + ((b * (below[i] >> 4)) >> 16) + 2) >> 2;
    }
  }
  return result;
}

const WEIGHT = 2048; // one, of a weight of 11 bits

/** For each place of a line its two neighbours in the source, and their weights. */
function linearWeights(length, toLength) {
  const scale = 1 / (toLength / length);
  const [from, to] = [new Int32Array(toLength), new Int32Array(toLength)];
  const [fromWeight, toWeight] = [new Int32Array(toLength), new Int32Array(toLength)];
  for (let i = 0; i < toLength; i++) {
    const place = Math.fround((i + 0.5) * scale - 0.5);
    const start = Math.floor(place);
    const share = Math.fround(place - start);
    from[i] = Math.min(Math.max(start, 0), length - 1);
    to[i] = Math.min(Math.max(start + 1, 0), length - 1);
    fromWeight[i] = roundHalfEven(Math.fround(1 - share) * WEIGHT);
    toWeight[i] = roundHalfEven(share * WEIGHT);
  }
  return { from, to, fromWeight, toWeight };
}

function resizeRow(pixels, start, { from, to, fromWeight, toWeight }) {
  const row = new Int32Array(from.length * RGBA);
  for (let i = 0, at = 0; i < from.length; i++) {
    const [a, b] = [start + from[i] * RGBA, start + to[i] * RGBA];
    for (let channel = 0; channel < RGBA; channel++, at++) {
      row[at] = pixels[a + channel] * fromWeight[i] + pixels[b + channel] * toWeight[i];
    }
  }
  return row;
}

/** Half the size: OpenCV takes the mean of four pixels for that. */
function halve(pixels, width, height) {
  const result = new Uint8ClampedArray(width * height * RGBA);
  const below = 2 * width * RGBA;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < RGBA; channel++, at++) {
        const i = (2 * y * 2 * width + 2 * x) * RGBA + channel;
        const sum = pixels[i] + pixels[i + RGBA] + pixels[i + below] + pixels[i + below + RGBA];
        result[at] = (sum + 2) >> 2;
      }
    }
  }
  return result;
}

/** A crop with a black border, which is modified in place and returned. */
export function blackenBorder(crop, borderPx) {
  for (let y = 0; y < IMG_SIZE; y++) {
    for (let x = 0; x < IMG_SIZE; x++) {
      const inside = Math.min(x, y, IMG_SIZE - 1 - x, IMG_SIZE - 1 - y) >= borderPx;
      if (!inside) crop.fill(0, (y * IMG_SIZE + x) * RGBA, (y * IMG_SIZE + x + 1) * RGBA);
    }
  }
  return crop;
}

/** (3 * 120 * 120) float32 of a crop: planes B, G, R of (x - 127.5) / 128. */
export function networkInput(crop) {
  const area = IMG_SIZE * IMG_SIZE;
  const input = new Float32Array(3 * area);
  for (let plane = 0; plane < 3; plane++) {
    for (let i = 0; i < area; i++) {
      input[plane * area + i] = (crop[i * RGBA + 2 - plane] - PIXEL_MEAN) / PIXEL_STD;
    }
  }
  return input;
}
