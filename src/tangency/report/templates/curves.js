// ---- the story: a row for each question, the regime as background; points are networks
const SHORT = {"Bayes-aligned": "aligned", excessive: "exc.", undetermined: "?", diverged: "div.", collapsed: "coll.", withheld: "–"};
const TURN = {peak: "o0", "t₁": "aligned", "t₂": "excessive"};
function storyRange(title) { // of all objectives, so that they can be compared
  const rows = Object.values(run.stories).flatMap(s => s.rows.filter(r => r.title === title));
  const ends = rows.flatMap(r => [...r.curves.flatMap(c => c.points.flatMap(p => [p[2] ?? p[1], p[3] ?? p[1]])), ...r.levels.map(l => l[0])]);
  const zero = title === "Accuracy" ? [] : [0], top = Math.max(...zero, ...ends), bottom = Math.min(...zero, ...ends);
  return [bottom - 0.06 * (top - bottom), top + 0.14 * (top - bottom)];
}
function drawStory(element) {
  const story = run.stories[element.dataset.objective], {steps, rows} = story, strengths = steps.map(s => s[0]), at = place(strengths), x = strengths.map(at);
  const edges = x.map((v, i) => i ? (x[i - 1] + v) / 2 : v - 0.25).concat(x[x.length - 1] + 0.25), last = edges.length - 1;
  const traces = [], shapes = [], annotations = [], extra = {margin: {l: 44, r: 14, t: 30, b: 44}};
  const wide = text => 6.2 * text.length, width = element.clientWidth - 58;
  let start = 0;
  steps.forEach(([, regime, label], i) => {
    const hue = REGIME[regime] || (["diverged", "collapsed"].includes(label) ? "lost" : "soft"), plain = label.replace(/ \(.*/, "");
    shapes.push({type: "rect", xref: "x", yref: "paper", x0: edges[i], x1: edges[i + 1], y0: 0, y1: 1, fillcolor: colour(hue, 0.1), line: {width: 0}, layer: "below"});
    if (i + 1 < last && steps[i + 1][2] === label) return;
    const pixels = (edges[i + 1] - edges[start]) / (edges[last] - edges[0]) * width;
    const text = [label, plain, SHORT[plain] || plain, ""].find(t => wide(t) < pixels || !t);
    annotations.push({xref: "x", yref: "paper", x: (edges[start] + edges[i + 1]) / 2, y: 1, yanchor: "bottom", text, showarrow: false, font: {size: 11, color: colour(hue)}});
    start = i + 1;
  });
  rows.forEach((row, n) => {
    const name = n ? n + 1 : "", axes = {xaxis: "x", yaxis: `y${name}`}, height = 1 / rows.length, top = 1 - n * height, range = storyRange(row.title);
    extra[`yaxis${name}`] = {domain: [top - height + 0.012, top - 0.045 * 4 / rows.length], range, nticks: 4};
    annotations.push({xref: "paper", yref: "paper", x: 0, y: top - 0.004, xanchor: "left", yanchor: "top", text: `<b>${row.title}</b>`, showarrow: false, font: {size: 12, color: colour("ink")}});
    row.levels.forEach(([value, text]) => {
      const bayes = text === "Bayes rule";
      shapes.push({...level(value, bayes ? "solid" : value ? "dot" : "dash", bayes ? "ink" : "soft", bayes ? 0.8 : 1.2), yref: `y${name}`});
      annotations.push({xref: "paper", yref: `y${name}`, x: 0.01, xanchor: "left", y: value, yshift: 6, text, showarrow: false, font: {size: 10, color: colour(bayes ? "ink" : "soft")}});
    });
    row.curves.forEach((curve, second) => {
      const hue = second ? "soft" : objectiveColour(element.dataset.objective), xs = curve.points.map(p => at(p[0]));
      const text = curve.points.map(p => `${say(p[1])}${p[2] === null ? "" : ` [${say(p[2])}, ${say(p[3])}]`}${p[4].length > 1 ? `<br>networks: ${p[4].map(say).join(", ")}` : ""}`);
      const bars = {type: "data", symmetric: false, array: curve.points.map(p => p[3] === null ? 0 : p[3] - p[1]), arrayminus: curve.points.map(p => p[2] === null ? 0 : p[1] - p[2]), width: 3, thickness: 1.4, color: colour(hue)};
      traces.push({type: "scatter", mode: "lines+markers", x: xs, y: curve.points.map(p => p[1]), error_y: bars, line: {dash: second ? "dot" : "solid", width: second ? 1.6 : 2.2, color: colour(hue)}, marker: {size: 7, color: colour(hue)},
        customdata: curve.points.map((p, i) => [p[0], text[i], (steps.find(s => s[0] === p[0]) || ["", "", ""])[2]]), hovertemplate: `<b>${row.title}${curve.name ? `, ${curve.name}` : ""}, strength %{customdata[0]}</b> (%{customdata[2]})<br>%{customdata[1]}<extra></extra>`, ...axes});
      const each = curve.points.flatMap((p, i) => p[4].length > 1 ? p[4].map(v => [xs[i] + 0.07, v]) : []);
      if (each.length) traces.push({type: "scatter", mode: "markers", x: each.map(e => e[0]), y: each.map(e => e[1]), marker: {size: 4, color: colour(hue, 0.5)}, hoverinfo: "skip", ...axes});
      if (curve.name && curve.points.length) {
        const other = row.curves[1 - second], gap = p => Math.abs(p[1] - ((other && other.points.find(q => q[0] === p[0])) || p)[1]);
        const widest = curve.points.reduce((a, b) => gap(a) > gap(b) ? a : b), mate = other && other.points.find(q => q[0] === widest[0]);
        annotations.push({xref: "x", yref: `y${name}`, x: at(widest[0]), y: widest[1], yshift: !mate || widest[1] >= mate[1] ? 12 : -12, text: curve.name, showarrow: false, font: {size: 11, color: colour(hue)}});
      }
    });
    row.marks.forEach(([text, middle, low, high], i) => { // an end that is null lies beyond the grid, 0 before it
      const where = end => end === null ? edges[last] : end ? Math.max(edges[0], at(end)) : edges[0], y = range[1] - (0.05 + 0.1 * i) * (range[1] - range[0]);
      traces.push({type: "scatter", mode: "lines", x: [where(low), where(high)], y: [y, y], line: {width: 3, color: colour(TURN[text])}, hoverinfo: "skip", ...axes},
        {type: "scatter", mode: "text", x: [where(high)], y: [y], text: [` ${text}`], textposition: "middle right", cliponaxis: false, textfont: {size: 10, color: colour(TURN[text])}, hoverinfo: "skip", ...axes},
        {type: "scatter", mode: "markers", x: [where(middle)], y: [y], marker: {symbol: "diamond", size: 7, color: colour(TURN[text])}, hoverinfo: "skip", ...axes});
    });
  });
  extra.xaxis = {...ticks(strengths, at, element.clientWidth), range: [edges[0], edges[last]], anchor: "free", position: 0, showgrid: false, title: {text: "strength (log scale)", font: {size: 12}}};
  draw(element, traces, {...extra, shapes, annotations});
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
  const best = run.fraction.fraction === key && run.fraction.fraction_control;
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
  const chance = run.measures[run.fraction.fraction]?.find(e => e && e[CHANCE] !== null)?.[CHANCE];
  const shapes = chance === undefined ? [] : [{type: "line", yref: "paper", x0: chance, x1: chance, y0: 0, y1: 1, line: {dash: "dash", width: 1.2, color: colour("soft")}}];
  const best = entryOf(run.measures, run.fraction.fraction, reference("bayes")), annotations = [];
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
