/** Where motions are seen: renderer, camera, light, floor. It draws only when something changed. */

import * as THREE from "./three.min.js";

const HALF_VIEW = Math.tan((0.5 * 28 * Math.PI) / 180); // the camera sees 28 degrees from top to bottom
const COLOURS = "paper tile tint line left right middle bodyLeft bodyRight bodyMiddle skin trail".split(" ");
const ROOM = 1.08; // of the picture's side to that of the figures
const GAP = 0.45; // between two figures beside each other, of the same
const MARGIN = 0.16; // of the size of a body: what is around its joints

const FLOOR_VERTEX = `
  varying vec2 place;
  void main() {
    vec4 world = modelMatrix * vec4(position, 1.0);
    place = world.xz;
    gl_Position = projectionMatrix * viewMatrix * world;
  }`;

// squares with lines of about a pixel, which melt into an even tone where they are too small to be seen
const FLOOR_FRAGMENT = `
  varying vec2 place;
  uniform vec2 centre;
  uniform float cell, reach;
  uniform vec3 tile, tint, line;
  void main() {
    vec2 cells = place / cell;
    vec2 pixel = fwidth(cells);
    vec2 distances = abs(fract(cells - 0.5) - 0.5);
    vec2 near = (1.0 - smoothstep(0.4 * pixel, 1.4 * pixel, distances)) * (1.0 - smoothstep(0.2, 0.6, pixel));
    float odd = mod(floor(cells.x) + floor(cells.y), 2.0);
    float sharp = 1.0 - smoothstep(0.2, 0.6, max(pixel.x, pixel.y));
    vec3 colour = mix(tile, tint, mix(0.5, odd, sharp));
    float fade = 1.0 - smoothstep(0.3, 1.0, distance(place, centre) / reach);
    gl_FragColor = vec4(mix(colour, line, max(near.x, near.y)), fade);
    #include <colorspace_fragment>
  }`;

