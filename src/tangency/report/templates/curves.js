// ---- the story: four stacked questions per objective, the regime as background
const ROWS = [["", ["accuracy"]], [": on / off", ["on", "off"]], [" / best control", ["fraction", "fraction_control"]], [" / shuffled", ["alignment", "alignment_control"]]];
const SHORT = {"Bayes-aligned": "aligned", excessive: "exc.", undetermined: "?", diverged: "div.", collapsed: "coll.", "seeds differ": "?"};
const DIRECT = {on: "on", off: "off", fraction: "own", fraction_control: "control", alignment: "own", alignment_control: "shuffled"};
const optimum = role => role.endsWith("_control") ? null : entryOf(run.measures, run.story[role], reference("bayes"));
function storyRange(roles) {
  const ends = run.objectives.flatMap(o => roles.flatMap(r => points(o.id, run.story[r]).flatMap(p => p.mean === null ? [] : [p.low, p.high])));
  ends.push(...roles.map(optimum).filter(Boolean).map(e => e[MEAN]));
  const top = Math.max(0, ...ends) || 1, bottom = Math.min(0, ...ends);
  return roles[0] === "accuracy" ? [0, 1.02] : [bottom - 0.04 * (top - bottom), top * 1.08];
}
function drawStory(element) {
  const objective = element.dataset.objective;
  const rows = ROWS.map(([title, roles]) => [title, roles.filter(r => run.story[r])]).filter(([, roles]) => roles.length);
  const all = points(objective, run.story.accuracy || "accuracy"), strengths = all.map(p => p.strength), at = place(strengths), x = p => at(p.strength);
  const edges = all.map((p, i) => i ? (x(all[i - 1]) + x(p)) / 2 : x(p) - 0.25).concat(x(all[all.length - 1]) + 0.25);
  const traces = [], shapes = [], annotations = [], extra = {margin: {l: 40, r: 14, t: 30, b: 44}};
  let start = 0;
  all.forEach((p, i) => {
    const hue = REGIME[p.regime] || (p.regime === "lost" ? "lost" : "soft");
    shapes.push({type: "rect", xref: "x", yref: "paper", x0: edges[i], x1: edges[i + 1], y0: 0, y1: 1, fillcolor: colour(hue, 0.1), line: {width: 0}, layer: "below"});
    if (i + 1 < all.length && all[i + 1].label === p.label) return;
    const middle = (edges[start] + edges[i + 1]) / 2, share = (edges[i + 1] - edges[start]) / (edges[all.length] - edges[0]);
    const pixels = share * (element.clientWidth - 54), text = [p.label, SHORT[p.label] || p.label, ""].find(t => 6 * t.length < pixels);
    annotations.push({xref: "x", yref: "paper", x: middle, y: 1, yanchor: "bottom", text, showarrow: false, font: {size: 11, color: colour(hue)}});
    start = i + 1;
  });
  rows.forEach(([ending, roles], row) => {
    const label = run.story_labels[roles[0]] || roles[0], full = label + ending, title = 7.2 * full.length < element.clientWidth - 54 ? full : label;
    const name = row ? row + 1 : "", height = 1 / rows.length, top = 1 - row * height;
    const axes = {xaxis: "x", yaxis: `y${name}`};
    extra[`yaxis${name}`] = {domain: [top - height + 0.012, top - 0.045], range: storyRange(roles), nticks: 4};
    annotations.push({xref: "paper", yref: "paper", x: 0, y: top - 0.004, xanchor: "left", yanchor: "top", text: `<b>${title}</b>`, showarrow: false, font: {size: 12, color: colour("ink")}});
    roles.forEach((role, second) => {
      const best = optimum(role);
      if (best) {
        shapes.push({...level(best[MEAN], "solid", second ? "soft" : "ink", 0.8), yref: `y${name}`});
        annotations.push({xref: "paper", yref: `y${name}`, x: 1, xanchor: "right", y: best[MEAN], yshift: second ? -6 : 6, text: second ? `Bayes rule, ${DIRECT[role]}` : "Bayes rule", showarrow: false, font: {size: 10, color: colour(second ? "soft" : "ink")}});
      }
      const shown = points(objective, run.story[role]), hue = second ? "soft" : objectiveColour(objective), known = shown.filter(p => p.mean !== null);
      traces.push(band(shown, x, hue, axes), line(shown, x, label + (DIRECT[role] ? `, ${DIRECT[role]}` : ""), second ? "dot" : "solid", hue, second ? 1.8 : 2.4, axes));
      if (known.length && DIRECT[role]) {
        const widest = known.reduce((a, b) => Math.abs(a.mean - other(a, roles, objective, role)) > Math.abs(b.mean - other(b, roles, objective, role)) ? a : b);
        const above = widest.mean >= other(widest, roles, objective, role);
        annotations.push({xref: "x", yref: `y${name}`, x: x(widest), y: widest.mean, yshift: above ? 11 : -11, text: DIRECT[role], showarrow: false, ...(best ? {bgcolor: colour("card", 0.7), borderpad: 0} : {}), font: {size: 11, color: colour(hue)}});
      }
    });
  });
  extra.xaxis = {...ticks(strengths, at, element.clientWidth), range: [edges[0], edges[all.length]], anchor: "free", position: 0, showgrid: false, title: {text: "strength (log scale)", font: {size: 12}}};
  draw(element, traces, {...extra, shapes, annotations});
}
function other(point, roles, objective, role) { // the other curve of the same row, at the same strength
  const key = run.story[roles.find(r => r !== role)];
  const other = key && points(objective, key).find(p => p.strength === point.strength);
  return other && other.mean !== null ? other.mean : point.mean;
}

