/**
 * The page's arithmetic without a browser, for tests/test_web.py.
 *
 *     node compute.mjs FOLDER network.npz
 *
 * FOLDER/request.json: `crops` of {file, width, height, box} with RGBA bytes in the files, and
 * `paramsW`. Writes FOLDER/crop0.bin ... and FOLDER/answer.json.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { packFaceModel } from "../pack_face_model.mjs";
import { ArrayPicture, networkCrop } from "../src/crops.js";
import { squareBoxFromLandmarks, roiBoxFromFaceBox } from "../src/crop.js";
import { FaceModel } from "../src/face_model.js";
import { decodePose, turnCrop, turnParamsBack, turnsToUpright } from "../src/pose.js";

const [folder, npz] = process.argv.slice(2);
const request = JSON.parse(readFileSync(join(folder, "request.json")));
const { facts, bytes } = packFaceModel(npz);
const model = new FaceModel(facts, Uint8Array.from(bytes).buffer);

request.crops.forEach(({ file, width, height, box }, i) => {
  const picture = new ArrayPicture(readFileSync(join(folder, file)), width, height);
  const crop = networkCrop(picture, box);
  writeFileSync(join(folder, `crop${i}.bin`), crop);
  for (const turns of [1, 2, 3]) {
    writeFileSync(join(folder, `crop${i}_turned${turns}.bin`), turnCrop(crop, turns));
  }
});
const faces = request.paramsW.map((paramsW) => {
  const params = model.unwhiten(paramsW);
  const landmarks = model.landmarks(params);
  return {
    params: [...params],
    landmarks: [...landmarks],
    vertices: [...model.vertices(params)],
    pose: decodePose(params),
    turns: turnsToUpright(params),
    turnedBack: [1, 2, 3].map((turns) => [...turnParamsBack(params, turns)]),
    squareBox: squareBoxFromLandmarks(landmarks),
  };
});
const roiBoxes = request.faceBoxes.map(roiBoxFromFaceBox);
const answer = { faces, roiBoxes, borderPx: model.borderPx };
writeFileSync(join(folder, "answer.json"), JSON.stringify(answer));
