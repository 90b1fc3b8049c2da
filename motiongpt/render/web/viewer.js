/**
 * A viewer for motions: build it in an element, and `show` it a scene. Pages of html.py and the studio use it.
 *
 *   const viewer = new Viewer(document.getElementById("viewer"));
 *   await viewer.show(scene);
 *   viewer.pause();
 *   viewer.seek(12);
 *   viewer.positions(0);  // [[x, y, z], ...] of the joints that are shown, in the motion's own coordinates
 *
 * A scene is plain JSON, which `motiongpt.render.html.scene` makes:
 *
 *   title, look: texts; the look is "skeleton", "body" or "mesh"
 *   elevation, azimuth: degrees of the first view, above the horizon and from +z towards +x
 *   motions: a list of
 *     text: its caption
 *     fps: frames per second
 *     names: those of the J joints
 *     joints: packed float32 (frames, J, 3), metres, y up
 *     drawn: moving (frames, P, 3): more points that are only drawn, such as heels
 *     size: length of the longest chain of bones, about 1 for an adult
 *     looks: {skeleton: {ground, parts}, body: {ground, parts}}: the height of the floor, and what is drawn. A part is
 *       [from, to, radius at from, radius at to, side]; from and to are joints, or J + a place among `drawn`, and side
 *       is 1 for left, -1 for right, 0 for the middle
 *     mesh: null, or {ground, vertices: moving (frames, V, 3), faces: packed uint32 (N, 3)}
 *   moving: {centres: packed float32 (frames, 3), step, steps: packed int16 (frames, 3, P)}; in frame f, point p is at
 *     centres[f] + step * (steps[0, :, p] + ... + steps[f, :, p]), where the sum wraps around as 16-bit numbers do
 *   packed: {type, shape, data}, where data is base64 of zlib of the values in C order, little-endian; int16 as all
 *     low bytes, then all high bytes
 *
 * The state can be read from the element: data-state is "loading", "ready" or "failed", data-frame the frame (a
 * fraction while playing), data-playing "true" or "false". Frames are those of the fastest motion; all run by one
 * clock, and a motion that is over holds its last pose.
 */

import { Figure } from "./figure.js";
import { Stage } from "./stage.js";

const LOOK_NAMES = { skeleton: "Skeleton", body: "Body", mesh: "Mesh" };
const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
const LONGEST_STEP = 0.25; // seconds: after a pause of the browser itself the motion goes on where it was
const MOMENTS = 120; // frames that the first view is fitted to

export class Viewer {
  constructor(element) {
    Object.assign(this, { element, position: 0, playing: false, frames: 1, fps: 20, speed: 1, figures: [] });
    element.classList.add("viewer");
    this.build();
    this.setState("loading");
    if (!make("canvas").getContext("webgl2")) {
      this.fail("The motion cannot be drawn: this browser has no WebGL 2, or it is switched off.");
      return;
    }
    this.stage = new Stage(this.canvas, () => this.placeBadges());
    this.palette = this.stage.readPalette();
    this.stage.onResize = () => this.touched || this.resetView();
    this.stage.controls.addEventListener("start", () => (this.touched = true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.palette = this.stage.readPalette();
    });
    document.addEventListener("keydown", (event) => this.onKey(event));
  }