// ---- curves, small multiples
const hidden = new Set();
const kappa = objective => new Map(points(objective, "log_kappa.margin").map(p => [p.strength, p.mean]));
const accuracy = objective => new Map(points(objective, "accuracy").map(p => [p.strength, p.mean]));
function drawCurve(element) {
  const key = element.dataset.key, mode = $("#axis").value, kind = $("#kind").value, excess = kind === "excess" && run.excess[key];
  const at = place(run.trials.map(t => t.strength)), traces = [], shapes = [], annotations = [];
  const logarithmic = key.startsWith("kappa") && !excess;
  const mark = (y, dash, hue, text, width) => {
    shapes.push(level(y, dash, hue, width));
    const [x, xanchor] = {untrained: [0, "left"], "Bayes rule": [0.38, "center"], "image itself": [0.68, "center"]}[text] || [1, "right"]; // side by side where levels meet
    annotations.push({xref: "paper", x, xanchor, y: logarithmic ? Math.log10(y) : y, yshift: 7, text, showarrow: false, font: {size: 10, color: colour("soft")}});
  };
  const shown = run.objectives.filter(o => !hidden.has(o.id));
  let chance = null;
  shown.forEach(o => {
    const hue = objectiveColour(o.id), known = points(o.id, key, excess ? "excess" : "raw");
    const lookup = mode === "accuracy" ? accuracy(o.id) : mode === "kappa" ? kappa(o.id) : null;
    const x = p => lookup ? lookup.get(p.strength) ?? null : at(p.strength);
    if (seeds.length > 1) seeds.forEach(seed => traces.push(seedLine(known, x, seed, hue)));
    if (mode === "strength") traces.push(band(known, x, hue));
    const control = controlKey(key);
    if (control && !excess) traces.push(line(points(o.id, control), x, `${o.name}, control`, "dot", hue, 1.2, {mode: "lines", opacity: 0.8}));
    traces.push(line(known, x, o.name, "solid", hue, 2.2));
    known.forEach(p => { if (p.chance !== null) chance = p.chance; });
  });
  if (excess) mark(0, "dash", "soft", "as the control");
  else if (chance !== null) mark(chance, "dash", "soft", "chance");
  const values = excess ? run.excess : run.measures, untrained = entryOf(values, key, reference("untrained")), best = entryOf(values, key, reference("bayes"));
  if (untrained) mark(untrained[MEAN], "longdash", "weak", chance !== null && Math.abs(untrained[MEAN] - chance) < 0.02 * Math.abs(chance) ? "" : "untrained");
  if (best && run.far.includes(key) && !excess) annotations.push({xref: "paper", yref: "paper", x: 0, xanchor: "left", y: 0, yanchor: "bottom", text: `↓ Bayes rule ${say(best[MEAN])}`, showarrow: false, font: {size: 10, color: colour("ink")}});
  else if (best) mark(best[MEAN], "solid", "ink", "Bayes rule", 0.8);
  const image = !excess && (run.measures[`${key}.image`] || []).find(e => e && e[MEAN] !== null);
  if (image) mark(image[MEAN], "1px,3px", "ink", "image itself");
  const strengths = run.trials.filter(t => shown.some(o => o.id === t.objective) || t.objective === "standard").map(t => t.strength);
  const title = {strength: "strength (log scale)", accuracy: "accuracy", kappa: "log κ"}[mode];
  const xaxis = {title: {text: title, font: {size: 12}}, ...(mode === "strength" && strengths.length ? ticks(strengths, at, element.clientWidth) : {})};
  draw(element, traces, {xaxis, yaxis: {nticks: 5, type: logarithmic ? "log" : "linear", ...(logarithmic ? {dtick: 1} : {}), title: {text: kind === "excess" && !excess ? "(has no control)" : ""}}, shapes, annotations});
}
function controlKey(key) {
  const best = run.story.fraction === key && run.story.fraction_control;
  return best || [`${key}.pca`, `${key}.shuffled`].find(k => run.measures[k]) || null;
}
function seedLine(shown, x, seed, hue) {
  const own = shown.map(p => ({p, f: p.entries.find(f => f.trial.seed === seed && f.value)})).filter(e => e.f);
  return {type: "scatter", mode: "lines", x: own.map(e => x(e.p)), y: own.map(e => e.f.value[MEAN]), line: {width: 0.8, color: colour(hue, 0.5)}, hoverinfo: "skip"};
}

