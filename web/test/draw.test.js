import assert from "node:assert/strict";
import test from "node:test";
import {logTicks, oneTip, placeOf, spaced, spread, tip} from "../src/draw/chart.js";
import {colouredPixels, photoPixels, scaleOf, signedPixels} from "../src/draw/pixels.js";
import {storyRange} from "../src/draw/story.js";
import {State} from "../src/state.js";
import {frameOf} from "../src/view/trajectories.js";

test("zero has no colour, red raises, blue lowers, the largest are full", () => {
  const pixels = signedPixels([0, 1, -1], 1);
  assert.deepEqual([pixels[3], pixels[7], pixels[11]], [0, 255, 255]);
  assert.deepEqual([...pixels.slice(4, 7)], [178, 24, 43]);
  assert.deepEqual([...pixels.slice(8, 11)], [33, 102, 172]);
  assert.equal(signedPixels([0, 0], 1), null);
});

test("the scale is the percentile as NumPy has it", () => {
  const values = Array.from({length: 1001}, (_, i) => -i);
  assert.equal(scaleOf(values), 999);
  assert.equal(scaleOf([0, 0, 5]), 0.999 * 2 - 1 > 0 ? 5 * (0.999 * 2 - 1) : 5);
});

test("channels: kept in photographs, averaged in signed pictures, grey is zero in colours", () => {
  assert.deepEqual([...photoPixels([10, 20, 30], 3)], [10, 20, 30, 255]);
  assert.deepEqual([...photoPixels([10, 20], 2)], [15, 15, 15, 255]);
  assert.deepEqual([...colouredPixels([0, 1, -1])].map((value, i) => i === 0 || value), [true, 255, 0, 255]);
});

test("strength 0 stands left of the smallest, and labels do not touch", () => {
  const at = placeOf([0, 0.1, 1]);
  assert.deepEqual([at(0), at(0.1), at(1)], [-1.75, -1, 0]);
  assert.deepEqual(spaced([0, 0.1, 0.11, 1], at, 200), [0, 0.1, 1]);
});

test("ticks of a log axis are round and do not touch", () => {
  assert.deepEqual(logTicks(0.45, 2.2, 150), [0.5, 0.7, 1, 1.5, 2]);
  assert.deepEqual(logTicks(0.01, 100, 200), [0.01, 0.1, 1, 10, 100]);
  assert.deepEqual(logTicks(1.2, 1.3, 100), [1.2, 1.3]);
});

test("labels at the ends of lines do not touch, and keep their order", () => {
  assert.deepEqual(spread([50, 52, 10], 12, 0, 100), [50, 62, 10]);
  assert.deepEqual(spread([98, 99, 100], 12, 0, 100), [76, 88, 100]);
});

test("a plot has one tip for all its points", () => {
  const marks = oneTip([{id: "line"}, tip([{x: 1, mean: 2, title: "a"}]), tip([{x: 3, y: 4}], {y: "y", title: p => `b ${p.x}`})]);
  assert.equal(marks.length, 2);
  assert.deepEqual(marks[1].data, [{x: 1, y: 2, title: "a"}, {x: 3, y: 4, title: "b 3"}]);
});

test("a row has one range over all objectives", () => {
  const row = mean => ({title: "L", curves: [{points: [[0, mean, null, null, []]]}], levels: []});
  const [low, high] = storyRange({a: {rows: [row(1)]}, b: {rows: [row(-1)]}}, "L");
  assert.ok(low < -1 && high > 1);
});

test("only those who asked are told, and only of changes", () => {
  const state = new State({a: 1, b: 1}), told = [];
  state.on(["a"], now => told.push(now.a));
  state.set({b: 2});
  state.set({a: 1});
  state.set({a: 2});
  assert.deepEqual(told, [2]);
});

test("a frame is the pictures of one step", () => {
  const frames = {shape: [2, 2, 1, 1, 1], values: Uint8Array.of(1, 2, 3, 4)};
  assert.deepEqual(frameOf(frames, 1).map(pixels => pixels[0]), [3, 4]);
});
