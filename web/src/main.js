// The page: puts take, room, video, curves and keys together, and runs one loop.

import { Vector3 } from "three";
import { Curves } from "./curves.js";
import { readTake } from "./data.js";
import { Film } from "./film.js";
import { Frustum } from "./frustum.js";
import { listKeys, onKeys } from "./keys.js";
import { Person } from "./person.js";
import { Player, SPEEDS } from "./player.js";
import { Stage } from "./stage.js";
import { toggleTheme } from "./theme.js";
import { Timing } from "./timing.js";

const $ = (id) => document.getElementById(id);
const timing = new Timing();
timing.mark("script");
const take = readTake($("take"));
timing.mark("data");
const stage = new Stage($("room"));
timing.mark("room");
const people = take.people.map((data) => new Person(data));
const frustum = new Frustum(take.camera, take.image_size);
stage.scene.add(frustum.group, ...people.map((p) => p.group));
const film = take.video ? new Film(take, $("video"), $("overlay"), say) : null;
const player = new Player(take.times, film);
const curves = new Curves(take, $("curves"), $("cursor"));
const home = new Vector3();
const carried = new Vector3();
let chosen = 0;
let shown = -1;
let running = false;
let stale = true;

function say(text) {
  $("missing").hidden = !text;
  $("missing-text").textContent = text;
}

// The middle of the chosen person, or of all who are there.
function middle(out) {
  const there = people.filter((p) => p.frame >= 0);
  out.set(0, 0, 0);
  for (const person of there) out.add(person.rootAt(person.frame, carried));
  return there.length ? out.divideScalar(there.length) : out.copy(home);
}

function refresh() {
  const { frame, time } = player;
  curves.time = time;
  curves.point(time);
  if (frame === shown && !stale) return;
  const before = shown;
  shown = frame;
  for (const person of people) person.pose(take.times[frame], player.step);
  frustum.place(frame);
  film?.draw(frame, people);
  const now = middle(new Vector3());
  stage.cover(now, take.people.length > 1 ? 4 : 2.2);
  if (before >= 0 && !stale && $("follow").getAttribute("aria-pressed") === "true") stage.carry(now.x - home.x, now.z - home.z);
  home.copy(now);
  stale = false;
  stage.dirty = true;
  $("time").textContent = `${take.times[frame].toFixed(2)} s`;
  $("frame").textContent = `${frame + 1} / ${take.times.length}`;
  $("curves").setAttribute("aria-valuenow", take.times[frame].toFixed(2));
  $("curves").setAttribute("aria-valuetext", `${take.times[frame].toFixed(2)} seconds`);
}

function loop(now) {
  const start = performance.now();
  player.tick(now);
  refresh();
  const drawn = stage.draw();
  if (drawn && player.playing) timing.add(performance.now() - start);
  if (running !== player.playing) $("play").setAttribute("aria-pressed", (running = player.playing));
  requestAnimationFrame(loop);
}

// Where the eye looks from, by name.
function view(name) {
  const now = middle(new Vector3());
  const target = new Vector3(now.x, Math.max(0.5, Math.min(now.y, 1)), now.z);
  const spread = Math.max(0.95, ...people.filter((p) => p.frame >= 0).map((p) => p.rootAt(p.frame, new Vector3()).distanceTo(now) + 0.5));
  stage.eye.fov = 38;
  if (name === "camera") {
    stage.eye.fov = frustum.fov(player.frame, take.image_size, stage.eye.aspect);
    stage.eye.position.copy(frustum.position);
    const far = Math.max(frustum.position.distanceTo(target), 0.5);
    stage.orbit.target.copy(frustum.position).addScaledVector(frustum.forward, far);
    stage.orbit.update();
  } else {
    const from = { front: [0, 0.12, 1], side: [1, 0.12, 0], top: [0, 1, 0.001], start: [0.62, 0.34, 1] }[name];
    stage.look(target, new Vector3(...from), name === "start" ? spread * 1.25 : spread * 1.15);
  }
  stage.eye.updateProjectionMatrix();
  stage.dirty = true;
}

function toggle(id) {
  const on = $(id).getAttribute("aria-pressed") !== "true";
  $(id).setAttribute("aria-pressed", on);
  ({
    path: () => people.forEach((p) => (p.path.visible = on)),
    soles: () => people.forEach((p) => (p.lights.visible = on)),
    lens: () => (frustum.group.visible = on),
    grid: () => (stage.grid.visible = on),
    drawn: () => film && (film.overlay = on),
  })[id]?.();
  stale = true;
}

function setMode(mode) {
  $("mode").value = mode;
  people.forEach((p) => p.show(mode));
  stage.dirty = true;
}

function setSpeed(index) {
  const speed = SPEEDS[Math.min(Math.max(index, 0), SPEEDS.length - 1)];
  $("speed").value = speed;
  player.setSpeed(speed);
}

function choose(person, joint) {
  chosen = person;
  const data = take.people[person];
  if (joint === undefined) {
    joint = Math.max(data.joints.indexOf("left_ankle"), 0);
    $("joint").replaceChildren(...data.joints.map((name, j) => new Option(name.replaceAll("_", " "), j)));
  }
  $("joint").value = joint;
  $("person").value = person;
  curves.choose(data, joint);
}

