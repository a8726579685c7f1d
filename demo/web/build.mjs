/**
 * Build the page into dist/, from the runtime's own files and two packages of npm.
 *
 *     npm ci && npm run build
 *
 * The network and the WebAssembly that runs it are stored compressed; the page unpacks them, so
 * that any server of plain files will do.
 */

import {
  copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

import { packFaceModel } from "./pack_face_model.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "..", "..");
const ASSETS = join(ROOT, "synergynet", "assets");
const MODULES = join(HERE, "node_modules");
const DIST = join(HERE, "dist");
const EXAMPLE = join(ROOT, "demo", "synthetic_assets.jpg");
const WASM = join(MODULES, "onnxruntime-web", "dist", "ort-wasm-simd-threaded.wasm");
const MOST_BYTES = 15e6; // of the whole site

function compress(source, name) {
  writeFileSync(join(DIST, name), gzipSync(readFileSync(source), { level: 9 }));
}

/** Notices of what the site holds of others, which their licences ask to keep with it. */
function notices() {
  const mit = readFileSync(join(ROOT, "LICENSE"), "utf8");
  const terms = mit.slice(mit.indexOf("Permission is hereby granted"));
  const version = (name) => JSON.parse(readFileSync(join(MODULES, name, "package.json"))).version;
  return [
    `This page: SynergyNet\n\n${mit}`,
    `onnxruntime-web ${version("onnxruntime-web")}\n\nMIT License\n\n`
      + `Copyright (c) Microsoft Corporation\n\n${terms}`,
    `three ${version("three")}\n\n${readFileSync(join(MODULES, "three", "LICENSE"), "utf8")}`,
  ].join(`\n${"-".repeat(70)}\n\n`);
}

rmSync(DIST, { recursive: true, force: true });
mkdirSync(DIST, { recursive: true });
await build({
  entryPoints: [join(HERE, "src", "main.js")],
  outfile: join(DIST, "main.js"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "eof",
  logLevel: "warning",
});
for (const name of ["index.html", "style.css"]) copyFileSync(join(HERE, name), join(DIST, name));
copyFileSync(EXAMPLE, join(DIST, "example.jpg"));
compress(WASM, "onnxruntime.wasm.gz");
compress(join(ASSETS, "network.onnx"), "network.onnx.gz");
const { facts, bytes } = packFaceModel(join(ASSETS, "network.npz"));
writeFileSync(join(DIST, "face_model.json"), JSON.stringify(facts));
writeFileSync(join(DIST, "face_model.bin.gz"), gzipSync(bytes, { level: 9 }));
writeFileSync(join(DIST, "licenses.txt"), notices());

const sizes = readdirSync(DIST).map((name) => [name, statSync(join(DIST, name)).size]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
for (const [name, size] of sizes) console.log(`${(size / 1e6).toFixed(2).padStart(6)} MB  ${name}`);
console.log(`${(total / 1e6).toFixed(2).padStart(6)} MB  in all`);
if (total > MOST_BYTES) throw new Error(`the site is larger than ${MOST_BYTES / 1e6} MB`);
