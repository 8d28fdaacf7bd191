// The time line: which soles stand, how high the feet are, how fast a joint is; drawn once, with a cursor over it.

import { jointSpeed, lowest } from "./data.js";
import { color } from "./theme.js";

const SIDES = ["middle", "left", "right"];
const GUTTER = 52;

export class Curves {
  constructor(take, canvas, cursor) {
    Object.assign(this, { take, canvas, cursor, person: take.people[0], joint: 0 });
    const times = take.times;
    this.start = times[0];
    this.span = Math.max(times[times.length - 1] - times[0], 1e-6);
    new ResizeObserver(() => this.redraw()).observe(canvas);
    addEventListener("themechange", () => this.redraw());
  }

  // Curves of another person or joint.
  choose(person, joint) {
    this.person = person;
    this.joint = joint;
    this.redraw();
  }

  toX(time) {
    return GUTTER + ((time - this.start) / this.span) * (this.width - GUTTER - 8);
  }

  toTime(x) {
    const share = (x - GUTTER) / (this.width - GUTTER - 8);
    return this.start + Math.min(Math.max(share, 0), 1) * this.span;
  }

  point(time) {
    this.cursor.style.transform = `translateX(${this.toX(time)}px)`;
  }

  redraw() {
    const { canvas } = this;
    this.width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!this.width || !height) return;
    const sharp = Math.min(devicePixelRatio, 2);
    canvas.width = this.width * sharp;
    canvas.height = height * sharp;
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const rows = 7 * this.person.contact_joints.length + 6;
    const half = (height - rows - 18) / 2;
    this.#filled(pen, height - 18);
    this.#contacts(pen, 3);
    this.#feet(pen, rows + 4, half - 8);
    this.#speed(pen, rows + half + 4, half - 8);
    this.#seconds(pen, height);
    if (this.time !== undefined) this.point(this.time);
    dispatchEvent(new Event("curvesdrawn"));
  }

  // Frames in which nobody was detected.
  #filled(pen, height) {
    pen.fillStyle = color("filled");
    this.#stretches((t) => !this.person.observed[t], (a, b) => pen.fillRect(a, 0, b - a, height));
  }

  #contacts(pen, top) {
    const { contact_joints, contacts, sides } = this.person;
    contact_joints.forEach((joint, i) => {
      pen.fillStyle = color(SIDES[sides[joint]]);
      this.#stretches((t) => contacts[t * contact_joints.length + i] > 127, (a, b) => pen.fillRect(a, top + 7 * i, b - a, 4));
    });
    this.#label(pen, "soles", top + 3.5 * contact_joints.length);
  }

  #stretches(is, draw) {
    const { times } = this.person;
    const last = times.length - 1;
    for (let t = 0; t <= last; t++) {
      if (!is(t)) continue;
      let end = t;
      while (end < last && is(end + 1)) end++;
      const stop = times[Math.min(end + 1, last)];
      draw(this.toX(times[t]), Math.max(this.toX(stop), this.toX(times[t]) + 1));
      t = end;
    }
  }

  #feet(pen, top, height) {
    const { contact_joints, sides } = this.person;
    const curves = [1, 2, 0].map((side) => [side, contact_joints.filter((j) => sides[j] === side)])
      .filter(([, joints]) => joints.length)
      .map(([side, joints]) => [SIDES[side], lowest(this.person, joints)]);
    this.#plot(pen, top, height, "feet", "m", curves, 0.1);
  }

  #speed(pen, top, height) {
    const side = this.person.sides[this.joint];
    const curve = jointSpeed(this.person, this.joint);
    this.#plot(pen, top, height, "speed", "m/s", [[side ? SIDES[side] : "ink", curve]], 0.5);
  }

  #plot(pen, top, height, label, unit, curves, least) {
    const sorted = (curve) => Float32Array.from(curve).sort();
    const high = Math.max(least, ...curves.map(([, c]) => sorted(c)[Math.floor(0.998 * (c.length - 1))] * 1.1));
    const low = Math.min(0, ...curves.map(([, c]) => sorted(c)[Math.floor(0.002 * (c.length - 1))]));
    const toY = (v) => top + height * (1 - (Math.min(Math.max(v, low), high) - low) / (high - low));
    pen.strokeStyle = color("rule");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(GUTTER, Math.round(toY(0)) + 0.5);
    pen.lineTo(this.width - 8, Math.round(toY(0)) + 0.5);
    pen.stroke();
    for (const [name, curve] of curves) {
      pen.strokeStyle = color(name);
      pen.lineWidth = 1.3;
      pen.lineJoin = "round";
      pen.beginPath();
      curve.forEach((v, t) => pen.lineTo(this.toX(this.person.times[t]), toY(v)));
      pen.stroke();
    }
    this.#label(pen, label, top + 0.62 * height);
    pen.fillText(`${high.toPrecision(2)} ${unit}`, GUTTER - 5, top + 2);
  }

  #label(pen, text, y) {
    pen.fillStyle = color("soft");
    pen.textAlign = "right";
    pen.fillText(text, GUTTER - 7, y);
  }

  #seconds(pen, height) {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];
    const step = steps.find((s) => (s / this.span) * (this.width - GUTTER) > 48) ?? 7200;
    pen.fillStyle = color("soft");
    pen.textAlign = "center";
    for (let s = Math.ceil(this.start / step) * step; s <= this.start + this.span + 1e-9; s += step) {
      const text = step >= 60 ? `${Math.round(s / 60)} min` : `${+s.toFixed(1)} s`;
      pen.fillText(text, Math.min(this.toX(s), this.width - 14), height - 8);
      pen.fillRect(this.toX(s), height - 17, 1, 3);
    }
  }
}
