// One person in the room: a skinned body, a skeleton of spheres and cones, lit soles, and the root's path.

import {
  Bone, BufferAttribute, BufferGeometry, CanvasTexture, Color, CylinderGeometry, DoubleSide, Float32BufferAttribute, Group,
  InstancedMesh, Matrix4, Mesh, MeshBasicMaterial, MeshStandardMaterial, PlaneGeometry, Quaternion, Skeleton, SkinnedMesh,
  SphereGeometry, Vector3,
} from "three";
import { frameAt, readQuaternion } from "./data.js";
import { color } from "./theme.js";

const SIDES = ["middle", "left", "right"];
const PATH_M = 0.022;

export class Person {
  constructor(data) {
    this.data = data;
    this.frame = -2;
    this.group = new Group();
    this.#body();
    this.#skeleton();
    this.#soles();
    this.#path();
    this.recolor();
  }

  #body() {
    const { rig, surfaces } = this.data.body;
    this.bones = rig.parents.map(() => new Bone());
    rig.parents.forEach((parent, i) => {
      this.bones[i].position.fromArray(rig.offsets, 3 * i);
      if (parent >= 0) this.bones[parent].add(this.bones[i]);
    });
    const slot = new Map(this.data.turning.map((joint, i) => [joint, i]));
    this.slots = rig.sources.map((joint) => slot.get(joint) ?? -1);
    const inverses = rig.parents.map((_, i) => new Matrix4().makeTranslation(
      -rig.rest[3 * i], -rig.rest[3 * i + 1], -rig.rest[3 * i + 2]));
    const skeleton = new Skeleton(this.bones, inverses);
    this.body = new Group();
    this.body.add(this.bones[0]);
    for (const surface of surfaces) {
      const shape = new BufferGeometry();
      shape.setAttribute("position", new BufferAttribute(surface.positions, 3));
      shape.setAttribute("skinIndex", new BufferAttribute(surface.joints, 4));
      shape.setAttribute("skinWeight", new BufferAttribute(surface.weights, 4));
      shape.setIndex(new BufferAttribute(surface.triangles, 1));
      shape.computeVertexNormals();
      const paint = new MeshStandardMaterial({ color: new Color(...surface.color), roughness: surface.roughness });
      const mesh = new SkinnedMesh(shape, paint);
      mesh.bind(skeleton, new Matrix4());
      mesh.castShadow = mesh.receiveShadow = true;
      mesh.frustumCulled = false;
      this.body.add(mesh);
    }
    this.paints = this.body.children.filter((child) => child.isMesh).map((mesh) => mesh.material);
    this.group.add(this.body);
  }

  #skeleton() {
    const { parents, bones } = this.data;
    const paint = new MeshStandardMaterial({ roughness: 0.55 });
    this.joints = new InstancedMesh(new SphereGeometry(1, 14, 10), paint, parents.length);
    const cone = new CylinderGeometry(0.55, 1, 1, 10).translate(0, 0.5, 0);
    this.sticks = new InstancedMesh(cone, paint, bones.length);
    this.lines = new Group();
    for (const mesh of [this.joints, this.sticks]) {
      mesh.castShadow = true;
      mesh.frustumCulled = false;
      this.lines.add(mesh);
    }
    this.lines.visible = false;
    this.group.add(this.lines);
  }

  #soles() {
    const glow = new CanvasTexture(glowPicture());
    const disc = new PlaneGeometry(0.24, 0.24).rotateX(-Math.PI / 2);
    this.soles = this.data.contact_joints.map(() => new Mesh(disc, new MeshBasicMaterial({
      map: glow, transparent: true, depthWrite: false, opacity: 0 })));
    this.lights = new Group();
    for (const sole of this.soles) this.lights.add(sole);
    this.group.add(this.lights);
  }

  #path() {
    const { root, times } = this.data;
    const shape = ribbon(root, times.length);
    const strip = (opacity, lift) => {
      const mesh = new Mesh(shape.clone(), new MeshBasicMaterial({ transparent: true, opacity, depthWrite: false, side: DoubleSide }));
      mesh.position.y = lift;
      mesh.frustumCulled = false;
      return mesh;
    };
    this.trail = [strip(0.3, 0.003), strip(0.95, 0.004)];
    this.path = new Group();
    this.path.add(...this.trail);
    this.group.add(this.path);
  }

  recolor() {
    const { sides, bones } = this.data;
    const tints = SIDES.map((name) => new Color(color(name)));
    sides.forEach((side, j) => this.joints.setColorAt(j, tints[side]));
    bones.forEach(([joint], i) => this.sticks.setColorAt(i, tints[sides[joint]]));
    this.joints.instanceColor.needsUpdate = this.sticks.instanceColor.needsUpdate = true;
    this.soles.forEach((sole, i) => sole.material.color.copy(tints[sides[this.data.contact_joints[i]]]));
    this.trail.forEach((strip) => strip.material.color.set(this.data.tint ?? color("path")));
  }

  // mode: "body", "skeleton" or "both"
  show(mode) {
    this.body.visible = mode !== "skeleton";
    this.lines.visible = mode !== "body";
    for (const paint of this.paints) {
      paint.transparent = mode === "both";
      paint.opacity = mode === "both" ? 0.35 : 1;
      paint.depthWrite = mode !== "both";
      paint.needsUpdate = true;
    }
    this.mode = mode;
    if (this.frame >= 0) this.#poseLines(this.frame);
  }

  // The person at `time` seconds; before the first and after the last frame of its own it is not there.
  pose(time, tail) {
    const { times } = this.data;
    const frame = time > times[times.length - 1] + tail ? -1 : frameAt(times, time);
    if (frame === this.frame) return;
    this.frame = frame;
    this.group.visible = frame >= 0;
    if (frame < 0) return;
    this.#poseBody(frame);
    if (this.lines.visible) this.#poseLines(frame);
    this.#poseSoles(frame);
    this.trail[1].geometry.setDrawRange(0, 6 * frame);
  }

  #poseBody(frame) {
    const { rotations, turning, root } = this.data;
    for (let i = 0; i < this.bones.length; i++) {
      if (this.slots[i] < 0) continue;
      readQuaternion(rotations, (frame * turning.length + this.slots[i]) * 4, four);
      this.bones[i].quaternion.set(four[0], four[1], four[2], four[3]);
    }
    this.bones[0].position.fromArray(root, 3 * frame);
  }

  #poseLines(frame) {
    const { parents, positions, bones, sizes } = this.data;
    const base = frame * parents.length * 3;
    for (let j = 0; j < parents.length; j++) {
      spot.fromArray(positions, base + 3 * j);
      this.joints.setMatrixAt(j, matrix.compose(spot, none, scale.setScalar(sizes[j])));
    }
    bones.forEach(([joint, parent], i) => {
      spot.fromArray(positions, base + 3 * parent);
      way.fromArray(positions, base + 3 * joint).sub(spot);
      const length = Math.max(way.length(), 1e-4);
      turn.setFromUnitVectors(up, way.divideScalar(length));
      const width = Math.min(0.02, 0.14 * length);
      this.sticks.setMatrixAt(i, matrix.compose(spot, turn, scale.set(width, length, width)));
    });
    this.joints.instanceMatrix.needsUpdate = this.sticks.instanceMatrix.needsUpdate = true;
  }

  #poseSoles(frame) {
    const { contact_joints, contacts, parents, positions } = this.data;
    contact_joints.forEach((joint, i) => {
      const at = (frame * parents.length + joint) * 3;
      this.soles[i].position.set(positions[at], Math.max(positions[at + 1], 0) + 0.006, positions[at + 2]);
      this.soles[i].material.opacity = contacts[frame * contact_joints.length + i] / 255;
      this.soles[i].visible = this.soles[i].material.opacity > 0.3;
    });
  }

  // [x, y, z] of the root in a frame.
  rootAt(frame, out) {
    return out.fromArray(this.data.root, 3 * Math.max(frame, 0));
  }
}

