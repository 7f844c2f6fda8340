// Labels as chips, and the map of all recipes by label.
import {$$, make} from "../dom.js";

export const chipClass = label => `chip chip-${label.replace(/ \(.*/, "").toLowerCase().replaceAll(" ", "-")}`;

export function relabelChip(chip, {label, changed}) {
  chip.dataset.own ??= chip.textContent;
  chip.textContent = label;
  chip.className = `${chipClass(label)}${changed ? " changed" : ""}`;
  chip.title = changed ? `in the study: ${chip.dataset.own}` : "";
}

export const chip = ({label, changed}) => make("span", {className: `${chipClass(label)}${changed ? " changed" : ""}`}, label);

/** The map under the headline: a click chooses a recipe, the chosen ones are marked. */
export function mountMap({run, state, labels}) {
  const cells = $$("#map button");
  cells.forEach(cell => cell.addEventListener("click", () => state.set({objective: cell.dataset.objective, strength: Number(cell.dataset.strength)})));
  const mark = now => cells.forEach(cell => {
    const here = Number(cell.dataset.strength) === run.nearest(cell.dataset.objective, now.strength);
    cell.classList.toggle("here", here);
    if (here && cell.dataset.objective === now.objective) cell.setAttribute("aria-current", "true");
    else cell.removeAttribute("aria-current");
  });
  const relabel = () => {
    cells.forEach(cell => {
      const own = labels.at(cell.dataset.objective, Number(cell.dataset.strength)), text = cell.querySelector(".label");
      text.textContent = own.label;
      cell.className = `cell ${chipClass(own.label).split(" ")[1]}${own.changed ? " changed" : ""}`;
    });
    $$("[data-case]").forEach(row => {
      const own = labels.of(row.dataset.case), target = row.querySelector(".chip");
      if (target && (own || target.dataset.own)) relabelChip(target, own || {label: target.dataset.own, changed: false});
    });
    mark(state.now);
  };
  state.on(["strength", "objective"], mark);
  state.on(["thresholds"], relabel);
  mark(state.now);
}
