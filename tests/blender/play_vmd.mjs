// Plays a VMD on a PMD with three.js's MMD loader and animation helper (its IK included) and prints, as JSON, each
// bone's place in the model's units, right-handed, at the frames asked for.
//     node play_vmd.mjs NODE_MODULES MODEL.pmd MOTION.vmd FRAME...
import fs from "fs";
import path from "path";
import { pathToFileURL } from "url";

const [modules, model, motion, ...frames] = process.argv.slice(2);
const jsm = (file) => import(pathToFileURL(path.resolve(modules, "three", "examples", "jsm", file)).href);
const { MMDLoader } = await jsm("loaders/MMDLoader.js");
const { MMDAnimationHelper } = await jsm("animation/MMDAnimationHelper.js");
const { MMDParser } = await jsm("libs/mmdparser.module.js");
const { Vector3 } = await import(pathToFileURL(path.resolve(modules, "three", "build", "three.module.js")).href);

const bytes = (file) => new Uint8Array(fs.readFileSync(file)).buffer;
const parser = new MMDParser.Parser();
const loader = new MMDLoader();
const mesh = loader.meshBuilder.build(parser.parsePmd(bytes(model), true), "");
const vmd = parser.parseVmd(bytes(motion), true);
const clip = loader.animationBuilder.build(vmd, mesh);
const helper = new MMDAnimationHelper({ sync: false, afterglow: 0 });
helper.add(mesh, { animation: clip, physics: false });
const last = Math.max(...vmd.motions.map((m) => m.frameNum));
const at = {};
// A hundredth of a frame late: the player jumps from key to key of neighbouring frames, and times are rounded.
let now = -0.01;
for (const frame of frames.map(Number)) {
  helper.update((frame - now) / 30);
  now = frame;
  mesh.updateMatrixWorld(true);
  at[frame] = {};
  for (const bone of mesh.skeleton.bones) at[frame][bone.name] = new Vector3().setFromMatrixPosition(bone.matrixWorld).toArray();
}
console.log(JSON.stringify({ seconds: clip.duration, last, bones: [...new Set(vmd.motions.map((m) => m.boneName))], at }));
