/** Numbers that travel as text: base64 of zlib of little-endian values. html.py's `packed` is the inverse. */

const KINDS = { float32: Float32Array, uint32: Uint32Array };

/** A packed array {type, shape, data} as a typed array of all its values. Throws an Error that says what is wrong. */
export async function unpack({ type, shape, data }) {
  const bytes = await inflate(data);
  const values = type === "int16" ? joinPlanes(bytes) : new KINDS[type](bytes.buffer);
  const expected = shape.reduce((product, side) => product * side, 1);
  if (values.length !== expected) throw new Error(`packed data has ${values.length} values instead of ${expected}`);
  return values;
}

async function inflate(base64) {
  if (!("DecompressionStream" in window)) throw new Error("this browser is too old: it has no DecompressionStream");
  const letters = atob(base64);
  const compressed = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) compressed[i] = letters.charCodeAt(i);
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** 16-bit values from all their low bytes, then all their high bytes: zlib finds more in such planes. */
function joinPlanes(bytes) {
  const count = bytes.length / 2;
  const values = new Int16Array(count);
  for (let i = 0; i < count; i++) values[i] = bytes[i] | (bytes[count + i] << 8);
  return values;
}

/** Moving points {centres, step, steps} (see viewer.js) as a function: `at(index, into)` writes those of any moment. */
export async function unpackMoving({ centres, step, steps }) {
  const [frames, , count] = steps.shape;
  const grid = await unpack(steps);
  for (let i = 3 * count; i < grid.length; i++) grid[i] += grid[i - 3 * count];
  const middle = await unpack(centres);
  return (index, into) => {
    const { low, high, share } = between(index, frames);
    for (let axis = 0; axis < 3; axis++) {
      const start = mix(middle[3 * low + axis], middle[3 * high + axis], share);
      const [a, b] = [(3 * low + axis) * count, (3 * high + axis) * count];
      for (let v = 0; v < count; v++) into[3 * v + axis] = start + step * mix(grid[a + v], grid[b + v], share);
    }
  };
}

/** The frames beside a fractional index, and the share of the second. Before the first and after the last it holds. */
export function between(index, frames) {
  const held = Math.min(Math.max(index, 0), frames - 1);
  const low = Math.floor(held);
  return { held, low, high: Math.min(low + 1, frames - 1), share: held - low };
}

export function mix(a, b, share) {
  return a + (b - a) * share; // exactly a where share is 0
}
