/**
 * The built page in headless Chromium with a film as its webcam, for tests/test_web.py.
 *
 *     node browse.mjs FOLDER
 *
 * FOLDER/request.json: `photo`, `turned` and `film` (.y4m), files; `square` [x0, y0, x1, y1] to
 * drag around the photo's face, `turnedSquare` around that of the photo that is turned; `chromium`,
 * its path; `frames`, snapshots of the webcam to take. Writes FOLDER/answer.json and screenshots.
 */

import { createServer } from "node:http";
import { createReadStream, existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const DIST = join(dirname(fileURLToPath(import.meta.url)), "..", "dist");
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

const folder = process.argv[2];
const request = JSON.parse(readFileSync(join(folder, "request.json")));
const answer = { problems: [], strangers: [], frames: [] };

function serve() {
  const server = createServer(({ url }, response) => {
    const name = url === "/" ? "index.html" : url.slice(1).split("?")[0];
    const path = join(DIST, name);
    if (/[/\\]/.test(name) || !existsSync(path)) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": KINDS[extname(name)] ?? "application/octet-stream" });
    createReadStream(path).pipe(response);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

async function openPage(browser, origin, viewport, options = {}) {
  const context = await browser.newContext({ viewport, permissions: ["camera"], ...options });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) answer.problems.push(message.text());
  });
  page.on("pageerror", (error) => answer.problems.push(String(error)));
  page.on("request", (asked) => {
    const url = asked.url();
    const isOwn = url.startsWith(origin) || /^(blob|data):/.test(url);
    if (!isOwn || asked.method() !== "GET") answer.strangers.push(`${asked.method()} ${url}`);
  });
  await page.goto(origin);
  await page.waitForSelector("body.ready", { timeout: 120_000 });
  return page;
}

const snapshot = (page) => page.evaluate(() => globalThis.synergynet.snapshot());
const hint = (page) => page.textContent("#hint");

async function shoot(page, name) {
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

/** Until the page has a face in the picture of this name. */
async function settled(page, file) {
  const isSettled = (name) => globalThis.synergynet.snapshot()?.image === name;
  await page.waitForFunction(isSettled, basename(file), { timeout: 120_000 });
}

async function drag(page, [x0, y0, x1, y1], { width, height }) {
  const place = await page.locator("#stage").boundingBox();
  const at = (x, y) => [place.x + (x / width) * place.width, place.y + (y / height) * place.height];
  await page.mouse.move(...at(x0, y0));
  await page.mouse.down();
  await page.mouse.move(...at((x0 + x1) / 2, (y0 + y1) / 2));
  await page.mouse.move(...at(x1, y1));
  await page.mouse.up();
}

/** Choose a photo, wait for what is found in it, then drag a square. */
async function photo(page, name, file, square) {
  await page.setInputFiles("#photo", file);
  await settled(page, file);
  answer[`${name}Found`] = await snapshot(page);
  answer[`${name}Hint`] = await hint(page);
  await shoot(page, `${name}_found`);
  await drag(page, square, answer[`${name}Found`]);
  const isDone = () => document.getElementById("hint").textContent.startsWith("Drag again");
  await page.waitForFunction(isDone);
  answer[`${name}Dragged`] = await snapshot(page);
  await shoot(page, `${name}_dragged`);
}

async function saved(page) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#save")]);
  answer.savedName = download.suggestedFilename();
  return JSON.parse(readFileSync(await download.path()));
}

async function webcam(page, name) {
  await page.click("#webcam");
  const isFollowed = () => {
    const now = globalThis.synergynet.snapshot();
    return now?.image === "webcam" && now.before;
  };
  await page.waitForFunction(isFollowed, null, { timeout: 120_000 });
  for (let i = 0; i < request.frames; i++) {
    await page.waitForTimeout(300);
    answer.frames.push(await snapshot(page));
  }
  await page.waitForTimeout(2500); // snapshots take time; now the rate is the page's own
  answer[`${name}Rate`] = Number(await page.textContent("#rate"));
  answer[`${name}Took`] = await page.textContent("#took");
  answer[`${name}Hint`] = await hint(page);
  await shoot(page, name);
  await page.click("#webcam");
}

const server = await serve();
const browser = await chromium.launch({
  executablePath: request.chromium,
  args: [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    `--use-file-for-fake-video-capture=${request.film}`,
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
  ],
});
try {
  const origin = `http://127.0.0.1:${server.address().port}/`;
  const desktop = await openPage(browser, origin, DESKTOP);
  await shoot(desktop, "desktop_start");
  await photo(desktop, "turned", request.turned, request.turnedSquare);
  await photo(desktop, "desktop", request.photo, request.square);
  answer.saved = await saved(desktop);
  await desktop.check("[value=clay]");
  await desktop.check("[value=crop]");
  await desktop.waitForTimeout(500);
  await shoot(desktop, "desktop_clay");
  await webcam(desktop, "desktop_webcam");
  await desktop.click("#example");
  await settled(desktop, "example.jpg");
  await shoot(desktop, "desktop_example");
  await desktop.close();
  const phone = await openPage(browser, origin, PHONE, { deviceScaleFactor: 2, hasTouch: true });
  await shoot(phone, "phone_start");
  await photo(phone, "phone", request.photo, request.square);
  await webcam(phone, "phone_webcam");
  answer.overflow = await phone.evaluate(() => document.documentElement.scrollWidth > innerWidth);
} finally {
  await browser.close();
  server.close();
  writeFileSync(join(folder, "answer.json"), JSON.stringify(answer));
}
