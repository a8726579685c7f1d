/**
 * The network in ONNX Runtime's WebAssembly: one thread, so that the page needs no special headers.
 */

import { InferenceSession, Tensor, env } from "onnxruntime-web/wasm";

import { IMG_SIZE } from "./crop.js";
import { FaceModel } from "./face_model.js";

const INPUT = "images"; // names in the ONNX file
const OUTPUT = "params_w";

/**
 * Read the files beside the page.
 *
 * @param progress called with the share that has come, 0 to 1.
 * @returns {{model: FaceModel, network}} as `Aligner` takes them.
 */
export async function loadFiles(progress) {
  const names = ["onnxruntime.wasm.gz", "network.onnx.gz", "face_model.bin.gz"];
  const got = names.map(() => [0, 0]);
  const report = (i) => (come, size) => {
    got[i] = [come, size];
    const [all, whole] = [0, 1].map((k) => got.reduce((sum, pair) => sum + pair[k], 0));
    if (got.every(([, of]) => of > 0)) progress(Math.min(all / whole, 1));
  };
  const [facts, wasm, onnx, face] = await Promise.all([
    answer("face_model.json").then((response) => response.json()),
    ...names.map((name, i) => unpacked(name, report(i))),
  ]);
  return { model: new FaceModel(facts, face), network: await startNetwork(wasm, onnx) };
}

async function startNetwork(wasm, onnx) {
  env.wasm.wasmBinary = wasm;
  env.wasm.numThreads = 1;
  env.logLevel = "error";
  const session = await InferenceSession.create(new Uint8Array(onnx), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  return async (input) => {
    const images = new Tensor("float32", input, [1, 3, IMG_SIZE, IMG_SIZE]);
    const results = await session.run({ [INPUT]: images });
    return results[OUTPUT].data;
  };
}

async function answer(name) {
  const response = await fetch(new URL(name, document.baseURI));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

/** The bytes of a .gz file, whether or not the server has unpacked it on the way. */
async function unpacked(name, report) {
  const response = await answer(name);
  const size = Number(response.headers.get("Content-Length"));
  const parts = [];
  let come = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    come += value.length;
    report(come, size);
  }
  const blob = new Blob(parts);
  const [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  if (first !== 0x1f || second !== 0x8b) return blob.arrayBuffer();
  return new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}
