// What the page was given: JSON with base64 arrays, turned into typed arrays, and the joints' places by forward kinematics.

const TYPES = { f8: Float64Array, f4: Float32Array, i2: Int16Array, u2: Uint16Array, u1: Uint8Array };

// The bytes of base64 text.
export function bytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
  return out;
}

// Every {"type", "base64"} inside `value` becomes a typed array.
function arrays(value) {
  if (Array.isArray(value)) return value.map(arrays);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.base64 === "string") return new TYPES[value.type](bytes(value.base64).buffer);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, arrays(inner)]));
}

// The take that the page holds, each person with `positions` (T * J * 3), metres, world.
export function readTake(element) {
  const take = arrays(JSON.parse(element.textContent));
  for (const person of take.people) person.positions = forwardKinematics(person);
  return take;
}

// The last frame that starts no later than `time`; -1 before the first.
export function frameAt(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time + 1e-6) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// Global place of every joint: p[j] = p[parent] + R[parent] offset[j]. Rotations are xyzw, 16 bits a number.
function forwardKinematics({ times, parents, offsets, turning, rotations, root }) {
  const count = parents.length;
  const slot = new Int32Array(count).fill(-1);
  turning.forEach((joint, i) => (slot[joint] = i));
  const out = new Float32Array(times.length * count * 3);
  const turned = new Float64Array(count * 4);
  const local = new Float64Array(4);
  for (let t = 0; t < times.length; t++) {
    const base = t * count * 3;
    for (let j = 0; j < count; j++) {
      readQuaternion(rotations, slot[j] < 0 ? -1 : (t * turning.length + slot[j]) * 4, local);
      const p = parents[j];
      if (p < 0) {
        turned.set(local, 4 * j);
        for (let k = 0; k < 3; k++) out[base + k] = root[3 * t + k];
      } else {
        multiply(turned, 4 * p, local, turned, 4 * j);
        rotateInto(turned, 4 * p, offsets, 3 * j, out, base + 3 * j, base + 3 * p);
      }
    }
  }
  return out;
}

// A unit quaternion from 16-bit numbers at `at`; the identity where `at` is negative.
export function readQuaternion(rotations, at, out) {
  if (at < 0) {
    out[0] = out[1] = out[2] = 0;
    out[3] = 1;
    return;
  }
  const x = rotations[at];
  const y = rotations[at + 1];
  const z = rotations[at + 2];
  const w = rotations[at + 3];
  const scale = 1 / Math.sqrt(x * x + y * y + z * z + w * w);
  out[0] = x * scale;
  out[1] = y * scale;
  out[2] = z * scale;
  out[3] = w * scale;
}

function multiply(a, i, b, out, o) {
  const ax = a[i], ay = a[i + 1], az = a[i + 2], aw = a[i + 3];
  const bx = b[0], by = b[1], bz = b[2], bw = b[3];
  out[o] = aw * bx + ax * bw + ay * bz - az * by;
  out[o + 1] = aw * by - ax * bz + ay * bw + az * bx;
  out[o + 2] = aw * bz + ax * by - ay * bx + az * bw;
  out[o + 3] = aw * bw - ax * bx - ay * by - az * bz;
}

// out[o] = out[from] + q[i] v[j]
function rotateInto(q, i, v, j, out, o, from) {
  const x = q[i], y = q[i + 1], z = q[i + 2], w = q[i + 3];
  const a = v[j], b = v[j + 1], c = v[j + 2];
  const u = 2 * (y * c - z * b), s = 2 * (z * a - x * c), r = 2 * (x * b - y * a);
  out[o] = out[from] + a + w * u + y * r - z * s;
  out[o + 1] = out[from + 1] + b + w * s + z * u - x * r;
  out[o + 2] = out[from + 2] + c + w * r + x * s - y * u;
}

// Speed (T) in m/s of one joint: central differences over the true times.
export function jointSpeed({ times, parents, positions }, joint) {
  const stride = parents.length * 3;
  const out = new Float32Array(times.length);
  for (let t = 0; t < times.length; t++) {
    const a = Math.max(t - 1, 0), b = Math.min(t + 1, times.length - 1);
    const i = a * stride + 3 * joint, j = b * stride + 3 * joint;
    const x = positions[j] - positions[i], y = positions[j + 1] - positions[i + 1], z = positions[j + 2] - positions[i + 2];
    out[t] = b > a ? Math.sqrt(x * x + y * y + z * z) / (times[b] - times[a]) : 0;
  }
  return out;
}

// Height (T) in metres of the lowest of some joints.
export function lowest({ times, parents, positions }, joints) {
  const stride = parents.length * 3;
  const out = new Float32Array(times.length);
  for (let t = 0; t < times.length; t++) {
    let least = Infinity;
    for (const j of joints) least = Math.min(least, positions[t * stride + 3 * j + 1]);
    out[t] = least;
  }
  return out;
}

// Pose and intrinsics of the video's camera in frame `t` of all: one for the clip, or one a frame.
export function cameraAt(camera, t) {
  const pick = (array, size) => array.subarray(array.length > size ? t * size : 0, array.length > size ? (t + 1) * size : size);
  return { K: pick(camera.K, 9), R: pick(camera.R, 9), t: pick(camera.t, 3), distortion: camera.distortion };
}

// Pixel [u, v] of a world point at `at` in `positions`, or null behind the camera; OpenCV's k1 k2 p1 p2 k3.
export function project({ K, R, t, distortion }, positions, at) {
  const x = positions[at], y = positions[at + 1], z = positions[at + 2];
  const depth = R[6] * x + R[7] * y + R[8] * z + t[2];
  if (depth < 1e-3) return null;
  const a = (R[0] * x + R[1] * y + R[2] * z + t[0]) / depth;
  const b = (R[3] * x + R[4] * y + R[5] * z + t[1]) / depth;
  const [k1, k2, p1, p2, k3] = distortion;
  const r2 = a * a + b * b;
  const radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3));
  const u = a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a);
  const v = b * radial + p1 * (r2 + 2 * b * b) + 2 * p2 * a * b;
  return [K[0] * u + K[1] * v + K[2], K[4] * v + K[5]];
}
