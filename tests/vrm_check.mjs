// Run by node: opens a .vrma file with three.js and @pixiv/three-vrm-animation, puts it on an avatar twice as large as
// the figure in the file, and prints what the avatar does as JSON.
//
//     node vrm_check.mjs FOLDER-WITH-node_modules FILE.vrma SECONDS ...
import fs from "fs";
import path from "path";
import { pathToFileURL } from "url";

const [folder, file, ...moments] = process.argv.slice(2);
globalThis.self = globalThis; // three.js expects a browser's global object

async function library(...parts) {
  return import(pathToFileURL(path.join(folder, "node_modules", ...parts)).href);
}
const THREE = await library("three", "build", "three.module.js");
const { GLTFLoader } = await library("three", "examples", "jsm", "loaders", "GLTFLoader.js");
const { VRMHumanoid } = await library("@pixiv", "three-vrm-core", "lib", "three-vrm-core.module.js");
const vrma = await library("@pixiv", "three-vrm-animation", "lib", "three-vrm-animation.module.js");

const loader = new GLTFLoader();
loader.register((parser) => new vrma.VRMAnimationLoaderPlugin(parser));
const bytes = fs.readFileSync(file);
const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
const gltf = await new Promise((done, failed) => loader.parse(buffer, "", done, failed));
const animation = gltf.userData.vrmAnimations[0];

// the avatar: the file's own bones, twice as long
const map = gltf.parser.json.extensions.VRMC_vrm_animation.humanoid.humanBones;
const nodes = await gltf.parser.getDependencies("node");
const bones = {};
for (const [name, { node }] of Object.entries(map)) {
  const bone = nodes[node];
  bone.position.multiplyScalar(2);
  bones[name] = { node: bone };
}
const root = gltf.scene;
root.updateMatrixWorld(true);
const humanoid = new VRMHumanoid(bones);
root.add(humanoid.normalizedHumanBonesRoot);
const avatar = { humanoid, meta: { metaVersion: "1" }, scene: root, expressionManager: null, lookAt: null };
const clip = vrma.createVRMAnimationClip(animation, avatar);
const mixer = new THREE.AnimationMixer(root);
mixer.clipAction(clip).play();

const frames = moments.map((seconds) => {
  mixer.setTime(Number(seconds));
  humanoid.update();
  root.updateMatrixWorld(true);
  const places = {};
  for (const name of Object.keys(map)) {
    places[name] = humanoid.getRawBoneNode(name).getWorldPosition(new THREE.Vector3()).toArray();
  }
  return places;
});
console.log(JSON.stringify({ duration: clip.duration, tracks: clip.tracks.length, restHips: animation.restHipsPosition.toArray(), frames }));