const four = new Float64Array(4);
const spot = new Vector3();
const way = new Vector3();
const scale = new Vector3();
const up = new Vector3(0, 1, 0);
const none = new Quaternion();
const turn = new Quaternion();
const matrix = new Matrix4();

// A flat strip on the floor below the root: two triangles a step, so that the first 6 n indices are n steps.
function ribbon(root, count) {
  const corners = new Float32Array(count * 6);
  const steps = new Uint32Array(Math.max(count - 1, 0) * 6);
  let across = [PATH_M / 2, 0];
  for (let t = 0; t < count; t++) {
    const a = 3 * Math.max(t - 1, 0), b = 3 * Math.min(t + 1, count - 1);
    const dx = root[b] - root[a], dz = root[b + 2] - root[a + 2];
    const length = Math.hypot(dx, dz);
    if (length > 1e-3) across = [(-dz / length) * (PATH_M / 2), (dx / length) * (PATH_M / 2)];
    const x = root[3 * t], z = root[3 * t + 2];
    corners.set([x + across[0], 0, z + across[1], x - across[0], 0, z - across[1]], 6 * t);
    if (t + 1 < count) steps.set([2 * t, 2 * t + 1, 2 * t + 2, 2 * t + 1, 2 * t + 3, 2 * t + 2], 6 * t);
  }
  const shape = new BufferGeometry();
  shape.setAttribute("position", new Float32BufferAttribute(corners, 3));
  shape.setIndex(new BufferAttribute(steps, 1));
  return shape;
}

function glowPicture() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const pen = canvas.getContext("2d");
  const light = pen.createRadialGradient(32, 32, 2, 32, 32, 31);
  light.addColorStop(0, "rgba(255,255,255,1)");
  light.addColorStop(0.45, "rgba(255,255,255,.85)");
  light.addColorStop(0.55, "rgba(255,255,255,.3)");
  light.addColorStop(1, "rgba(255,255,255,0)");
  pen.fillStyle = light;
  pen.fillRect(0, 0, 64, 64);
  return canvas;
}
