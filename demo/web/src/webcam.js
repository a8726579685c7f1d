/**
 * Frames of the webcam, one after another, each as a picture that stands still.
 */

import { CanvasPicture } from "./canvas_picture.js";

const WANTED = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };

export class Webcam {
  /** @throws where there is none, or the user does not allow it. */
  async open() {
    if (!navigator.mediaDevices) throw new Error("webcams need https or localhost");
    this._stream = await navigator.mediaDevices.getUserMedia({ video: WANTED, audio: false });
    this._video = document.createElement("video");
    Object.assign(this._video, { srcObject: this._stream, muted: true, playsInline: true });
    this._video.className = "unseen";
    document.body.append(this._video); // some phones play no film that is not on the page
    const [track] = this._stream.getVideoTracks();
    this._ended = new Promise((resolve) => track.addEventListener("ended", resolve));
    await this._video.play();
    this._picture = new CanvasPicture(this._video.videoWidth, this._video.videoHeight);
  }

  close() {
    this._isClosed = true; // its last frame may never come
    this._stream?.getTracks().forEach((track) => track.stop());
    this._video?.remove();
  }

  /** Every new frame; the picture is the same object, with other pixels. */
  async *frames() {
    while (await this._next()) {
      const { videoWidth, videoHeight } = this._video; // phones that are turned change them
      if (this._picture.width !== videoWidth || this._picture.height !== videoHeight) {
        this._picture = new CanvasPicture(videoWidth, videoHeight);
      }
      this._picture.draw(this._video);
      yield this._picture;
    }
  }

  async _next() {
    const video = this._video;
    const drawn = new Promise((resolve) => {
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
    await Promise.race([drawn, this._ended]);
    return !this._isClosed && this._stream.active;
  }
}