const playPause = () => (player.playing ? player.pause() : player.play());
const help = () => ($("help").open ? $("help").close() : $("help").showModal());
const nextMode = () => setMode({ body: "skeleton", skeleton: "both", both: "body" }[$("mode").value]);
const KEYS = [
  [[" ", "k"], "play or pause", playPause],
  [["ArrowRight", "."], "one frame on", () => player.move(1)],
  [["ArrowLeft", ","], "one frame back", () => player.move(-1)],
  [["Shift+ArrowRight", "l"], "one second on", () => player.seek(player.time + 1)],
  [["Shift+ArrowLeft", "j"], "one second back", () => player.seek(player.time - 1)],
  [["Home"], "to the start", () => player.seek(take.times[0])],
  [["End"], "to the end", () => player.seek(player.end)],
  [["ArrowUp", "+"], "faster", () => setSpeed(SPEEDS.indexOf(player.speed) + 1)],
  [["ArrowDown", "-"], "slower", () => setSpeed(SPEEDS.indexOf(player.speed) - 1)],
  [["r"], "repeat on or off", () => $("loop").click()],
  [["b"], "body, skeleton, both", nextMode],
  [["1"], "from the front", () => view("front")],
  [["2"], "from the side", () => view("side")],
  [["3"], "from above", () => view("top")],
  [["4"], "from the video's camera", () => view("camera")],
  [["0"], "first view", () => view("start")],
  [["f"], "follow the person", () => toggle("follow")],
  [["c"], "contacts", () => toggle("soles")],
  [["p"], "path", () => toggle("path")],
  [["v"], "frustum of the video's camera", () => toggle("lens")],
  [["g"], "grid", () => toggle("grid")],
  [["o"], "skeleton over the video", () => toggle("drawn")],
  [["t"], "light or dark", toggleTheme],
  [["?", "h"], "this list", help],
];

function wire() {
  $("play").onclick = playPause;
  $("back").onclick = () => player.move(-1);
  $("on").onclick = () => player.move(1);
  $("loop").onclick = () => $("loop").setAttribute("aria-pressed", (player.loop = !player.loop));
  $("speed").replaceChildren(...SPEEDS.map((s) => new Option(`${s}\u00d7`, s)));
  $("speed").value = 1;
  $("speed").onchange = () => player.setSpeed(Number($("speed").value));
  $("mode").onchange = () => setMode($("mode").value);
  for (const id of ["follow", "soles", "path", "lens", "grid", "drawn"]) $(id).onclick = () => toggle(id);
  for (const button of document.querySelectorAll("[data-view]")) button.onclick = () => view(button.dataset.view);
  $("theme").onclick = toggleTheme;
  $("keys").onclick = $("close").onclick = help;
  $("person").replaceChildren(...take.people.map((p, i) => new Option(p.name, i)));
  $("person").hidden = take.people.length < 2;
  $("person").onchange = () => choose(Number($("person").value));
  $("joint").onchange = () => choose(chosen, Number($("joint").value));
  listKeys($("key-list"), KEYS);
  onKeys(KEYS);
  scrubbing();
  if (film) choosing();
  else for (const id of ["film-pane", "drawn"]) $(id).hidden = true;
  document.body.classList.toggle("no-film", !film);
  addEventListener("filmready", () => {
    const running = player.playing; // by its own clock until now
    player.pause();
    player.seek(player.time);
    if (running) player.play();
    stale = true;
  });
  addEventListener("themechange", () => {
    people.forEach((p) => p.recolor());
    frustum.recolor();
    stale = true;
  });
  addEventListener("resize", () => (stale = true));
}

function scrubbing() {
  const line = $("curves");
  const [first, last] = [take.times[0], player.end];
  line.setAttribute("aria-valuemin", first.toFixed(2));
  line.setAttribute("aria-valuemax", last.toFixed(2));
  const to = (event) => player.seek(curves.toTime(event.clientX - line.getBoundingClientRect().left));
  line.onpointerdown = (event) => {
    line.setPointerCapture(event.pointerId);
    line.dataset.resume = player.playing;
    player.pause();
    to(event);
  };
  line.onpointermove = (event) => line.hasPointerCapture(event.pointerId) && to(event);
  line.onpointerup = () => line.dataset.resume === "true" && player.play();
}

// A video that is not where it was can be chosen or dropped.
function choosing() {
  $("choose").onchange = () => $("choose").files[0] && film.open($("choose").files[0]);
  const pane = $("film-pane");
  pane.ondragover = (event) => event.preventDefault();
  pane.ondrop = (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) film.open(event.dataTransfer.files[0]);
  };
}

wire();
choose(0);
setMode("body");
refresh();
stage.resize();
view("start");
timing.mark("people");
stage.draw();
timing.mark("drawn");
requestAnimationFrame(loop);

// For tests and for whoever wants to script the page.
window.kinelift = {
  ready: true,
  load_ms: performance.now(),
  timing,
  player,
  seek: (time) => {
    player.seek(time);
    refresh();
  },
  play: () => player.play(),
  pause: () => player.pause(),
  view,
  setMode,
  get time() {
    return take.times[player.frame];
  },
  get frame() {
    return player.frame;
  },
  // Places of a person's joints that are on the screen: [[x, y, z], ...] metres, or null while it is not there.
  positions: (person = 0) => {
    const { data, frame } = people[person];
    if (frame < 0) return null;
    const n = data.parents.length;
    return data.parents.map((_, j) => Array.from(data.positions.subarray((frame * n + j) * 3, (frame * n + j) * 3 + 3)));
  },
  // Places of the drawn body's bones, by the names of the rig.
  bones: (person = 0) => Object.fromEntries(people[person].bones.map((bone, i) => {
    bone.updateWorldMatrix(true, false);
    return [take.people[person].body.rig.names[i], new Vector3().setFromMatrixPosition(bone.matrixWorld).toArray()];
  })),
};