export class Stage {
  /** In a browser with WebGL 2; `onDraw` is called after each picture. */
  constructor(canvas, onDraw) {
    Object.assign(this, { canvas, onDraw, figures: [] });
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.shadowMap.enabled = true;
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(28, 1, 0.1, 100);
    this.controls = new THREE.OrbitControls(this.camera, canvas);
    this.controls.maxPolarAngle = 0.497 * Math.PI; // the floor is not looked at from below
    this.controls.addEventListener("change", () => this.draw());

    this.sky = new THREE.HemisphereLight(0xffffff, 0xb9b2a8, 1.9);
    this.sun = new THREE.DirectionalLight(0xffffff, 2.1);
    this.sun.castShadow = true;
    this.sun.shadow.mapSize.set(1024, 1024);
    this.sun.shadow.radius = 5;
    this.sun.shadow.intensity = 0.75;
    this.floor = this.makeFloor();
    this.scene.add(this.sky, this.sun, this.sun.target, this.floor.tiles, this.floor.shade);
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  makeFloor() {
    const uniforms = { centre: { value: { x: 0, y: 0 } }, cell: { value: 0.5 }, reach: { value: 1 } };
    for (const name of ["tile", "tint", "line"]) uniforms[name] = { value: new THREE.Color() };
    const disc = new THREE.CircleGeometry(1, 64).rotateX(-Math.PI / 2);
    const shaders = { vertexShader: FLOOR_VERTEX, fragmentShader: FLOOR_FRAGMENT };
    const material = new THREE.ShaderMaterial({ uniforms, ...shaders, transparent: true, depthWrite: false });
    const tiles = new THREE.Mesh(disc, material);
    const shade = new THREE.Mesh(disc, new THREE.ShadowMaterial({ depthWrite: false }));
    shade.receiveShadow = true;
    shade.renderOrder = 1;
    return { tiles, shade, uniforms };
  }

  /** Colours by name from the style sheet, for `Figure.paint`; the floor and the background take theirs here. */
  readPalette() {
    const style = getComputedStyle(this.canvas);
    const palette = {};
    for (const name of COLOURS) {
      const property = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      palette[name] = new THREE.Color(style.getPropertyValue(`--${property}`).trim());
    }
    this.scene.background = palette.paper;
    for (const name of ["tile", "tint", "line"]) this.floor.uniforms[name].value.copy(palette[name]);
    this.floor.shade.material.opacity = Number(style.getPropertyValue("--shade"));
    for (const figure of this.figures) figure.paint(palette);
    this.draw();
    return palette;
  }

  setFigures(figures) {
    for (const figure of this.figures) {
      this.scene.remove(figure.group);
      figure.dispose();
    }
    this.figures = figures;
    for (const { group } of figures) this.scene.add(group);
    this.size = Math.max(...figures.map(({ motion }) => motion.size));
  }

  /**
   * Where figures stand: beside each other as seen from `azimuth` (radians), or all in one place.
   * `moments` are lists of frames, one per figure, that are seen together.
   */
  arrange(azimuth, apart, moments) {
    const [right, back] = [[Math.cos(azimuth), -Math.sin(azimuth)], [Math.sin(azimuth), Math.cos(azimuth)]]; // x and z
    let before = moments.map(() => -Infinity); // right edge of the last figure, at each moment
    this.figures.forEach(({ group, all, count }, i) => {
      [group.position.x, group.position.z] = [0, 0];
      if (!apart || !group.visible) return;
      const edges = moments.map((frames) => {
        let [low, high] = [Infinity, -Infinity];
        for (let p = 3 * count * frames[i]; p < 3 * count * (frames[i] + 1); p += 3) {
          const along = all[p] * right[0] + all[p + 2] * right[1];
          [low, high] = [Math.min(low, along), Math.max(high, along)];
        }
        return [low, high];
      });
      const free = Math.max(...edges.map(([low], m) => before[m] - low));
      const shift = Number.isFinite(free) ? free + GAP * this.size : 0;
      before = edges.map(([, high]) => high + shift);
      const depth = -(all[0] * back[0] + all[2] * back[1]); // the first frames stand in one line across the picture
      group.position.x = shift * right[0] + depth * back[0];
      group.position.z = shift * right[1] + depth * back[1];
    });
  }

  /** Aim the camera: every row [x, y, z, centre x, centre z] fits around its centre, seen from the two angles. */
  frame(rows, azimuth, elevation) {
    const [sin, cos, rise, level] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
    const back = [sin * level, rise, cos * level];
    const right = [cos, 0, -sin];
    const up = [-sin * rise, level, -cos * rise];
    const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    const top = rows.reduce((most, row) => Math.max(most, row[1]), 0);
    this.height = 0.5 * top; // of what the camera aims at
    let distance = 2 * this.size;
    let radius = this.size;
    const aspect = this.camera.aspect;
    for (const [x, y, z, atX, atZ] of rows) {
      const offset = [x - atX, y - this.height, z - atZ];
      const [across, above, toward] = [right, up, back].map((axis) => dot(offset, axis));
      const wide = (ROOM * Math.abs(across) + MARGIN * this.size) / (HALF_VIEW * aspect);
      const tall = (ROOM * Math.abs(above) + MARGIN * this.size) / HALF_VIEW;
      distance = Math.max(distance, toward + Math.max(wide, tall));
      radius = Math.max(radius, Math.hypot(...offset));
    }
    const target = new THREE.Vector3(rows[0][3], this.height, rows[0][4]);
    this.camera.near = distance / 50;
    this.camera.far = distance * 30;
    this.camera.updateProjectionMatrix();
    this.controls.minDistance = 0.15 * distance;
    this.controls.maxDistance = 8 * distance;
    this.controls.target.copy(target);
    this.camera.position.copy(target).addScaledVector(new THREE.Vector3(...back), distance);
    this.light(azimuth, radius);
    this.lookAt(target.x, target.z, true);
    this.controls.update(); // turns the camera
  }

  light(azimuth, radius) {
    const turn = azimuth - 0.9; // from the left of the camera
    this.beam = new THREE.Vector3(Math.sin(turn), 1.7, Math.cos(turn)).setLength(4 * radius);
    const { camera } = this.sun.shadow;
    const half = 1.25 * radius;
    Object.assign(camera, { left: -half, right: half, top: half, bottom: -half, near: radius, far: 8 * radius });
    camera.updateProjectionMatrix();
    this.sun.shadow.bias = -0.0005;
    this.sun.shadow.normalBias = 0.01 * this.size;
    this.floor.uniforms.cell.value = 0.5 * this.size;
    this.reach = Math.max(4 * this.size, 2.2 * radius);
    this.floor.uniforms.reach.value = this.reach;
  }

  /** Light and floor go with what happens at (x, z); the camera only if it follows. */
  lookAt(x, z, follow) {
    const { target } = this.controls;
    if (follow) {
      this.camera.position.x += x - target.x;
      this.camera.position.z += z - target.z;
      target.x = x;
      target.z = z;
    }
    this.sun.target.position.set(x, this.height, z);
    this.sun.position.copy(this.sun.target.position).add(this.beam);
    this.floor.uniforms.centre.value = { x, y: z };
    for (const { scale, position } of [this.floor.tiles, this.floor.shade]) {
      scale.setScalar(this.reach);
      position.set(x, -0.004 * this.size, z);
    }
    this.draw();
  }

  /** A point of the world as pixels of the canvas, or null behind the camera. */
  project(x, y, z) {
    const point = new THREE.Vector3(x, y, z).project(this.camera);
    const { clientWidth, clientHeight } = this.canvas;
    return point.z < 1 ? [(0.5 + 0.5 * point.x) * clientWidth, (0.5 - 0.5 * point.y) * clientHeight] : null;
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (!clientWidth || !clientHeight) return;
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.onResize?.();
    this.draw();
  }

  /** Ask for a picture; several calls before the next one make one. */
  draw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.controls.update();
      this.renderer.render(this.scene, this.camera);
      this.onDraw();
    });
  }
}
