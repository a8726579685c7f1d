/**
 * The runtime's face model, `synergynet/assets/network.npz`, as the page reads it.
 *
 *     const { facts, bytes } = packFaceModel("network.npz");
 *
 * Bases of all vertices are rounded to steps that move a face by STEP_UM where a coefficient is one
 * standard deviation; mean face, and the bases at the landmarks, keep their float32. Bases lie
 * column by column, low and high bytes apart, which is how they compress best. `src/face_model.js`
 * reads the result.
 */

import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";

const STEP_UM = 1; // 0.0006 px of the crop
const MOST_INT16 = 32767;
const N_POSE = 12; // of the 62 parameters; those of the bases follow
const KINDS = { "<f4": Float32Array, "<i4": Int32Array, "|u1": Uint8Array };
const NAMES = new Map([
  [Float32Array, "float32"],
  [Uint8Array, "uint8"],
  [Uint16Array, "uint16"],
  [Uint32Array, "uint32"],
]);

/** @returns {{facts: object, bytes: Uint8Array}} of face_model.json and face_model.bin. */
export function packFaceModel(path) {
  const table = readNpz(path);
  const { network_sha256, ...facts } = JSON.parse(Buffer.from(table.facts.values).toString());
  const columns = [...columnsOf(table.w_shp), ...columnsOf(table.w_exp)]; // 50 of (3V,)
  const deviations = table.param_std.values.subarray(N_POSE);
  const scales = Float32Array.from(columns, (column, k) => scaleOf(column, deviations[k]));
  const steps = columns.flatMap((column, k) =>
    Array.from(column, (value) => Math.round(value / scales[k])));
  const rows = table.keypoints.values;
  const pick = (column) => Array.from(rows, (row) => column[row]);
  const isSmall = table.u.values.length / 3 <= 2 ** 16;
  const arrays = {
    paramMean: table.param_mean.values,
    paramStd: table.param_std.values,
    landmarkMean: Float32Array.from(pick(table.u.values)),
    landmarkBases: Float32Array.from(columns.flatMap(pick)),
    mean: table.u.values,
    baseScales: scales,
    triangles: (isSmall ? Uint16Array : Uint32Array).from(table.triangles.values),
    basesLow: Uint8Array.from(steps, (step) => step & 0xff),
    basesHigh: Uint8Array.from(steps, (step) => (step >> 8) & 0xff),
  };
  return pack({ name: facts.name, borderPx: facts.border_px }, arrays);
}

function columnsOf({ values, columns }) {
  const take = (k) => values.filter((_, i) => i % columns === k);
  return Array.from({ length: columns }, (_, k) => take(k));
}

/** Micrometres a step of a column, so that steps fit 16 bits. */
function scaleOf(column, deviation) {
  const most = column.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  return Math.max(STEP_UM / deviation, most / MOST_INT16);
}

/** Arrays one after another, each at a multiple of 4 bytes, and where they are. */
function pack(facts, arrays) {
  const places = {};
  const parts = [];
  let offset = 0;
  for (const [name, array] of Object.entries(arrays)) {
    places[name] = { kind: NAMES.get(array.constructor), offset, length: array.length };
    const padding = new Uint8Array((4 - (array.byteLength % 4)) % 4);
    parts.push(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), padding);
    offset += array.byteLength + padding.length;
  }
  return { facts: { ...facts, arrays: places }, bytes: Buffer.concat(parts) };
}

// ---------------------------------------------------------------- numpy's files

/** The arrays of an .npz file by name, each with `values` and its number of `columns`. */
function readNpz(path) {
  const file = readFileSync(path);
  const end = file.lastIndexOf("PK\x05\x06", undefined, "latin1");
  if (end < 0) throw new Error(`${path}: not an .npz file`);
  const arrays = {};
  let at = file.readUInt32LE(end + 16); // of the directory, whose entries follow one another
  for (let left = file.readUInt16LE(end + 10); left > 0; left--) {
    const method = file.readUInt16LE(at + 10);
    const size = file.readUInt32LE(at + 20);
    const [nameLength, extra, comment] = [28, 30, 32].map((i) => file.readUInt16LE(at + i));
    const name = file.toString("latin1", at + 46, at + 46 + nameLength);
    const local = file.readUInt32LE(at + 42);
    const start = local + 30 + file.readUInt16LE(local + 26) + file.readUInt16LE(local + 28);
    const content = file.subarray(start, start + size);
    arrays[name.replace(/\.npy$/, "")] = readNpy(method ? inflateRawSync(content) : content, name);
    at += 46 + nameLength + extra + comment;
  }
  return arrays;
}

function readNpy(bytes, name) {
  const isFirstVersion = bytes[6] === 1;
  const start = (isFirstVersion ? 10 : 12)
    + (isFirstVersion ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8));
  const header = bytes.toString("latin1", 0, start);
  const kind = KINDS[/'descr': '([^']*)'/.exec(header)?.[1]];
  if (!kind || /'fortran_order': True/.test(header)) throw new Error(`${name}: ${header}`);
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].match(/\d+/g)?.map(Number) ?? [];
  const content = Uint8Array.from(bytes.subarray(start)); // a copy, which is aligned
  return { values: new kind(content.buffer), columns: shape[1] ?? 1 };
}
