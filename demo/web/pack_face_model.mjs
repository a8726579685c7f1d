/**
 * The runtime's face model, `synergynet/assets/network.npz`, as the page reads it.
 *
 *     const { facts, bytes } = packFaceModel("network.npz");
 *
 * Bases get 16 bits a number, with a scale for each column; mean face and the rows of the landmarks
 * keep their float32. `src/face_model.js` reads the result.
 */

import { readFileSync } from "node:fs";
import { inflateRawSync } from "node:zlib";

const MOST_INT16 = 32767;
const KINDS = { "<f4": Float32Array, "<i4": Int32Array, "|u1": Uint8Array };
const NAMES = new Map([
  [Float32Array, "float32"],
  [Int16Array, "int16"],
  [Uint16Array, "uint16"],
  [Uint32Array, "uint32"],
]);

/** @returns {{facts: object, bytes: Uint8Array}} of face_model.json and face_model.bin. */
export function packFaceModel(path) {
  const table = readNpz(path);
  const { network_sha256, ...facts } = JSON.parse(Buffer.from(table.facts.values).toString());
  const bases = beside(table.w_shp, table.w_exp); // (3V, 50)
  const rows = table.keypoints.values;
  const pick = ({ values, columns }) =>
    Float32Array.from({ length: rows.length * columns }, (_, i) =>
      values[rows[Math.floor(i / columns)] * columns + (i % columns)]);
  const { scales, integers } = quantise(bases);
  const isSmall = table.u.values.length / 3 <= 2 ** 16;
  const arrays = {
    paramMean: table.param_mean.values,
    paramStd: table.param_std.values,
    landmarkMean: pick(table.u),
    landmarkBases: pick(bases),
    mean: table.u.values,
    baseScales: scales,
    triangles: (isSmall ? Uint16Array : Uint32Array).from(table.triangles.values),
    bases: integers,
  };
  return pack({ name: facts.name, borderPx: facts.border_px }, arrays);
}

/** Two matrices of as many rows as one, their columns side by side. */
function beside(a, b) {
  const columns = a.columns + b.columns;
  const values = new Float32Array(a.values.length + b.values.length);
  for (let row = 0; row < values.length / columns; row++) {
    const rowOf = (m) => m.values.subarray(row * m.columns, (row + 1) * m.columns);
    values.set(rowOf(a), row * columns);
    values.set(rowOf(b), row * columns + a.columns);
  }
  return { values, columns };
}

function quantise({ values, columns }) {
  const scales = new Float32Array(columns);
  values.forEach((value, i) => {
    scales[i % columns] = Math.max(scales[i % columns], Math.abs(value) / MOST_INT16);
  });
  const round = (value, i) => Math.round(value / (scales[i % columns] || 1));
  return { scales, integers: Int16Array.from(values, round) };
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
