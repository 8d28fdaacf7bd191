// Makes the viewer's assets: npm ci && npm run build [-- FOLDER]. Same sources and lock file, same bytes.
import { build } from "esbuild";
import { copyFile, mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const out = process.argv[2] ? resolve(process.argv[2]) : at("../src/kinelift/viewer/assets/");

await mkdir(out, { recursive: true });
await build({
  entryPoints: { viewer: at("src/main.js"), style: at("src/style.css") },
  outdir: out,
  absWorkingDir: at("."),
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome100", "firefox100", "safari15.4"],
  charset: "ascii",
  legalComments: "eof", // three.js's licence notice stays in every page
  logLevel: "warning",
});
await copyFile(at("src/page.html"), join(out, "page.html"));
await copyFile(at("node_modules/three/LICENSE"), join(out, "three-LICENSE.txt"));
