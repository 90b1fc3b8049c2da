/** One motion in the scene: its bones as capsules, its mesh if it has one, its trail on the ground. */

import * as THREE from "./three.min.js";
import { between, mix, unpack, unpackMoving } from "./packed.js";

const UP = new THREE.Vector3(0, 1, 0);
const BALL = new THREE.SphereGeometry(1, 24, 16);
const TRAIL_STEP = 0.04; // of the body's size, between two points of the trail: standing still leaves no knot
const TRAIL_WIDTH = 0.03;

export class Figure {
  /** An entry of the scene's `motions` (see viewer.js), unpacked. */
  static async of(motion, palette) {
    const { joints, drawn, mesh } = motion;
    const [all, moveDrawn] = [await unpack(joints), await unpackMoving(drawn)];
    const skin = mesh && { move: await unpackMoving(mesh.vertices), faces: await unpack(mesh.faces) };
    return new Figure(motion, all, moveDrawn, skin, palette);
  }

  constructor(motion, all, moveDrawn, skin, palette) {
    Object.assign(this, { motion, all, moveDrawn, skin });
    [this.frames, this.count] = motion.joints.shape;
    this.current = new Float64Array(3 * (this.count + motion.drawn.steps.shape[2])); // points of the shown moment
    this.joints = this.current.subarray(0, 3 * this.count);
    this.drawn = this.current.subarray(3 * this.count);
    this.group = new THREE.Group();
    this.materials = { trail: new THREE.MeshBasicMaterial({ side: THREE.DoubleSide }) };
    for (const name of ["left", "right", "middle", "bodyLeft", "bodyRight", "bodyMiddle", "skin"]) {
      this.materials[name] = new THREE.MeshLambertMaterial();
    }
    this.materials.skin.side = THREE.DoubleSide; // of a mesh with turned faces one sees something, too
    this.paint(palette);

    this.looks = {};
    for (const [name, { ground, parts }] of Object.entries(motion.looks)) {
      this.looks[name] = { ground, ...this.makeBody(parts, name) };
    }
    if (skin) this.looks.mesh = { ground: motion.mesh.ground, group: this.makeMesh() };
    for (const { group } of Object.values(this.looks)) this.group.add(group);
    this.trail = this.makeTrail();
    this.group.add(this.trail.object);
    this.setLook(skin ? "mesh" : Object.keys(this.looks)[0]);
    this.pose(0);
  }

  /** Colours by name, as `Stage` reads them from the style sheet. */
  paint(palette) {
    for (const [name, material] of Object.entries(this.materials)) material.color.copy(palette[name]);
  }

  /** A motion that lacks a look, such as a mesh, keeps its body. */
  setLook(name) {
    this.look = this.looks[name] ? name : "body";
    for (const [key, { group }] of Object.entries(this.looks)) group.visible = key === this.look;
    const { ground } = this.looks[this.look];
    this.group.position.y = -ground; // what is lowest in this look stands on the floor
    this.trail.object.position.y = ground;
  }

  /** Show the moment at a frame index, which may lie between two frames. */
  pose(index) {
    const { low, high, share } = between(index, this.frames);
    const [a, b] = [3 * this.count * low, 3 * this.count * high];
    for (let i = 0; i < this.joints.length; i++) this.joints[i] = mix(this.all[a + i], this.all[b + i], share);
    this.moveDrawn(index, this.drawn);
    if (this.look === "mesh") this.poseMesh(index);
    else this.poseBody(this.looks[this.look]);
    const passed = this.trail.frames.findLastIndex((frame) => frame <= index);
    this.trail.object.geometry.setDrawRange(0, 6 * Math.max(passed, 0));
  }

  /** The root's place (x, z) over the frames within `reach` of an index: what a calm camera follows. */
  calmRoot(index, reach) {
    const { held, low, high } = between(index, this.frames);
    const [first, last] = [Math.max(low - reach, 0), Math.min(high + reach, this.frames - 1)];
    const sum = [0, 0, 0]; // x, z, weight
    for (let frame = first; frame <= last; frame++) {
      const weight = reach + 1 - Math.abs(frame - held); // a triangle: no step when a frame enters
      if (weight <= 0) continue;
      sum[0] += weight * this.all[3 * this.count * frame];
      sum[1] += weight * this.all[3 * this.count * frame + 2];
      sum[2] += weight;
    }
    return [sum[0] / sum[2], sum[1] / sum[2]];
  }

  /** Free what the graphics card holds. */
  dispose() {
    this.group.traverse((object) => object.geometry !== BALL && object.geometry?.dispose());
    for (const material of Object.values(this.materials)) material.dispose();
  }

