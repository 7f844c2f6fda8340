// The charts of the page: which element draws what, what redraws it, and what is saved from it.
import {$, $$, make} from "../dom.js";
import {underEstimator} from "../data/run.js";
import {drawStory, storyTable} from "../draw/story.js";
import {curveTable, drawCurve} from "../draw/curve.js";
import {denoisingTable, drawDenoising, drawRidge, drawScatter, ridgeTable, scatterTable} from "../draw/others.js";
import {drawEffective, drawEstimators, effectiveTable, estimatorsTable} from "../draw/sweep.js";
import {drawNoise, noiseNames, noiseTable} from "../draw/noise.js";
import {hueOf} from "../draw/chart.js";
import {saveMenu, stillMenu} from "../draw/save.js";

const titleOf = element => element.closest(".card")?.querySelector("h3")?.textContent.trim() || element.getAttribute("aria-label");

function savable(element, data) {
  const card = element.closest(".card");
  (card || element).append(saveMenu(element, titleOf(element), data));
}

/** One button for each {id, name, hue}; the ids of those pressed out are collected in `off`. */
function toggles(list, items, off, changed) {
  list.replaceChildren(...items.map(({id, name, hue}) => {
    const own = make("button", {type: "button", "aria-pressed": "true"}, make("i"), name);
    own.style.setProperty("--swatch", hue);
    own.addEventListener("click", () => {
      if (!off.delete(id)) off.add(id);
      own.setAttribute("aria-pressed", String(!off.has(id)));
      changed();
    });
    return make("li", {}, own);
  }));
}

/** A chart with a cursor: drawn when seen, its cursor moved when the strength changes. */
function withCursor(visible, element, draw, at) {
  let move = null;
  visible.watch(element, () => { move = draw(); move(at()); }, {move: () => move?.(at())});
}

function mountStories({run, state, labels, visible}) {
  const own = $$(".plot.story");
  own.forEach(element => {
    const {objective} = element.dataset, at = () => run.nearest(objective, state.now.strength);
    withCursor(visible, element, () => drawStory(element, run, labels, objective), at);
    savable(element, () => storyTable(run, labels, objective));
  });
  state.on(["thresholds"], () => visible.redraw(own));
  state.on(["strength"], () => visible.move(own));
}

function mountMeasure({run, state, labels, visible}) {
  const element = $("#measure-chart"), small = $$(".plot.small"), hidden = new Set(), across = $("#axis"), kind = $("#kind");
  const has = key => Boolean(run.measures[key]), key = () => underEstimator(state.now.measure, state.now.estimator, has);
  const chosen = own => ({key: own, kind: kind.value, across: across.value, seed: state.now.seed, hidden, picked: state.now.objective});
  withCursor(visible, element, () => drawCurve(element, run, labels, chosen(key())), () => run.nearest(state.now.objective, state.now.strength));
  $("#measure-card").append(saveMenu(element, "Measure", () => curveTable(run, labels, key(), kind.value)));
  small.forEach(each => visible.watch(each, () => drawCurve(each, run, labels, {key: underEstimator(each.dataset.key, state.now.estimator, has), kind: kind.value, seed: state.now.seed, hidden, small: true})));
  $$(".tile-chart").forEach(tile => tile.addEventListener("click", () => {
    state.set({measure: tile.dataset.key});
    $("#measure-card").scrollIntoView({block: "nearest"});
  }));
  const about = now => {
    const picked = $$("#pick-measure option").find(own => own.value === now.measure);
    $("#measure-title").textContent = picked ? picked.dataset.title : now.measure;
    $$("[data-about]").forEach(own => { own.hidden = own.dataset.about !== picked?.dataset.panel; });
    $("#measure-note").textContent = kind.value === "excess" && !run.excess[key()] ? "It has no control: the measure itself is drawn."
      : now.estimator && key() === now.measure && !now.measure.includes(".tangents=") ? `Not measured under ${now.estimator}, or it needs no tangent space: drawn as under the first estimator.` : "";
    $$(".tile-chart").forEach(tile => tile.classList.toggle("here", tile.dataset.panel === picked?.dataset.panel));
  };
  const all = () => { about(state.now); visible.redraw([element, ...small]); };
  [across, kind].forEach(own => own.addEventListener("change", all));
  state.on(["estimator", "seed", "thresholds"], all);
  state.on(["measure", "objective"], now => { about(now); visible.redraw([element]); });
  state.on(["strength"], () => visible.move([element]));
  toggles($("#objective-legend"), run.objectives.map(own => ({...own, hue: hueOf(run, own.id)})), hidden, all);
  about(state.now);
}

function mountScatters({run, state, labels, visible}) {
  const own = $$(".plot.scatter"), kind = $("#correlation-kind");
  const of = element => {
    const id = CSS.escape(element.dataset.correlation), pick = $(`select[data-correlation="${id}"]`);
    return {x: element.dataset.x, y: $(`.rho[data-correlation="${id}"][data-index="${pick ? pick.value : 0}"]`).dataset.y, kind: kind.value === "raw" ? "measures" : "excess"};
  };
  own.forEach(element => {
    visible.watch(element, () => { const {x, y, kind: table} = of(element); drawScatter(element, run, labels, x, y, table); });
    savable(element, () => { const {x, y, kind: table} = of(element); return scatterTable(run, x, y, table); });
  });
  $$("select[data-correlation]").forEach(select => select.addEventListener("change", () => {
    const id = CSS.escape(select.dataset.correlation);
    $$(`.rho[data-correlation="${id}"]`).forEach(each => { each.hidden = each.dataset.index !== select.value; });
    visible.redraw($$(`.plot[data-correlation="${id}"]`));
  }));
  kind.addEventListener("change", () => visible.redraw(own));
  state.on(["thresholds"], () => visible.redraw(own));
}

export function mountCharts(page) {
  const {run, visible} = page;
  mountStories(page);
  mountMeasure(page);
  mountScatters(page);
  const simple = (selector, draw, table) => $$(selector).forEach(element => {
    visible.watch(element, () => draw(element));
    savable(element, () => table(element));
  });
  simple(".plot.ridge", own => drawRidge(own, run, own.dataset.objective), own => ridgeTable(run, own.dataset.objective));
  simple(".plot.denoising", own => drawDenoising(own, run), () => denoisingTable(run));
  simple(".plot.effective", own => drawEffective(own, run, own.dataset.row), own => effectiveTable(run, own.dataset.row));
  simple(".plot.estimators", own => drawEstimators(own, run, own.dataset.objective), own => estimatorsTable(run, own.dataset.objective));
  $$(".plot.noise").forEach(element => {
    const hidden = new Set();
    visible.watch(element, () => drawNoise(element, run, hidden));
    toggles($("#noise-legend"), noiseNames(run), hidden, () => visible.redraw([element]));
    savable(element, () => noiseTable(run));
  });
  $$("img[data-figure]").forEach(image => image.closest(".card").append(stillMenu(image)));
}

