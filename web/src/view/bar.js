// The bar of pickers: objective, strength, measure, estimator of the tangent space, seed.
import {$, option} from "../dom.js";
import {capital} from "../data/words.js";

function fill(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => option(value, text, value === chosen)));
  select.closest("label").hidden = entries.length < 2;
}

/** What the slider stands at, in words: the label of each objective at its nearest strength. */
export function strengthWords(run, labels, now) {
  if (now.strength === 0) return "0, the standard network";
  const own = run.nearest(now.objective, now.strength), name = capital(run.objectiveName(now.objective));
  const other = own === now.strength ? "" : ` (nearest to ${now.strength})`;
  return own === null ? String(now.strength) : `${name} ${own}${other}: ${labels.at(now.objective, own).label}`;
}

export function mountBar({run, state, labels}) {
  const slider = $("#strength"), said = $("#strength-label"), strengths = run.allStrengths();
  fill($("#pick-objective"), run.objectives.map(own => [own.id, capital(own.name)]), state.now.objective);
  fill($("#pick-estimator"), run.explorer?.estimators.map(own => [own.id, own.name]) || [], state.now.estimator);
  fill($("#pick-seed"), [["", "all, averaged"], ...run.seeds.map(seed => [String(seed), `seed ${seed}`])], "");
  if (run.seeds.length < 2) $("#pick-seed").closest("label").hidden = true;
  slider.max = Math.max(0, strengths.length - 1);
  slider.disabled = strengths.length < 2;
  const show = now => {
    const place = strengths.indexOf(now.strength);
    if (Number(slider.value) !== place) slider.value = place;
    said.textContent = strengthWords(run, labels, now);
    slider.setAttribute("aria-valuetext", said.textContent);
    $("#pick-objective").value = now.objective;
    $("#pick-measure").value = now.measure;
  };
  slider.addEventListener("input", () => state.set({strength: strengths[Number(slider.value)]}));
  $("#pick-objective").addEventListener("change", e => state.set({objective: e.target.value}));
  $("#pick-measure").addEventListener("change", e => state.set({measure: e.target.value}));
  $("#pick-estimator").addEventListener("change", e => state.set({estimator: e.target.value}));
  $("#pick-seed").addEventListener("change", e => state.set({seed: e.target.value === "" ? null : Number(e.target.value)}));
  state.on(["strength", "objective", "measure", "thresholds"], show);
  show(state.now);
  $("#bar").hidden = false;
}