  /** A ball at each end of the parts [from, to, radius, radius, side], and cones that touch the balls between them. */
  makeBody(parts, look) {
    const names = look === "body" ? ["bodyRight", "bodyMiddle", "bodyLeft"] : ["right", "middle", "left"];
    const group = new THREE.Group();
    const add = (geometry, side) => {
      const mesh = new THREE.Mesh(geometry, this.materials[names[side + 1]]);
      mesh.castShadow = mesh.receiveShadow = true;
      group.add(mesh);
      return mesh;
    };
    const largest = new Map(); // point -> the ball that covers all others there
    for (const [from, to, start, end, side] of parts) {
      for (const [point, radius] of [[from, start], [to, end]]) {
        if (!(largest.get(point)?.radius >= radius)) largest.set(point, { point, radius, side });
      }
    }
    const balls = [...largest.values()].map((ball) => ({ ...ball, mesh: add(BALL, ball.side) }));
    for (const { mesh, radius } of balls) mesh.scale.setScalar(radius);
    const cones = parts.filter(([from, to]) => from !== to).map(([from, to, start, end, side]) => {
      const geometry = new THREE.CylinderGeometry(end, start, 1, 24, 1, true).translate(0, 0.5, 0); // from 0 up to 1
      return { from, to, start, end, mesh: add(geometry, side) };
    });
    return { group, balls, cones };
  }

  poseBody({ balls, cones }) {
    for (const { point, mesh } of balls) mesh.position.fromArray(this.current, 3 * point);
    const bone = new THREE.Vector3();
    for (const { from, to, start, end, mesh } of cones) {
      mesh.position.fromArray(this.current, 3 * from);
      bone.fromArray(this.current, 3 * to).sub(mesh.position);
      const length = bone.length();
      const slope = (start - end) / length; // sine of half the cone's angle
      mesh.visible = Math.abs(slope) < 1; // else one ball is inside the other (and no number if both are one point)
      if (!mesh.visible) continue;
      bone.divideScalar(length);
      mesh.position.addScaledVector(bone, start * slope); // where a tangent touches the first ball
      mesh.scale.set(Math.sqrt(1 - slope ** 2), length * (1 - slope ** 2), Math.sqrt(1 - slope ** 2));
      mesh.quaternion.setFromUnitVectors(UP, bone);
    }
  }

  makeMesh() {
    const geometry = new THREE.BufferGeometry();
    geometry.setIndex(new THREE.BufferAttribute(this.skin.faces, 1));
    const numbers = 3 * this.motion.mesh.vertices.steps.shape[2];
    for (const name of ["position", "normal"]) {
      geometry.setAttribute(name, new THREE.BufferAttribute(new Float32Array(numbers), 3));
    }
    const object = new THREE.Mesh(geometry, this.materials.skin);
    object.castShadow = object.receiveShadow = true;
    object.frustumCulled = false; // its bounds change with every frame
    return object;
  }

  poseMesh(index) {
    const { geometry } = this.looks.mesh.group;
    this.skin.move(index, geometry.attributes.position.array);
    geometry.computeVertexNormals();
    geometry.attributes.position.needsUpdate = true;
  }

  /** A ribbon on the ground below the root, and the frame at which each of its points is reached. */
  makeTrail() {
    const { size } = this.motion;
    const [places, frames] = [[], []];
    for (let frame = 0; frame < this.frames; frame++) {
      const [x, z] = [this.all[3 * this.count * frame], this.all[3 * this.count * frame + 2]];
      const last = places.at(-1);
      if (last && Math.hypot(x - last[0], z - last[1]) < TRAIL_STEP * size) continue;
      places.push([x, z]);
      frames.push(frame);
    }
    const [edges, faces] = [[], []];
    places.forEach(([x, z], i) => {
      const [before, after] = [places[Math.max(i - 1, 0)], places[Math.min(i + 1, places.length - 1)]];
      const [dx, dz] = [after[0] - before[0], after[1] - before[1]];
      const half = (0.5 * TRAIL_WIDTH * size) / (Math.hypot(dx, dz) || 1);
      edges.push(x - dz * half, 0, z + dx * half, x + dz * half, 0, z - dx * half);
      if (i) faces.push(2 * i - 2, 2 * i - 1, 2 * i, 2 * i, 2 * i - 1, 2 * i + 1);
    });
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(edges), 3));
    geometry.setIndex(faces);
    const object = new THREE.Mesh(geometry, this.materials.trail);
    return { object, frames };
  }
}