// ---- ridges: the distribution over images
function drawRidge(element) {
  const own = run.spread.curves.filter(c => c.objective === element.dataset.objective || c.objective === "standard").sort((a, b) => a.strength - b.strength);
  const hue = objectiveColour(element.dataset.objective), bins = run.spread.bins, traces = [];
  const x = Array.from({length: bins}, (_, i) => (i + 0.5) / bins);
  [...own.keys()].reverse().forEach(i => {
    const c = own[i], [low, middle, high] = c.quartiles, tint = c.strength ? hue : "soft";
    traces.push({type: "scatter", mode: "lines", x: [0, ...x, 1], y: [i, ...c.density.map(d => i + 1.25 * d), i], fill: "toself", fillcolor: colour(tint, 0.28), line: {width: 1.4, color: colour(tint), shape: "spline"}, hoverinfo: "skip"},
      {type: "scatter", mode: "lines", x: [low, high], y: [i + 0.1, i + 0.1], line: {width: 4, color: colour(tint)}, hoverinfo: "skip"},
      {type: "scatter", mode: "markers", x: [middle], y: [i + 0.1], marker: {size: 8, color: colour("card"), line: {width: 2, color: colour(tint)}}, hovertemplate: `<b>strength ${c.strength}</b><br>median ${say(middle)}, middle half ${say(low)} to ${say(high)}<br>${c.n} values<extra></extra>`});
  });
  const chance = run.measures[run.story.fraction]?.find(e => e && e[CHANCE] !== null)?.[CHANCE];
  const shapes = chance === undefined ? [] : [{type: "line", yref: "paper", x0: chance, x1: chance, y0: 0, y1: 1, line: {dash: "dash", width: 1.2, color: colour("soft")}}];
  const best = entryOf(run.measures, run.story.fraction, reference("bayes")), annotations = [];
  if (best) {
    shapes.push({type: "line", yref: "paper", x0: best[MEAN], x1: best[MEAN], y0: 0, y1: 1, line: {dash: "solid", width: 0.8, color: colour("ink")}});
    annotations.push({yref: "paper", x: best[MEAN], y: 1, xanchor: best[MEAN] > 0.5 ? "right" : "left", yanchor: "bottom", text: "Bayes rule", showarrow: false, font: {size: 10, color: colour("ink")}});
  }
  draw(element, traces, {shapes, annotations, ...(best ? {margin: {l: 44, r: 12, t: 20, b: 46}} : {}), xaxis: {range: [0, 1], title: {text: "F² of one image", font: {size: 12}}}, yaxis: {tickvals: own.map((_, i) => i), ticktext: own.map(c => String(c.strength)), showgrid: false, range: [-0.15, own.length + 0.4], title: {text: "strength", font: {size: 12}}}});
}

