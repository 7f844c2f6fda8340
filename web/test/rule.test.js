import assert from "node:assert/strict";
import test from "node:test";
import {relabel, relabelled} from "../src/data/rule.js";

const thresholds = {accuracy_margin: 0.05, images: 0.5};
const direction = changes => ({name: "a", over_standard: [0.2, 0.1, 0.3], beyond_filter: [0.1, 0.05, 0.2], past: null, share: 1, ...changes});
const own = changes => ({id: "x", regime: "bayes_aligned", withheld: null, above_constant: [0.5, 0.4, 0.6], accuracy: [0, -0.02, 0.02], standard: false, baseless: false, exact: false,
  directions: [direction(), direction({name: "b"})], ...changes});
const past = {over: "weaker", interval: [-0.1, -0.2, -0.01]};

for (const [name, changes, wanted] of [
  ["both directions beyond the filter, accuracy kept", {}, "bayes_aligned"],
  ["one direction that is an estimate", {directions: [direction()]}, "undetermined"],
  ["one direction that is exact", {directions: [direction()], exact: true}, "bayes_aligned"],
  ["no direction", {directions: []}, "undetermined"],
  ["accuracy not measured", {above_constant: null}, "undetermined"],
  ["no better than a constant answer", {above_constant: [0.01, 0, 0.02]}, "collapsed"],
  ["the standard recipe", {standard: true, accuracy: null}, "weak"],
  ["a collapsed standard recipe", {baseless: true}, "undetermined"],
  ["no difference to the standard recipe", {accuracy: null}, "undetermined"],
  ["accuracy lost", {accuracy: [-0.2, -0.3, -0.06]}, "excessive"],
  ["accuracy neither kept nor lost", {accuracy: [-0.04, -0.06, -0.02]}, "undetermined"],
  ["worse than a weaker one under both", {directions: [direction({past}), direction({past})]}, "excessive"],
  ["worse than a weaker one under one", {directions: [direction({past}), direction()]}, "bayes_aligned"],
  ["few images have a gradient", {directions: [direction({share: 0.4}), direction()]}, "undetermined"],
  ["not above the filter, on average", {directions: [direction({beyond_filter: [-0.01, -0.1, 0.1]}), direction()]}, "weak"],
  ["not shown to be above the standard", {directions: [direction({over_standard: [0.01, -0.1, 0.1]}), direction()]}, "undetermined"],
  ["an unknown filter", {directions: [direction({beyond_filter: null}), direction()]}, "undetermined"],
]) test(`${name}: ${wanted}`, () => assert.equal(relabel(own(changes), thresholds), wanted));

test("the margin of accuracy and the share of images move the label", () => {
  assert.equal(relabel(own({accuracy: [-0.04, -0.06, -0.02]}), {...thresholds, accuracy_margin: 0.1}), "bayes_aligned");
  assert.equal(relabel(own({directions: [direction({share: 0.4}), direction()]}), {...thresholds, images: 0.3}), "bayes_aligned");
});

test("only labels that change are given, and none that is withheld", () => {
  const cases = [own({}), own({id: "lost", accuracy: [-0.1, -0.12, -0.08], regime: "excessive"}), own({id: "kept back", withheld: "why", regime: null})];
  assert.deepEqual([...relabelled(cases, {...thresholds, accuracy_margin: 0.2})], [["lost", "bayes_aligned"]]);
});
