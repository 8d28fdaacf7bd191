// What three.js's FBX loader reads, as JSON: the clip's seconds and each bone's place at the times asked for.
//     node read_fbx.mjs NODE_MODULES FILE.fbx SECONDS...
import fs from "fs";
import path from "path";
import { pathToFileURL } from "url";

const [modules, file, ...times] = process.argv.slice(2);
const from = (...parts) => import(pathToFileURL(path.resolve(modules, "three", ...parts)).href);
const { FBXLoader } = await from("examples", "jsm", "loaders", "FBXLoader.js");
const { AnimationMixer, Box3, Vector3 } = await from("build", "three.module.js");

const scene = new FBXLoader().parse(new Uint8Array(fs.readFileSync(file)).buffer, "");
const [clip] = scene.animations;
const keys = Math.max(...clip.tracks.map((track) => track.times.length));
const mixer = new AnimationMixer(scene);
mixer.clipAction(clip).play();
const places = [];
const heights = [];
for (const time of times.map(Number)) {
  mixer.setTime(time);
  scene.updateMatrixWorld(true);
  const at = {};
  const box = new Box3();
  scene.traverse((o) => {
    if (o.isBone) at[o.name] = new Vector3().setFromMatrixPosition(o.matrixWorld).toArray();
    if (o.isSkinnedMesh) {
      o.skeleton.update();
      o.computeBoundingBox();
      box.union(o.boundingBox.clone().applyMatrix4(o.matrixWorld));
    }
  });
  places.push(at);
  heights.push([box.min.y, box.max.y]);
}
console.log(JSON.stringify({ clips: scene.animations.length, seconds: clip.duration, last: keys - 1, places, heights }));
