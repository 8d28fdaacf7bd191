// Time: what is shown, whether it runs, how fast. With a playable video the video is the clock.

import { frameAt } from "./data.js";

export const SPEEDS = [0.1, 0.25, 0.5, 1, 2];

export class Player {
  constructor(times, film) {
    this.times = times;
    this.film = film;
    this.time = times[0];
    this.frame = 0;
    this.playing = false;
    this.speed = 1;
    this.loop = true;
    this.step = times.length > 1 ? (this.end - times[0]) / (times.length - 1) : 1 / 30;
  }

  get end() {
    return this.times[this.times.length - 1];
  }

  get filmed() {
    return Boolean(this.film?.usable);
  }

  // To the frame of a time in seconds.
  seek(time) {
    this.time = Math.min(Math.max(time, this.times[0]), this.end);
    this.frame = Math.max(frameAt(this.times, this.time), 0);
    if (this.filmed) this.film.seek(this.times[this.frame], this.#length(this.frame));
  }

  move(frames) {
    this.pause();
    this.seek(this.times[Math.min(Math.max(this.frame + frames, 0), this.times.length - 1)]);
  }

  play() {
    if (this.playing) return;
    if (this.frame >= this.times.length - 1) this.seek(this.times[0]);
    this.playing = true;
    this.last = performance.now();
    if (!this.filmed) return;
    this.film.video.playbackRate = this.speed;
    this.film.video.play().catch(() => this.pause());
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    if (!this.filmed) return;
    this.film.video.pause();
    this.seek(this.time);
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.film) this.film.video.playbackRate = speed;
  }

  // One tick of the screen at `now` ms.
  tick(now) {
    if (!this.playing) return;
    const passed = ((now - this.last) / 1000) * this.speed;
    this.last = now;
    const video = this.filmed ? this.film.video : null;
    if (video?.seeking) return;
    const time = video ? this.film.time : this.time + passed;
    if (video?.ended || time >= this.end + this.#length(this.times.length - 1)) {
      if (this.loop) {
        this.seek(this.times[0]);
        if (video?.paused) video.play().catch(() => this.pause());
      } else this.pause();
      return;
    }
    this.time = Math.max(time, this.times[0]);
    this.frame = Math.max(frameAt(this.times, this.time), 0);
  }

  // Seconds that a frame is on the screen.
  #length(frame) {
    return frame + 1 < this.times.length ? this.times[frame + 1] - this.times[frame] : this.step;
  }
}
