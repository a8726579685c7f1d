/**
 * The dense face in 3D, by three.js: it swings, and turns where it is dragged to.
 */

import {
  AmbientLight, BufferAttribute, BufferGeometry, CanvasTexture, DirectionalLight, DoubleSide, Group,
  Mesh, MeshBasicMaterial, MeshStandardMaterial, OrthographicCamera, SRGBColorSpace, Scene,
  WebGLRenderer,
} from "three";

const TEXTURE_PX = 512;
const SWING = 0.6; // radians to each side
const SWING_S = 7; // there and back
const ROOM = 1.12; // shown, of the face's size

export class MeshView {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param triangles (3T,) of the vertices.
   * @param onHold called when the user takes hold of the face, which ends the swing.
   * @throws where the browser has no WebGL.
   */
  constructor(canvas, triangles, onHold) {
    this.canvas = canvas;
    this._onHold = onHold;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.camera = new OrthographicCamera(-1, 1, 1, -1, -10, 10);
    this.texture = new CanvasTexture(document.createElement("canvas"));
    this.texture.colorSpace = SRGBColorSpace;
    this.texture.image.width = this.texture.image.height = TEXTURE_PX;
    this.geometry = new BufferGeometry();
    this.geometry.setIndex(new BufferAttribute(triangles, 1));
    const clay = { color: 0xebf0f4, roughness: 0.6 };
    this.materials = {
      photo: new MeshBasicMaterial({ map: this.texture, side: DoubleSide }),
      clay: new MeshStandardMaterial({ ...clay, side: DoubleSide }),
      triangles: new MeshBasicMaterial({ color: 0x78dcf0, wireframe: true }),
    };
    this.mesh = new Mesh(this.geometry, this.materials.photo);
    this.mesh.visible = false;
    this.group = new Group().add(this.mesh);
    this.scene = new Scene().add(this.group, new AmbientLight(0xffffff, 0.45), light());
    this.setSwing(true);
    this._turnWhereDragged();
    this._loop = this._loop.bind(this);
    requestAnimationFrame(this._loop);
  }

  /** Show the mesh as `photo`, `clay` or `triangles`. */
  setSurface(name) {
    this.mesh.material = this.materials[name];
    this._isStale = true;
  }

  /** Swing, or stand still, and let go of where the face was dragged to. */
  setSwing(swings) {
    this._swings = swings;
    this._turn = { x: 0, y: 0 };
    this._isStale = true;
  }

  /**
   * Show a face.
   *
   * @param vertices (3V,) photo px, y down.
   * @param source the picture, for `drawImage`, and its size.
   */
  show(vertices, source, picture, mirrored) {
    const [low, high] = bounds(vertices);
    const size = Math.max(...[0, 1, 2].map((axis) => high[axis] - low[axis]));
    this._writePlaces(vertices, low, high, size);
    this._writeTexture(vertices, source, picture, low, high);
    this.canvas.classList.toggle("mirrored", Boolean(mirrored));
    this._isMirrored = Boolean(mirrored);
    this.mesh.visible = true;
    this._isStale = true;
  }

  hide() {
    this.mesh.visible = false;
    this._isStale = true;
  }

  /** The face is as large as the view, y up. */
  _writePlaces(vertices, low, high, size) {
    let places = this.geometry.getAttribute("position");
    if (!places) {
      places = new BufferAttribute(new Float32Array(vertices.length), 3);
      this.geometry.setAttribute("position", places);
    }
    const unit = 2 / (size * ROOM);
    for (let i = 0; i < vertices.length; i += 3) {
      for (let axis = 0; axis < 3; axis++) {
        const middle = (low[axis] + high[axis]) / 2;
        places.array[i + axis] = (vertices[i + axis] - middle) * unit * (axis === 1 ? -1 : 1);
      }
    }
    places.needsUpdate = true;
    this.geometry.computeVertexNormals();
    this.geometry.computeBoundingSphere();
  }

  /** The part of the picture that the face covers becomes its texture. */
  _writeTexture(vertices, source, picture, low, high) {
    let uv = this.geometry.getAttribute("uv");
    if (!uv) {
      uv = new BufferAttribute(new Float32Array((vertices.length / 3) * 2), 2);
      this.geometry.setAttribute("uv", uv);
    }
    const [width, height] = [high[0] - low[0], high[1] - low[1]];
    for (let i = 0; i < vertices.length / 3; i++) {
      uv.array[2 * i] = (vertices[3 * i] - low[0]) / width;
      uv.array[2 * i + 1] = 1 - (vertices[3 * i + 1] - low[1]) / height;
    }
    uv.needsUpdate = true;
    const context = this.texture.image.getContext("2d");
    const [kx, ky] = [TEXTURE_PX / width, TEXTURE_PX / height];
    context.setTransform(kx, 0, 0, ky, -(low[0] + 0.5) * kx, -(low[1] + 0.5) * ky);
    context.drawImage(source, 0, 0, picture.width, picture.height);
    this.texture.needsUpdate = true;
  }

  _turnWhereDragged() {
    let last = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      last = [event.clientX, event.clientY];
      this._turn = { x: this.group.rotation.x, y: this.group.rotation.y };
      this._swings = false;
      this._onHold();
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const radians = Math.PI / this.canvas.clientWidth;
      const sign = this._isMirrored ? -1 : 1;
      this._turn.y += sign * (event.clientX - last[0]) * radians;
      this._turn.x += (event.clientY - last[1]) * radians;
      this._turn.x = Math.min(Math.max(this._turn.x, -1.5), 1.5);
      last = [event.clientX, event.clientY];
      this._isStale = true;
    });
    const release = () => (last = null);
    this.canvas.addEventListener("pointerup", release);
    this.canvas.addEventListener("pointercancel", release);
  }

  _loop(milliseconds) {
    requestAnimationFrame(this._loop);
    const side = Math.round(this.canvas.clientWidth * Math.min(window.devicePixelRatio, 2));
    const isOtherSize = this.canvas.width !== side;
    if (!side || !(this._isStale || this._swings || isOtherSize)) return;
    this._isStale = false;
    if (isOtherSize) this.renderer.setSize(side, side, false);
    const phase = (milliseconds / 1000 / SWING_S) * 2 * Math.PI;
    const swing = this._swings ? SWING * Math.sin(phase) : 0;
    this.group.rotation.set(this._turn.x, this._turn.y + swing, 0);
    this.renderer.render(this.scene, this.camera);
  }
}

function light() {
  const lamp = new DirectionalLight(0xffffff, 2.1);
  lamp.position.set(-0.249, 0.449, 0.858); // over the viewer's left shoulder
  return lamp;
}

function bounds(vertices) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < vertices.length; i++) {
    low[i % 3] = Math.min(low[i % 3], vertices[i]);
    high[i % 3] = Math.max(high[i % 3], vertices[i]);
  }
  return [low, high];
}