  /** Show a scene, from its first frame. It plays unless the reader's system asks for less motion. */
  async show(scene) {
    if (!this.stage) return;
    this.pause();
    this.setState("loading");
    try {
      this.figures = await Promise.all(scene.motions.map((motion) => Figure.of(motion, this.palette)));
    } catch (error) {
      this.fail(`The motion cannot be read: ${error.message}.`);
      throw error;
    }
    this.scene = scene;
    this.fps = Math.max(...scene.motions.map((motion) => motion.fps));
    this.frames = Math.max(...this.figures.map(({ frames, motion }) => frameCount(frames, motion.fps, this.fps)));
    this.stage.setFigures(this.figures);
    this.position = 0;
    this.describe();
    this.arrange();
    this.setLook(scene.look);
    this.setState("ready");
    if (this.frames > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  /** Play on, or from the start if the end is reached. */
  play() {
    if (this.playing || !this.figures.length) return;
    if (this.position >= this.frames - 1) this.position = 0;
    this.setPlaying(true);
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      const passed = Math.min(Math.max(now - before, 0) / 1000, LONGEST_STEP);
      before = now;
      this.advance(passed * this.fps * this.speed);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() {
    this.setPlaying(false);
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Go to a frame, which may be a fraction; one outside the motion becomes its first or last. */
  seek(frame) {
    this.position = Math.min(Math.max(Number(frame) || 0, 0), this.frames - 1);
    this.update();
  }

  /** Stop, and go some whole frames on (or back, if negative). */
  step(count) {
    this.pause();
    this.seek(Math.round(this.position) + count);
  }

  /** Joints [[x, y, z], ...] of a motion, by its place in the scene, at the moment that is shown. */
  positions(motion = 0) {
    const { joints, count } = this.figures[motion];
    return Array.from({ length: count }, (_, j) => Array.from(joints.subarray(3 * j, 3 * j + 3)));
  }

  setSpeed(speed) {
    this.speed = Number(speed);
    this.speedInput.value = String(speed);
  }

  /** "skeleton", "body" or "mesh"; a motion without a mesh shows its body. */
  setLook(look) {
    for (const figure of this.figures) figure.setLook(look);
    this.lookInput.value = look;
    this.update();
  }

  /** Show or hide a motion, by its place in the scene; the others close the gap. */
  setVisible(motion, visible) {
    this.figures[motion].group.visible = visible;
    this.captions.children[motion].setAttribute("aria-pressed", String(visible));
    this.arrange();
  }

  /** The camera as at first. */
  resetView() {
    if (!this.figures.length) return;
    this.touched = false;
    const rows = this.rows();
    const [azimuth, elevation] = [this.scene.azimuth, this.scene.elevation].map((angle) => (angle * Math.PI) / 180);
    if (rows.length) this.stage.frame(rows, azimuth, elevation);
    this.update();
  }

  // What follows is not for callers.

  advance(frames) {
    let position = this.position + frames;
    if (this.loopInput.checked) position %= this.frames; // the last frame is shown for as long as any other
    else if (position >= this.frames - 1) this.pause();
    this.position = Math.min(position, this.loopInput.checked ? this.frames : this.frames - 1);
    this.update();
  }

  /** The figures as they are at `position`, and everything that says where that is. */
  update() {
    const shown = Math.min(this.position, this.frames - 1);
    for (const figure of this.figures) {
      if (figure.group.visible) figure.pose(this.indexOf(figure, shown));
      figure.trail.object.visible = this.trailInput.checked;
    }
    const visible = this.figures.filter(({ group }) => group.visible);
    if (visible.length) this.stage.lookAt(...this.calmCentre(visible, shown), this.followInput.checked);
    else this.stage?.draw();
    const frame = Math.round(shown);
    this.slider.value = String(frame);
    this.clock.textContent = `${(shown / this.fps).toFixed(2)} s · ${frame + 1} / ${this.frames}`;
    const time = (frame / this.fps).toFixed(2);
    this.slider.setAttribute("aria-valuetext", `frame ${frame + 1} of ${this.frames}, ${time} s`);
    this.element.dataset.frame = String(shown);
  }

  /** The frame of a motion at a position of the clock; exactly that position if it has the clock's frame rate. */
  indexOf(figure, position) {
    return position * (figure.motion.fps / this.fps);
  }

  /** What the camera follows: the mean of the roots, each smoothed over about a second. */
  calmCentre(figures, position) {
    const places = figures.map((figure) => {
      const [x, z] = figure.calmRoot(this.indexOf(figure, position), Math.round(figure.motion.fps / 2));
      return [x + figure.group.position.x, z + figure.group.position.z];
    });
    return [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
  }

  /** Positions of the clock all over the clip: the view is fitted to what is seen at these moments. */
  moments() {
    const stride = Math.max(1, this.frames / MOMENTS);
    return Array.from({ length: Math.ceil(this.frames / stride) }, (_, i) => i * stride);
  }

  /** The whole frame of a motion that is nearest to a position of the clock. */
  frameOf(figure, position) {
    return Math.min(Math.round(this.indexOf(figure, position)), figure.frames - 1);
  }

  /** Rows [x, y, z, centre x, centre z] of all visible joints at all moments, for `Stage.frame`. */
  rows() {
    const visible = this.figures.filter(({ group }) => group.visible);
    const rows = [];
    for (const position of visible.length ? this.moments() : []) {
      const centre = this.calmCentre(visible, position);
      for (const figure of visible) {
        const { x, y, z } = figure.group.position;
        const first = 3 * figure.count * this.frameOf(figure, position);
        for (let i = first; i < first + 3 * figure.count; i += 3) {
          rows.push([figure.all[i] + x, figure.all[i + 1] + y, figure.all[i + 2] + z, ...centre]);
        }
      }
    }
    return rows;
  }

  arrange() {
    const frames = this.moments().map((position) => this.figures.map((figure) => this.frameOf(figure, position)));
    this.stage.arrange((this.scene.azimuth * Math.PI) / 180, this.apartInput.checked, frames);
    this.resetView();
  }

  /** Numbers above the heads, if there are several motions. */
  placeBadges() {
    this.figures.forEach((figure, i) => {
      const badge = this.badges.children[i];
      if (!badge) return;
      const top = { height: -Infinity };
      for (let p = 0; p < figure.current.length; p += 3) {
        if (figure.current[p + 1] > top.height) Object.assign(top, { height: figure.current[p + 1], at: p });
      }
      const { x, y, z } = figure.group.position;
      const [px, pz] = [figure.current[top.at] + x, figure.current[top.at + 2] + z];
      const place = this.stage.project(px, top.height + y + 0.28 * figure.motion.size, pz);
      badge.hidden = !figure.group.visible || !place;
      if (place) badge.style.transform = `translate(${place[0]}px, ${place[1]}px) translate(-50%, -50%)`;
    });
  }

  setPlaying(playing) {
    this.playing = playing;
    this.element.dataset.playing = String(playing);
    this.playButton.textContent = playing ? "❚❚" : "▶";
    this.playButton.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  setState(state) {
    this.element.dataset.state = state;
  }

  fail(message) {
    this.setState("failed");
    this.message.textContent = message;
    this.controls.inert = true;
  }

  onKey(event) {
    const typing = event.target.closest?.("input:not([type=range]), textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || this.element.dataset.state !== "ready") return;
    const presses = event.target.closest?.("button"); // a space presses the button that has the focus
    const actions = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.step(event.shiftKey ? -10 : -1),
      ArrowRight: () => this.step(event.shiftKey ? 10 : 1),
      Home: () => this.step(-this.frames),
      End: () => this.step(this.frames),
    };
    if (!actions[event.key] || (event.key === " " && presses)) return;
    event.preventDefault();
    actions[event.key]();
  }

  /** Texts and choices of the scene that is shown. */
  describe() {
    const { title, motions } = this.scene;
    this.heading.textContent = title;
    this.heading.hidden = !title;
    const several = motions.length > 1;
    this.captions.replaceChildren();
    this.badges.replaceChildren();
    motions.forEach(({ text }, i) => {
      const caption = make(several ? "button" : "p", "caption", this.captions);
      if (several) {
        make("span", "badge", caption).textContent = String(i + 1);
        make("span", "badge", this.badges).textContent = String(i + 1);
        caption.type = "button";
        caption.setAttribute("aria-pressed", "true");
        caption.title = "Show or hide";
        caption.addEventListener("click", () => this.setVisible(i, !this.figures[i].group.visible));
      }
      make("span", "text", caption).textContent = text;
    });
    this.captions.hidden = !several && !motions[0].text;
    this.slider.max = String(this.frames - 1);
    this.slider.disabled = this.playButton.disabled = this.frames < 2;
    const looks = new Set(this.figures.flatMap((figure) => Object.keys(figure.looks)));
    for (const option of this.lookInput.options) option.hidden = option.disabled = !looks.has(option.value);
    this.apartInput.parentElement.hidden = !several;
    this.canvas.setAttribute("aria-label", `3D view: ${motions.map(({ text }) => text || "a motion").join("; ")}`);
  }

  build() {
    const head = make("header", "head", this.element);
    this.heading = make("h1", "title", head);
    this.captions = make("div", "captions", head);
    const view = make("div", "view", this.element);
    this.canvas = make("canvas", "canvas", view);
    this.canvas.setAttribute("role", "img");
    this.badges = make("div", "badges", view);
    this.badges.setAttribute("aria-hidden", "true");
    this.message = make("p", "message", view);
    this.message.setAttribute("role", "alert");
    this.controls = make("div", "controls", this.element);

    const timeline = make("div", "timeline", this.controls);
    this.playButton = make("button", "play", timeline);
    this.playButton.type = "button";
    this.playButton.addEventListener("click", () => this.toggle());
    this.slider = make("input", "slider", timeline);
    Object.assign(this.slider, { type: "range", min: "0", max: "0", step: "1", value: "0" });
    this.slider.setAttribute("aria-label", "Frame");
    this.slider.addEventListener("input", () => {
      const frame = Number(this.slider.value); // before pausing
      this.pause();
      this.seek(frame);
    });
    this.clock = make("output", "clock", timeline);
    this.clock.setAttribute("aria-live", "off");

    const options = make("div", "options", this.controls);
    this.lookInput = select(options, "Look", Object.entries(LOOK_NAMES), () => this.setLook(this.lookInput.value));
    const speeds = SPEEDS.map((speed) => [String(speed), `${speed}×`]);
    this.speedInput = select(options, "Speed", speeds, () => this.setSpeed(this.speedInput.value));
    this.speedInput.value = "1";
    this.loopInput = checkbox(options, "Loop", () => {});
    this.followInput = checkbox(options, "Follow", () => this.update());
    this.trailInput = checkbox(options, "Trail", () => this.update());
    this.apartInput = checkbox(options, "Side by side", () => this.arrange());
    const reset = make("button", "reset", options);
    Object.assign(reset, { type: "button", textContent: "Reset view" });
    reset.addEventListener("click", () => this.resetView());
    this.setPlaying(false);
  }
}

/** Frames of the clock that a motion of `frames` at `own` fps lasts; one frame stays one. */
function frameCount(frames, own, fps) {
  return Math.ceil((frames - 1) * (fps / own) - 1e-6) + 1;
}

function make(tag, name = "", parent = null) {
  const element = document.createElement(tag);
  element.className = name;
  parent?.append(element);
  return element;
}

function select(parent, name, choices, onChange) {
  const label = make("label", "option", parent);
  label.append(`${name} `);
  const input = make("select", name.toLowerCase(), label);
  for (const [value, text] of choices) Object.assign(make("option", "choice", input), { value, textContent: text });
  input.addEventListener("change", onChange);
  return input;
}

function checkbox(parent, name, onChange) {
  const label = make("label", "option", parent);
  const input = make("input", name.toLowerCase().replaceAll(" ", "-"), label);
  Object.assign(input, { type: "checkbox", checked: true });
  label.append(` ${name}`);
  input.addEventListener("change", onChange);
  return input;
}
