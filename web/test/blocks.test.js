import assert from "node:assert/strict";
import test from "node:test";
import {Blocks} from "../src/data/blocks.js";
import {numberBlock, pictureBlock} from "./pack.js";

const held = {n0: numberBlock([1.5, NaN, -2, 1e-3]), p0: pictureBlock([2, 1, 1, 2], [0.5, 2], [127, -127, 0, 64])};
const blocks = () => new Blocks(name => held[name] ?? null);

test("numbers come back, and what was not measured stays so", async () => {
  const values = await blocks().numbers("n0");
  assert.deepEqual([...values].map(value => Number.isNaN(value) ? "none" : Math.fround(value)), [1.5, "none", -2, Math.fround(1e-3)]);
});

test("pictures come with their shape, scales and signs", async () => {
  const {shape, scales, values} = await blocks().pictures("p0");
  assert.deepEqual(shape, [2, 1, 1, 2]);
  assert.deepEqual(scales, [0.5, 2]);
  assert.deepEqual([...values], [127, -127, 0, 64]);
});

test("bytes of a photograph have no sign", async () => {
  const {values} = await blocks().pictures("p0", false);
  assert.deepEqual([...values], [127, 129, 0, 64]);
});

test("a block is decoded once", async () => {
  const own = blocks();
  await Promise.all([own.numbers("n0"), own.numbers("n0")]);
  await own.numbers("n0");
  assert.equal(own.decoded, 1);
  assert.equal(own.has("n0"), true);
  assert.equal(own.has("n9"), false);
});
