// The room: renderer, lights, floor with grid and shadow, and the eye that orbits and follows.

import {
  Color, DirectionalLight, Fog, HemisphereLight, Mesh, PCFShadowMap, PerspectiveCamera, PlaneGeometry, Scene,
  ShaderMaterial, ShadowMaterial, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { color, isDark } from "./theme.js";

const FLOOR_M = 120;
const GRID = {
  vertex: `varying vec3 at; void main() { vec4 w = modelMatrix * vec4(position, 1.0); at = w.xyz;
    gl_Position = projectionMatrix * viewMatrix * w; }`,
  fragment: `varying vec3 at; uniform vec3 ink; uniform vec3 middle; uniform float strength;
    float lines(float size, float wide) { vec2 p = at.xz / size; vec2 w = fwidth(p) * wide;
      vec2 d = abs(fract(p - 0.5) - 0.5) / max(w, 1e-5); vec2 fade = 1.0 - clamp(w * 2.0, 0.0, 1.0);
      vec2 l = (1.0 - min(d, 1.0)) * fade; return max(l.x, l.y); }
    void main() { float far = smoothstep(26.0, 4.0, distance(at.xz, middle.xz));
      float a = max(lines(1.0, 1.2) * 0.6, lines(0.25, 1.0) * 0.22) * far * strength;
      if (a < 0.004) discard; gl_FragColor = vec4(ink, a); }`,
};

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: true });
    this.renderer.debug.checkShaderErrors = false; // asking would wait for the compiler
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.scene = new Scene();
    this.scene.fog = new Fog(0xffffff, 14, 45);
    this.eye = new PerspectiveCamera(38, 1, 0.05, 200);
    this.orbit = new OrbitControls(this.eye, canvas);
    this.orbit.enableDamping = false;
    this.orbit.maxPolarAngle = Math.PI * 0.55;
    this.orbit.minDistance = 0.4;
    this.orbit.maxDistance = 60;
    this.dirty = true;
    this.orbit.addEventListener("change", () => (this.dirty = true));
    this.#light();
    this.#floor();
    this.recolor();
    addEventListener("themechange", () => this.recolor());
    new ResizeObserver(() => (this.resized = true)).observe(canvas.parentElement);
    this.resize();
  }

  #light() {
    this.sky = new HemisphereLight(0xffffff, 0xffffff, 1);
    this.sun = new DirectionalLight(0xffffff, 2);
    this.sun.castShadow = true;
    this.sun.shadow.mapSize.set(1024, 1024);
    this.sun.shadow.radius = 5;
    this.sun.shadow.normalBias = 0.02;
    this.scene.add(this.sky, this.sun, this.sun.target);
    this.cover(new Vector3(), 2);
  }

  #floor() {
    const plane = new PlaneGeometry(FLOOR_M, FLOOR_M).rotateX(-Math.PI / 2);
    this.shade = new Mesh(plane, new ShadowMaterial({ opacity: 0.3 }));
    this.shade.receiveShadow = true;
    this.grid = new Mesh(plane, new ShaderMaterial({
      uniforms: { ink: { value: new Color() }, middle: { value: new Vector3() }, strength: { value: 1 } },
      vertexShader: GRID.vertex, fragmentShader: GRID.fragment, transparent: true, depthWrite: false,
    }));
    this.grid.renderOrder = -1;
    this.scene.add(this.shade, this.grid);
  }

  // The shadow and the grid's middle lie around `middle`; `radius` metres are in the shadow's reach.
  cover(middle, radius) {
    this.sun.target.position.copy(middle).setY(0);
    this.sun.position.copy(this.sun.target.position).add(new Vector3(2.2, 6, 3));
    if (radius === this.radius) return;
    this.radius = radius;
    const reach = this.sun.shadow.camera;
    Object.assign(reach, { left: -radius, right: radius, top: radius, bottom: -radius, near: 0.5, far: 14 + radius });
    reach.updateProjectionMatrix();
  }

  recolor() {
    const back = new Color(color("stage"));
    this.scene.background = back;
    this.scene.fog.color = back;
    this.sky.color.set(isDark() ? 0xb9c7e6 : 0xffffff);
    this.sky.groundColor.set(isDark() ? 0x2a2c33 : 0xb8b2a8);
    this.sky.intensity = isDark() ? 1.5 : 1.9;
    this.sun.intensity = isDark() ? 2.2 : 2.4;
    this.shade.material.opacity = isDark() ? 0.5 : 0.24;
    this.grid.material.uniforms.ink.value.set(color("grid"));
    this.dirty = true;
  }

  // The eye looks at `target` from `direction` so far that a ball of `radius` metres fits.
  look(target, direction, radius) {
    const half = (this.eye.fov / 2) * (Math.PI / 180);
    const narrow = Math.min(half, Math.atan(Math.tan(half) * this.eye.aspect));
    this.orbit.target.copy(target);
    this.eye.position.copy(direction).normalize().multiplyScalar(radius / Math.sin(narrow)).add(target);
    this.orbit.update();
    this.dirty = true;
  }

  // Moves eye and target together, along the floor.
  carry(dx, dz) {
    for (const point of [this.orbit.target, this.eye.position]) point.set(point.x + dx, point.y, point.z + dz);
    this.orbit.update();
    this.dirty = true;
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    this.eye.aspect = width / height;
    this.eye.updateProjectionMatrix();
    this.dirty = true;
  }

  // Draws if anything changed; whether it did.
  draw() {
    if (this.resized) {
      this.resized = false;
      this.resize();
    }
    if (!this.dirty) return false;
    this.dirty = false;
    this.grid.material.uniforms.middle.value.copy(this.orbit.target);
    this.renderer.render(this.scene, this.eye);
    return true;
  }
}