// ---- correlations over trials
function drawScatter(element) {
  const id = element.dataset.correlation, kind = $("#correlation-kind").value, pick = $(`select[data-correlation="${CSS.escape(id)}"]`);
  const item = $(`.rho[data-correlation="${CSS.escape(id)}"][data-index="${pick ? pick.value : 0}"]`);
  const xs = run.measures[element.dataset.x] || [], ys = (kind === "raw" ? run.measures : run.excess)[item.dataset.y] || [], traces = [];
  ["standard", ...run.objectives.map(o => o.id)].forEach(o => {
    const known = run.trials.map((t, i) => ({t, x: xs[i], y: ys[i]})).filter(e => e.t.objective === o && e.x && e.y && e.x[MEAN] !== null && e.y[MEAN] !== null);
    const hue = o === "standard" ? "ink" : objectiveColour(o);
    traces.push({type: "scatter", mode: "markers", x: known.map(e => e.x[MEAN]), y: known.map(e => e.y[MEAN]),
      error_x: bars(known.map(e => e.x), hue), error_y: bars(known.map(e => e.y), hue),
      marker: {size: 10, symbol: known.map(e => SYMBOL[e.t.outcome === "ok" ? e.t.regime || "control" : "lost"]), color: colour(hue), line: {width: 1, color: colour("card")}},
      customdata: known.map(e => [e.t.id, e.t.label]), hovertemplate: "<b>%{customdata[0]}</b> (%{customdata[1]})<br>log κ %{x:.3g}, alignment %{y:.3g}<extra></extra>"});
  });
  draw(element, traces, {xaxis: {title: {text: "log κ (lower: on the manifold)", font: {size: 12}}}, yaxis: {nticks: 5}, shapes: kind === "raw" ? [] : [level(0, "dash", "soft")]});
}
const bars = (values, hue) => ({type: "data", symmetric: false, array: values.map(e => e[HIGH] === null ? 0 : e[HIGH] - e[MEAN]), arrayminus: values.map(e => e[LOW] === null ? 0 : e[MEAN] - e[LOW]), width: 0, thickness: 1, color: colour(hue, 0.45)});

// ---- the score's denoising
function drawDenoising(element) {
  const [sigma, error, nothing] = [0, 1, 2].map(i => run.denoising.map(d => d[i]));
  const trace = (y, name, dash, hue) => ({type: "scatter", mode: "lines+markers", x: sigma, y, name, line: {dash, color: colour(hue), width: 2.2}, marker: {size: 7}, hovertemplate: `<b>${name}</b><br>σ = %{x:.3g}: %{y:.3g}<extra></extra>`});
  draw(element, [trace(nothing, "doing nothing", "dot", "soft"), trace(error, "the score's denoiser", "solid", "accent")], {showlegend: true, legend: {x: 0.02, y: 1, bgcolor: "rgba(0,0,0,0)"}, margin: {l: 56, r: 12, t: 8, b: 40},
    xaxis: {type: "log", tickvals: sigma, ticktext: sigma.map(say), title: {text: "σ in [0, 1] pixel units", font: {size: 12}}}, yaxis: {type: "log", dtick: 1, title: {text: "squared error per pixel", font: {size: 12}}}});
}
