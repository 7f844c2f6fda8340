// The page of a study: what the reader chooses is in one state; charts and pictures follow it while they can be seen.
import {$} from "./dom.js";
import {Blocks} from "./data/blocks.js";
import {Labels} from "./data/labels.js";
import {Pictures} from "./data/pictures.js";
import {Run} from "./data/run.js";
import {Visible} from "./draw/visible.js";
import {State} from "./state.js";
import {mountBar} from "./view/bar.js";
import {mountCharts} from "./view/charts.js";
import {mountMap} from "./view/chips.js";
import {Comparison} from "./view/compare.js";
import {ImageDialog} from "./view/dialog.js";
import {Grid} from "./view/grid.js";
import {Images} from "./view/images.js";
import {mountPrint} from "./view/print.js";
import {mountScrolls} from "./view/scrolls.js";
import {mountScheme} from "./view/scheme.js";
import {mountTables} from "./view/tables.js";
import {mountTabs} from "./view/tabs.js";
import {mountThresholds} from "./view/thresholds.js";

const blocks = new Blocks(name => document.getElementById(name)?.textContent ?? null);
const run = new Run(JSON.parse(document.getElementById("run-data").textContent), blocks);
const labels = new Labels(run), pictures = new Pictures(run), visible = new Visible();
const {objective, strength} = document.body.dataset, measure = $("#pick-measure").value;
const first = run.objectives.some(own => own.id === objective) ? objective : run.objectives[0]?.id || "standard";
const state = new State({
  objective: first, strength: Number(strength) || run.allStrengths()[1] || 0, seed: null, estimator: "", measure, thresholds: labels.defaults,
}, now => ({...now, strength: run.nearest(now.objective, now.strength) ?? now.strength})); // an objective is shown at its own strengths
const page = {run, labels, pictures, visible, state};
document.documentElement.classList.add("scripted");
state.on(["thresholds"], now => labels.under(now.thresholds)); // before all who look at labels
if (run.objectives.length) {
  mountBar(page);
  mountMap(page);
}
mountThresholds(page);
mountCharts(page);
const dialog = new ImageDialog(page), open = (...image) => dialog.open(...image);
new Grid(page, open);
new Images(page, open);
new Comparison(page);
mountTables(page);
mountTabs();
mountScrolls();
mountScheme();
mountPrint(visible);
globalThis.tangency = {state, blocks, visible, run}; // for who looks at it from the console
