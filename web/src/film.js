// The video and what is drawn over it: the skeleton as the solved camera sees it.

import { bytes, cameraAt, project } from "./data.js";
import { color } from "./theme.js";

const SIDES = ["middle", "left", "right"];

export class Film {
  // `say(text)` shows a line over the pane, or hides it for an empty text.
  constructor(take, video, canvas, say) {
    this.take = take;
    this.video = video;
    this.canvas = canvas;
    this.say = say;
    this.usable = false;
    this.shown = null; // media time of the picture on the screen
    this.overlay = true;
    video.addEventListener("loadeddata", () => this.#opened());
    video.addEventListener("error", () => this.#failed());
    if (video.requestVideoFrameCallback) this.#watch();
    if (take.video.embedded) this.open(new Blob([bytes(document.getElementById("film").textContent)], { type: "video/mp4" }));
    else video.src = take.video.src;
  }

  // Another source: a file that the user chose, or the embedded video.
  open(blob) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(blob);
    this.video.src = this.url;
  }

  #watch() {
    this.video.requestVideoFrameCallback((_, { mediaTime }) => {
      this.shown = mediaTime;
      this.#watch();
    });
  }

  #opened() {
    this.usable = true;
    this.say("");
    this.canvas.width = 0;
    dispatchEvent(new Event("filmready"));
  }

  #failed() {
    this.usable = false;
    this.say(`The video ${this.take.video.name} cannot be played here. Choose or drop it.`);
  }

  // The take's time of the picture on the screen; `half` a frame keeps rounding from showing the one before.
  get time() {
    return (this.shown ?? this.video.currentTime) + this.take.video.offset_s + 1e-3;
  }

  seek(time, step) {
    this.shown = null;
    this.video.currentTime = Math.max(0, time - this.take.video.offset_s + Math.min(0.4 * step, 0.01));
  }

  draw(frame, people) {
    const { canvas, video } = this;
    const [w, h] = this.take.image_size;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    const sharp = Math.min(devicePixelRatio, 2);
    if (canvas.width !== Math.round(width * sharp) || canvas.height !== Math.round(height * sharp)) {
      canvas.width = Math.round(width * sharp);
      canvas.height = Math.round(height * sharp);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.overlay || !width || (!this.usable && !video.poster)) return;
    const zoom = Math.min(width / w, height / h);
    pen.setTransform(sharp * zoom, 0, 0, sharp * zoom, sharp * (width - zoom * w) / 2, sharp * (height - zoom * h) / 2);
    const camera = cameraAt(this.take.camera, frame);
    for (const person of people) if (person.frame >= 0) this.#bones(pen, camera, person, 1 / zoom);
  }

  #bones(pen, camera, { data, frame }, pixel) {
    const base = frame * data.parents.length * 3;
    const at = data.parents.map((_, j) => project(camera, data.positions, base + 3 * j));
    pen.lineCap = "round";
    for (const edge of [true, false]) {
      for (const [joint, parent] of data.bones) {
        if (!at[joint] || !at[parent]) continue;
        pen.strokeStyle = edge ? "rgba(255,255,255,.8)" : color(SIDES[data.sides[joint]]);
        pen.lineWidth = (edge ? 4.6 : 2.8) * pixel;
        pen.beginPath();
        pen.moveTo(at[parent][0] + 0.5, at[parent][1] + 0.5);
        pen.lineTo(at[joint][0] + 0.5, at[joint][1] + 0.5);
        pen.stroke();
      }
    }
  }
}
