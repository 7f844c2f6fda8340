// Labels as chips, and the map of all recipes by label.
import {$, $$, make} from "../dom.js";
import {capital} from "../data/words.js";

export const chipClass = label => `chip chip-${label.replace(/ \(.*/, "").toLowerCase().replaceAll(" ", "-")}`;

export function relabelChip(chip, {label, changed}) {
  chip.dataset.own ??= chip.textContent;
  chip.textContent = label;
  chip.className = `${chipClass(label)}${changed ? " changed" : ""}`;
  chip.title = changed ? `in the study: ${chip.dataset.own}` : "";
}

/** What is picked, beside the title of the headline's numbers, which stay; nothing where it is the headline. */
export function elsewhere(run, labels, {objective, strength}, headline) {
  if (objective === headline.objective && strength === headline.strength) return "";
  const name = strength ? `${capital(run.objectiveName(objective))} ${strength}: ${labels.at(objective, strength).label}` : "the standard network";
  return `not what is picked, ${name}`;
}

export const chip = ({label, changed}) => make("span", {className: `${chipClass(label)}${changed ? " changed" : ""}`}, label);

/** The map under the headline: a click chooses a recipe, the chosen ones are marked. */
export function mountMap({run, state, labels}) {
  const cells = $$("#map button"), title = $("#headline-name"), picked = make("span", {className: "small"});
  const {objective: best, strength: most} = document.body.dataset, headline = {objective: best, strength: Number(most)};
  if (run.objectives.length > 1) $("#map caption")?.append("; thick outline: what is picked, thin ones: what is drawn of the others, at their nearest strength");
  title?.append(" ", picked);
  cells.forEach(cell => cell.addEventListener("click", () => state.set({objective: cell.dataset.objective, strength: Number(cell.dataset.strength)})));
  const mark = now => {
    picked.textContent = title ? elsewhere(run, labels, now, headline) : "";
    cells.forEach(cell => {
      const here = Number(cell.dataset.strength) === run.nearest(cell.dataset.objective, now.strength);
      cell.classList.toggle("here", here);
      cell.title = !here ? "" : cell.dataset.objective === now.objective ? "picked" : `drawn beside it: the strength of this objective that is nearest to ${now.strength}`;
      if (here && cell.dataset.objective === now.objective) cell.setAttribute("aria-current", "true");
      else cell.removeAttribute("aria-current");
    });
  };
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
