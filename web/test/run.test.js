import assert from "node:assert/strict";
import test from "node:test";
import {Blocks} from "../src/data/blocks.js";
import {obstacle, sharedRecipes} from "../src/data/compare.js";
import {csv} from "../src/data/csv.js";
import {Labels} from "../src/data/labels.js";
import {Pictures, tangentPart} from "../src/data/pictures.js";
import {Run, estimatorLines, underEstimator} from "../src/data/run.js";
import {say, span} from "../src/data/words.js";
import {State} from "../src/state.js";
import {strengthWords} from "../src/view/bar.js";
import {elsewhere} from "../src/view/chips.js";
import {numberBlock, pictureBlock} from "./pack.js";

const trial = (objective, strength, seed) => ({id: `${objective}-${strength}-s${seed}`, objective, strength, seed, outcome: "ok", regime: "weak", label: "weak", name: objective});
const content = () => ({
  name: "own", data: {digest: "d"}, objectives: [{id: "pgd", name: "PGD"}],
  trials: [trial("standard", 0, 0), trial("standard", 0, 1), trial("pgd", 0.3, 0), trial("pgd", 0.3, 1), trial("pgd", 3, 0), trial("bayes", 0, 0)],
  measures: {f: [[0.1, 0.05, 0.15, 4, 0, 0.02], [0.3, 0.2, 0.4, 4, 0, 0.02], [0.5, 0.4, 0.6, 4, 0, 0.02], [0.7, 0.6, 0.8, 4, 0, 0.02], [0.9, 0.8, 1, 4, 0, 0.02], null], "f.pca": []},
  excess: {}, cells: {f: [["pgd", 0.3, 0.6, 0.45, 0.75]]}, fraction: {fraction: "f", fraction_control: "f.pca"},
  stories: {pgd: {steps: [[0, "weak", "weak"], [0.3, "excessive", "excessive"], [3, "weak", "weak"]], rows: []}},
  rule: {thresholds: [{id: "accuracy_margin", default: 0.05}, {id: "images", default: 0.5}], networks: [], recipes: [{id: "pgd-0.3", trials: [2, 3], withheld: null, regime: "excessive",
    above_constant: [0.5, 0.4, 0.6], accuracy: [-0.1, -0.12, -0.08], standard: false, baseless: false, exact: false, directions: []}]},
  explorer: {images: {count: 2, ids: [7, 9], labels: [0, 1], classes: ["a", "b"], pictured: [1], shape: [1, 1, 2]}, keys: [{key: "f", block: "n0", controls: []}],
    pictures: {image: "p-image", labels: [1], shape: [1, 1, 2], targets: [], gradients: {"pgd-0.3-s1": "p-g0"}, tangents: [{estimator: "mfa", rank: 1, block: "p-b0"}]}},
});
const held = {n0: numberBlock([1, 2, 3, NaN, 5, 6, 7, 8, 9, 10, NaN, NaN]), "p-image": pictureBlock([1, 1, 1, 2], [1], [0, 127]), "p-g0": pictureBlock([1, 1, 1, 2], [2], [127, 64]), "p-b0": pictureBlock([1, 1, 2], [1], [127, 0])};
const run = () => new Run(content(), new Blocks(name => held[name] ?? null));

test("strengths, and the nearest one on a log scale", () => {
  const own = run();
  assert.deepEqual(own.strengths("pgd"), [0, 0.3, 3]);
  assert.deepEqual([0, 0.3, 0.9, 1, 30].map(strength => own.nearest("pgd", strength)), [0, 0.3, 0.3, 3, 3]);
  assert.deepEqual(own.trialsAt("pgd", 0), [0, 1]);
  assert.deepEqual(own.trialsAt("pgd", 0.3, 1), [3]);
  assert.equal(own.reference("bayes"), 5);
  assert.deepEqual(own.allStrengths(), [0, 0.3, 3]);
  assert.deepEqual(new Run({...content(), objectives: []}, null).allStrengths(), [0]);
});

test("L by image is the mean over networks of own minus shuffled, and the directions agree or are none", async () => {
  const blocks = new Blocks(name => ({a: numberBlock([0.5, 0.5, 0.75, NaN]), b: numberBlock([0.25, 0.5, 0.25, 0.5]), c: numberBlock([-0.5, 0.5, -0.5, 0.5])})[name] ?? null);
  const two = content(), direction = {target: "t", title: "L, t", own: "a", control: "b", agreement: "c"};
  two.explorer.keys = ["a", "b", "c"].map(key => ({key, block: key, controls: []}));
  two.explorer.directions = [direction];
  const own = new Run(two, blocks);
  assert.deepEqual([...await own.alignment(direction, [0, 1])], [0.375, 0]);
  assert.deepEqual([...await own.agreement([0, 1])], [-0.5, 0.5]);
  assert.equal(await run().agreement([0]), null);
});

