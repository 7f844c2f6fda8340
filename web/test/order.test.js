import assert from "node:assert/strict";
import test from "node:test";
import {aligned, compare, disagreement, grouped, matches, ordered, ranks} from "../src/data/order.js";

test("images in order, what is missing last either way", () => {
  const values = [2, NaN, 1, 2];
  assert.deepEqual(ordered(values), [2, 0, 3, 1]);
  assert.deepEqual(ordered(values, false), [0, 3, 2, 1]);
});

test("ranks between 0 and 1, ties share their mean", () => {
  assert.deepEqual([...ranks([10, 30, 20])], [0, 1, 0.5]);
  assert.deepEqual([...ranks([1, 1, 5])], [0.25, 0.25, 1]);
  assert.ok(Number.isNaN(ranks([1, NaN])[1]));
});

test("two estimators disagree most where one ranks an image first and the other last", () => {
  assert.deepEqual([...disagreement([1, 2, 3], [10, 20, 30])], [0, 0, 0]);
  assert.deepEqual([...disagreement([1, 2, 3], [30, 20, 10])], [1, 0, 1]);
});

test("filters by class, value, picture, index and name", () => {
  const image = {id: 12, label: 3, className: "Ankle boot", pictured: false};
  assert.ok(matches(image, 0.5, {}));
  assert.ok(matches(image, 0.5, {label: 3, low: 0.5, high: 0.5, text: " #12 "}));
  assert.ok(matches(image, 0.5, {text: "ANKLE"}));
  for (const wanted of [{label: 2}, {low: 0.6}, {high: 0.4}, {pictured: true}, {text: "1"}, {text: "shirt"}]) assert.ok(!matches(image, 0.5, wanted), JSON.stringify(wanted));
  assert.ok(!matches(image, NaN, {low: 0}));
});

test("tables sort numbers by size, texts as readers do, and put what is missing last", () => {
  const sorted = up => [10, null, 9, ""].sort((a, b) => compare(a, b, up));
  assert.deepEqual(sorted(true).slice(0, 2), [9, 10]);
  assert.deepEqual(sorted(false).slice(0, 2), [10, 9]);
  assert.deepEqual(["s10", "s9"].sort((a, b) => compare(a, b, true)), ["s9", "s10"]);
});

test("L of an image is the own cosine minus the other image's, missing where one is", () => {
  const made = aligned([0.5, NaN, 0.2], [0.25, 0.1, 0.5]);
  assert.equal(made[0], 0.25);
  assert.ok(Number.isNaN(made[1]));
  assert.ok(made[2] < 0);
});

test("keys to order by are grouped: headline, others, each σ, controls", () => {
  const keys = [{key: "a", at: ""}, {key: "c σ", at: "σ = 1"}, {key: "b", at: ""}, {key: "h σ", at: "σ = 1"}, {key: "a.pca", at: "", control: "pca"}];
  assert.deepEqual(grouped(keys, ["a", "h σ", "a.pca"]).map(([name, own]) => [name, own.map(each => each.key)]),
    [["Headline measures", ["a", "h σ"]], ["Other measures", ["b"]], ["σ = 1", ["c σ"]], ["Controls", ["a.pca"]]]);
});
