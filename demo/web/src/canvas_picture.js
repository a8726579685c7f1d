/**
 * A picture in a canvas, whose pixels `crops.js` reads part by part.
 */

const MOST_PIXELS = 16e6; // of a canvas that phones can hold; larger photos are made smaller

export class CanvasPicture {
  constructor(width, height) {
    const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
    this.width = Math.round(width * scale);
    this.height = Math.round(height * scale);
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, { width: this.width, height: this.height });
    this._context = this.canvas.getContext("2d", { willReadFrequently: true });
    this._context.imageSmoothingQuality = "high";
  }

  /**
   * The picture of a file, upright as its EXIF data say, its colours as they are stored.
   *
   * @param part [left, top, width, height] to take of it; all of it where that is left out.
   */
  static async read(file, part = []) {
    const bitmap = await createImageBitmap(file, ...part, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
    const picture = new CanvasPicture(bitmap.width, bitmap.height);
    picture.draw(bitmap);
    bitmap.close();
    return picture;
  }

  draw(source) {
    this._context.drawImage(source, 0, 0, this.width, this.height);
  }

  /** A copy whose longer side is so long at most; itself where it is no longer. */
  reduced(longestPx) {
    const scale = longestPx / Math.max(this.width, this.height);
    if (scale >= 1) return this;
    const copy = new CanvasPicture(Math.round(this.width * scale), Math.round(this.height * scale));
    copy.draw(this.canvas);
    return copy;
  }

  /** RGBA bytes of a part that lies inside. */
  region(left, top, width, height) {
    return this._context.getImageData(left, top, width, height).data;
  }
}