test("a point of several networks has the recipe's interval, or none", () => {
  const [standard, middle, single] = run().series("pgd", "f");
  assert.deepEqual([standard.mean, standard.low], [0.2, null]);
  assert.deepEqual([middle.mean, middle.low, middle.high], [0.6, 0.45, 0.75]);
  assert.deepEqual([single.mean, single.low, single.high], [0.9, 0.8, 1]);
  assert.equal(run().series("pgd", "f", "measures", 1)[1].mean, 0.7);
});

test("values by image are averaged over the networks that have them", async () => {
  assert.deepEqual([...await run().imageValues("f", [0, 1])], [2, 2]);
  assert.ok(Number.isNaN((await run().imageValues("f", [5]))[0]));
});

test("labels follow the thresholds, and come back", () => {
  const labels = new Labels(run());
  assert.equal(labels.at("pgd", 0.3).label, "excessive");
  labels.under({accuracy_margin: 0.2, images: 0.5});
  assert.deepEqual(labels.at("pgd", 0.3), {regime: "undetermined", label: "undetermined", changed: true});
  labels.under(labels.defaults);
  assert.equal(labels.at("pgd", 0.3).changed, false);
});

test("what is picked is a strength of the picked objective, however it was picked", () => {
  const own = run(), labels = new Labels(own), state = new State({objective: "pgd", strength: 30}, now => ({...now, strength: own.nearest(now.objective, now.strength)}));
  assert.equal(state.now.strength, 3);
  assert.equal(strengthWords(labels, state.now), "3: weak");
  state.set({strength: 0.4});
  assert.equal(strengthWords(labels, state.now), "0.3: excessive");
  state.set({strength: 0});
  assert.equal(strengthWords(labels, state.now), "0, the standard network");
});

test("the headline's numbers say when something else is picked", () => {
  const own = run(), labels = new Labels(own), best = {objective: "pgd", strength: 3};
  assert.equal(elsewhere(own, labels, best, best), "");
  assert.equal(elsewhere(own, labels, {objective: "pgd", strength: 0.3}, best), "not what is picked, PGD 0.3: excessive");
  assert.equal(elsewhere(own, labels, {objective: "pgd", strength: 0}, best), "not what is picked, the standard network");
});

test("tangent and normal part add up to the gradient and are orthogonal", async () => {
  const pictures = new Pictures(run()), {tangent, normal} = await pictures.parts("pgd-0.3-s1", 0, 0);
  assert.deepEqual([...tangent].map(Math.round), [127, 0]);
  assert.deepEqual([...normal].map(Math.round), [0, 64]);
  const half = tangentPart(Float64Array.of(1, 1), Int8Array.of(127, 127), [Math.SQRT1_2], 1);
  assert.ok(half.every(value => Math.abs(value - 1) < 1e-9));
  assert.deepEqual([pictures.placeOf(1), pictures.placeOf(0), pictures.placeOf(-1)], [0, -1, -1]);
  assert.equal(pictures.trialFor("pgd", 0.3, null).seed, 1);
});

test("an estimator stands in a key where it was measured", () => {
  const has = key => key === "f.tangents=knn";
  assert.equal(underEstimator("f", "knn", has), "f.tangents=knn");
  assert.equal(underEstimator("f", "", has), "f");
  assert.equal(underEstimator("g", "knn", has), "g");
});

test("a measure of an image is drawn under every estimator that it was measured under", () => {
  const keys = new Set(["f", "f.tangents=knn", "g"]), has = key => keys.has(key), estimators = [{id: "", name: "mfa"}, {id: "knn", name: "knn"}];
  assert.deepEqual(estimatorLines("f.tangents=knn", estimators, has), [{key: "f", name: "mfa"}, {key: "f.tangents=knn", name: "knn"}]);
  assert.deepEqual(estimatorLines("g", estimators, has).map(own => own.key), ["g"]);
});

test("two runs side by side, and what speaks against it", () => {
  const other = run();
  other.data = {digest: "e"};
  const rows = sharedRecipes(run(), other, "f");
  assert.deepEqual(rows.map(own => own.name), ["standard", "pgd 0.3", "pgd 3"]);
  assert.deepEqual(rows[1].means, [0.6, 0.6]);
  assert.match(obstacle(run(), other), /different data/);
  assert.equal(obstacle(run(), run()), "");
});

test("texts: three digits, true minus signs, quoted fields", () => {
  assert.deepEqual([0, -0.12345, 1e-5, null, NaN].map(say), ["0", "−0.123", "1.0e−5", "–", "–"]);
  assert.equal(span([1, 0.5, 1.5]), " [0.5, 1.5]");
  assert.equal(csv(["a"], [["x,y"], ['"'], [null], [NaN], [1]]), 'a\n"x,y"\n""""\n\n\n1\n');
});
