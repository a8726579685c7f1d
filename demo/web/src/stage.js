/**
 * The canvas with the picture: what was found is drawn over it, and squares are dragged on it.
 */

import { drawFace, drawSquare } from "./drawing.js";

const LEAST_DRAG = 0.03; // of the picture's shorter side; less is a tap
const MOST_RATIO = 2; // canvas px a CSS px
const MOST_HEIGHT = 0.72; // of the window

export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas in an element of its own, whose width it takes.
   * @param onSquare called with the square [x0, y0, x1, y1] in px of the picture that was dragged.
   */
  constructor(canvas, onSquare) {
    this.canvas = canvas;
    this.shown = {};
    this._onSquare = onSquare;
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
    canvas.addEventListener("pointerdown", (event) => this._press(event));
    canvas.addEventListener("pointermove", (event) => this._drag(event));
    canvas.addEventListener("pointerup", (event) => this._release(event));
    canvas.addEventListener("pointercancel", () => this._cancel());
  }

  /**
   * Show a picture and what was found in it.
   *
   * @param content `source` is anything that `drawImage` takes; `picture` has its size; `face` may
   *   be null; `square` is the user's, or null; `mirrored` shows all of it as in a mirror.
   */
  show(content) {
    this.content = content;
    this.draw();
  }

  draw() {
    if (!this.content) return;
    const { source, picture, face, square, mirrored } = this.content;
    const scale = this._fit(picture);
    const context = this.canvas.getContext("2d");
    this.canvas.classList.toggle("mirrored", Boolean(mirrored));
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, picture.width, picture.height);
    if (face) drawFace(context, face, scale, this.shown);
    const dragged = this._dragged ?? square;
    if (dragged) drawSquare(context, dragged, scale, false);
  }

  /** Give the canvas the size of its place on the page; returns canvas px a px of the picture. */
  _fit({ width, height }) {
    const room = this.canvas.parentElement.clientWidth;
    const zoom = Math.min(room / width, (window.innerHeight * MOST_HEIGHT) / height);
    const ratio = Math.min(window.devicePixelRatio, MOST_RATIO);
    const size = [width, height].map((side) => Math.max(Math.round(side * zoom), 1));
    const pixels = size.map((side) => Math.round(side * ratio));
    if (this.canvas.width !== pixels[0] || this.canvas.height !== pixels[1]) {
      [this.canvas.width, this.canvas.height] = pixels;
      [this.canvas.style.width, this.canvas.style.height] = size.map((side) => `${side}px`);
    }
    return pixels[0] / width;
  }

  _place(event) {
    const { width, height } = this.content.picture;
    const place = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - place.left) / place.width) * width;
    const y = ((event.clientY - place.top) / place.height) * height;
    return [this.content.mirrored ? width - x : x, y];
  }

  _press(event) {
    if (!this.content || !event.isPrimary || event.button) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this._from = this._place(event);
  }

  _drag(event) {
    if (!this._from) return;
    const [x, y] = this._place(event);
    const [fromX, fromY] = this._from;
    const side = Math.max(Math.abs(x - fromX), Math.abs(y - fromY));
    const [left, top] = [x < fromX ? fromX - side : fromX, y < fromY ? fromY - side : fromY];
    this._dragged = [left, top, left + side, top + side];
    this.draw();
  }

  _release(event) {
    if (!this._from) return;
    const { width, height } = this.content.picture;
    const dragged = this._dragged;
    const [x, y] = this._place(event);
    this._cancel();
    if (dragged && dragged[2] - dragged[0] >= LEAST_DRAG * Math.min(width, height)) {
      this._onSquare(dragged);
    } else if (this.content.square) { // a tap moves it
      const half = (this.content.square[2] - this.content.square[0]) / 2;
      this._onSquare([x - half, y - half, x + half, y + half]);
    }
  }

  _cancel() {
    this._from = this._dragged = null;
    this.draw();
  }
}
