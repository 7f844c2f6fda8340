// The bar of pickers: objective, strength, measure, estimator of the tangent space, seed.
import {$, option} from "../dom.js";
import {capital} from "../data/words.js";

function fill(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => option(value, text, value === chosen)));
  select.closest("label").hidden = entries.length < 2;
}

/** What the slider stands at, in words: a strength of the picked objective, and its label. */
export const strengthWords = (labels, {objective, strength}) => strength === 0 ? "0, the standard network" : `${strength}: ${labels.at(objective, strength).label}`;

export function mountBar({run, state, labels}) {
  const slider = $("#strength"), said = $("#strength-label");
  fill($("#pick-objective"), run.objectives.map(own => [own.id, capital(own.name)]), state.now.objective);
  fill($("#pick-estimator"), run.explorer?.estimators.map(own => [own.id, own.name]) || [], state.now.estimator);
  fill($("#pick-seed"), [["", "all, averaged"], ...run.seeds.map(seed => [String(seed), `seed ${seed}`])], "");
  if (run.seeds.length < 2) $("#pick-seed").closest("label").hidden = true;
  const show = now => {
    const strengths = run.strengths(now.objective), place = strengths.indexOf(now.strength);
    slider.max = Math.max(0, strengths.length - 1);
    slider.disabled = strengths.length < 2;
    if (Number(slider.value) !== place) slider.value = place;
    said.textContent = strengthWords(labels, now);
    slider.setAttribute("aria-valuetext", said.textContent);
    $("#pick-objective").value = now.objective;
    $("#pick-measure").value = now.measure;
  };
  slider.addEventListener("input", () => state.set({strength: run.strengths(state.now.objective)[Number(slider.value)]}));
  $("#pick-objective").addEventListener("change", e => state.set({objective: e.target.value}));
  $("#pick-measure").addEventListener("change", e => state.set({measure: e.target.value}));
  $("#pick-estimator").addEventListener("change", e => state.set({estimator: e.target.value}));
  $("#pick-seed").addEventListener("change", e => state.set({seed: e.target.value === "" ? null : Number(e.target.value)}));
  state.on(["strength", "objective", "measure", "thresholds"], show);
  show(state.now);
  $("#bar").hidden = false;
}
