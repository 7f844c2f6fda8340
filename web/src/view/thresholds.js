// The thresholds of the rule as sliders: labels everywhere on the page follow.
import {$, button, make} from "../dom.js";

export function mountThresholds({run, state, labels}) {
  const place = $("#thresholds");
  if (!place || !run.rule?.thresholds.length) return;
  const said = make("p", {role: "status", id: "relabelled", className: "small"}), sliders = new Map();
  const set = (name, value) => state.set({thresholds: {...state.now.thresholds, [name]: value}});
  const rows = run.rule.thresholds.map(own => {
    const output = make("output", {}, String(own.default));
    const slider = make("input", {type: "range", id: `threshold-${own.id}`, min: own.min, max: own.max, step: own.step, value: own.default});
    slider.addEventListener("input", () => set(own.id, Number(slider.value)));
    sliders.set(own.id, {slider, output, own});
    return make("label", {}, own.title, slider, output);
  });
  const reset = button("As in the study", () => state.set({thresholds: labels.defaults}), {id: "thresholds-reset"});
  place.replaceChildren(make("div", {className: "controls"}, ...rows, reset), said);
  const show = now => {
    sliders.forEach(({slider, output, own}, name) => {
      slider.value = now.thresholds[name];
      output.textContent = `${now.thresholds[name]}${now.thresholds[name] === own.default ? "" : ` (study: ${own.default})`}`;
    });
    const recipes = run.rule.recipes.filter(own => labels.changed.has(own.id)), words = own => `${own.id}: ${labels.at(...whereOf(run, own)).label}`;
    said.textContent = recipes.length
      ? `${recipes.length} of ${run.rule.recipes.length} recipes have another label than in the study: ${recipes.map(words).join("; ")}. The headline is the study's.`
      : "Labels as in the study.";
    $("#elsewhere").hidden = !labels.changed.size;
  };
  state.on(["thresholds"], show);
  show(state.now);
}

const whereOf = (run, {trials}) => {
  const {objective, strength} = run.trials[trials[0]];
  return [objective === "standard" ? run.objectives[0]?.id : objective, strength];
};
