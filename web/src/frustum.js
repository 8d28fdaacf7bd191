// The video's camera in the room: its pyramid of sight.

import { BufferGeometry, Float32BufferAttribute, Group, LineBasicMaterial, LineSegments, Matrix4, Vector3 } from "three";
import { cameraAt } from "./data.js";
import { color } from "./theme.js";

const DEPTH_M = 0.7;
const EDGES = [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1], [1, 5], [2, 5]];

export class Frustum {
  constructor(camera, imageSize) {
    this.camera = camera;
    const [w, h] = imageSize;
    const { K } = cameraAt(camera, 0);
    const ray = (u, v) => [((u - K[2]) / K[0]) * DEPTH_M, ((v - K[5]) / K[4]) * DEPTH_M, DEPTH_M];
    // A tent on the upper edge says which side is up.
    const points = [[0, 0, 0], ray(0, 0), ray(w, 0), ray(w, h), ray(0, h), ray(w / 2, -0.18 * h)];
    const shape = new BufferGeometry();
    shape.setAttribute("position", new Float32BufferAttribute(EDGES.flat().flatMap((i) => points[i]), 3));
    this.group = new Group();
    this.group.matrixAutoUpdate = false;
    this.group.add(new LineSegments(shape, new LineBasicMaterial()));
    this.recolor();
    this.place(0);
  }

  recolor() {
    this.group.children[0].material.color.set(color("lens"));
  }

  // World from camera: the transpose of R, and -R' t.
  place(frame) {
    const { R, t } = cameraAt(this.camera, frame);
    const at = [0, 1, 2].map((k) => -(R[k] * t[0] + R[3 + k] * t[1] + R[6 + k] * t[2]));
    this.group.matrix.copy(new Matrix4().set(
      R[0], R[3], R[6], at[0], R[1], R[4], R[7], at[1], R[2], R[5], R[8], at[2], 0, 0, 0, 1));
    this.group.matrixWorldNeedsUpdate = true;
    this.position = new Vector3(...at);
    this.forward = new Vector3(R[6], R[7], R[8]);
  }

  // Vertical field of view in degrees that shows the whole picture in a pane of this aspect.
  fov(frame, imageSize, aspect) {
    const { K } = cameraAt(this.camera, frame);
    const tall = Math.max(imageSize[1] / (2 * K[4]), imageSize[0] / (2 * K[0]) / aspect);
    return (2 * Math.atan(tall) * 180) / Math.PI;
  }
}
