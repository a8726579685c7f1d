/**
 * The page: a photo or the webcam in; landmarks, head pose and a 3D face out. Nothing leaves it.
 */

import { CanvasPicture } from "./canvas_picture.js";
import { Aligner } from "./faces.js";
import { MeshView } from "./mesh_view.js";
import { loadFiles } from "./network.js";
import { FrameRate, describe, saveFile } from "./numbers.js";
import { Stage } from "./stage.js";
import { Tracker, search } from "./tracking.js";
import { Webcam } from "./webcam.js";

const REFINEMENTS = 1; // of photos, as `synergynet --refine-crop`
const EXAMPLE = { name: "example.jpg", part: [720, 0, 480, 240], square: [28, 144, 108, 224] };
const HINTS = {
  searching: "Looking for a face …",
  found: "Another face? Drag a square around it, from brow to chin.",
  unsure: "No face for certain. Drag a square around one, from brow to chin.",
  dragged: "Drag again, or tap to move the square.",
  example: "Drawn, to try it: drag a square around another face, from brow to chin.",
  waiting: "No face yet: look into the camera, or drag a square around a face.",
  following: "Lost? Drag a square around the face.",
};

const element = (id) => document.getElementById(id);
const stage = new Stage(element("stage"), useSquare);
let aligner = null;
let meshView = null;
let webcam = null; // and its tracker, while it is on
let tracker = null;
let shown = null; // name, picture, face, square
let job = 0; // the latest; older ones stop

// ---------------------------------------------------------------- photos

async function usePhoto(file, name) {
  const mine = begin();
  const picture = await CanvasPicture.read(file).catch(() => null);
  if (mine !== job) return;
  if (!picture) return say(`${name}: not a picture that this browser can read`, true);
  present({ name, picture, face: null, square: null });
  const found = await search(aligner, picture, async (share) => {
    say(`${HINTS.searching} ${Math.round(100 * share)} %`);
    await nextTask();
    return mine === job;
  });
  if (!found || mine !== job) return;
  present({ name, picture, face: found.face, square: null });
  say(found.isSure ? HINTS.found : HINTS.unsure);
}

async function useExample() {
  const mine = begin();
  const response = await fetch(EXAMPLE.name);
  const picture = await CanvasPicture.read(await response.blob(), EXAMPLE.part);
  if (mine !== job) return;
  present({ name: EXAMPLE.name, picture, face: null, square: null });
  await useSquare(EXAMPLE.square, HINTS.example);
}

/** The user dragged a square around a face. */
async function useSquare(square, hint = HINTS.dragged) {
  if (webcam) return tracker.forget(square);
  const mine = ++job;
  const start = performance.now();
  const face = await aligner.find(shown.picture, square, REFINEMENTS);
  if (mine !== job) return;
  element("took").textContent = `${Math.round(performance.now() - start)} ms`;
  present({ ...shown, face, square });
  say(hint);
}

// ---------------------------------------------------------------- webcam

async function useWebcam() {
  const mine = begin();
  const opened = new Webcam();
  say("Waiting for the webcam …");
  try {
    await opened.open();
  } catch (error) {
    return say(`No webcam: ${error.message}`, true);
  }
  if (mine !== job) return opened.close();
  webcam = opened;
  tracker = new Tracker(aligner);
  element("webcam").textContent = "Stop webcam";
  const rate = new FrameRate();
  for await (const picture of opened.frames()) {
    const start = performance.now();
    const face = await tracker.step(picture);
    if (mine !== job) break;
    const end = performance.now();
    present({ name: "webcam", picture, face, square: null, mirrored: true });
    element("took").textContent = `${Math.round(end - start)} ms`;
    element("rate").textContent = rate.tick(end)?.toFixed(0) ?? "–";
    say(face ? HINTS.following : HINTS.waiting);
  }
  if (mine !== job) return;
  begin();
  say("The webcam has ended.");
}

// ---------------------------------------------------------------- the page

/** Stop what is going on; returns the number of the new job. */
function begin() {
  webcam?.close();
  webcam = tracker = null;
  element("webcam").textContent = "Use webcam";
  element("rate").textContent = element("took").textContent = "–";
  return ++job;
}

function present(content) {
  shown = content;
  const { picture, face, mirrored } = content;
  stage.show({ ...content, source: picture.canvas });
  for (const name of ["yaw", "pitch", "roll"]) {
    const angle = face && `${face.pose[name].toFixed(1)}°`.replace("-", "−");
    element(name).textContent = angle ?? "–";
  }
  element("save").disabled = !face;
  if (!meshView) return;
  if (face) meshView.show(aligner.vertices(face), picture.canvas, picture, mirrored);
  else meshView.hide();
}

function say(text, isError = false) {
  const hint = element("hint");
  if (hint.textContent !== text) hint.textContent = text;
  hint.classList.toggle("error", isError);
}

/** Let the browser draw and answer the user. */
function nextTask() {
  return new Promise((resolve) => setTimeout(resolve));
}

function connect() {
  element("photo").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = ""; // so that the same file may be chosen again
    if (file) usePhoto(file, file.name);
  });
  element("webcam").addEventListener("click", () => {
    if (!webcam) return useWebcam();
    begin();
    say("Stopped.");
  });
  element("example").addEventListener("click", useExample);
  element("save").addEventListener("click", () => {
    const { name, picture, face, square } = shown;
    const numbers = describe(name, picture, face, square);
    saveFile(`${name.replace(/\.\w+$/, "")}.json`, `${JSON.stringify(numbers)}\n`);
  });
  for (const box of document.querySelectorAll("[name=shown]")) {
    const take = () => {
      stage.shown[box.value] = box.checked;
      stage.draw();
    };
    box.addEventListener("change", take);
    take();
  }
  for (const choice of document.querySelectorAll("[name=surface]")) {
    choice.addEventListener("change", () => meshView?.setSurface(choice.value));
  }
  const swing = element("swing");
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) swing.checked = false;
  swing.addEventListener("change", () => meshView?.setSwing(swing.checked));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file && aligner) usePhoto(file, file.name);
  });
}

async function main() {
  connect();
  try {
    const { model, network } = await loadFiles((share) => {
      say(`Loading: ${Math.round(100 * share)} %`);
    });
    aligner = new Aligner(model, network);
    try {
      const swing = element("swing");
      meshView = new MeshView(element("mesh"), model.triangles, () => (swing.checked = false));
      meshView.setSwing(swing.checked);
    } catch {
      document.body.classList.add("flat"); // no WebGL here: all but the 3D view
    }
  } catch (error) {
    return say(`The page cannot start: ${error.message}`, true);
  }
  document.querySelectorAll(".start").forEach((button) => button.removeAttribute("disabled"));
  await useExample();
  document.body.classList.add("ready");
}

// for tests, and for programs around the page: what is shown now, with the picture's own pixels
globalThis.synergynet = {
  snapshot() {
    if (!shown?.face) return null;
    const { name, picture, face, square } = shown;
    return {
      ...describe(name, picture, face, square),
      exact: face.exact,
      before: face.before ? [...face.before] : null,
      vertices: [...aligner.vertices(face)],
      picture: picture.canvas.toDataURL("image/png"),
    };
  },
};

main();
