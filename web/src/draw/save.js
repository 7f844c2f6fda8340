// Figures as files: SVG with its colours resolved, PNG at twice the size, and the numbers as CSV.
import {button, make, offer} from "../dom.js";
import {csv, fileName} from "../data/csv.js";

const COLOURS = ["fill", "stroke", "color", "opacity", "font-size", "font-family", "font-weight", "stroke-dasharray"];

function resolved(svg) {
  const copy = svg.cloneNode(true), from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    COLOURS.forEach(name => to[i].style.setProperty(name, style.getPropertyValue(name)));
  });
  copy.querySelectorAll(".cursor, style").forEach(element => element.remove());
  return copy;
}

/** One SVG of all charts inside an element, one below the other, with a title. */
export function svgText(element, title) {
  const charts = [...element.querySelectorAll("svg")].filter(svg => !svg.parentElement.closest("svg"));
  const ink = getComputedStyle(element).color, paper = getComputedStyle(element.closest(".card") || document.body).backgroundColor;
  const width = Math.max(...charts.map(svg => svg.width.baseVal.value)), space = "http://www.w3.org/2000/svg";
  const whole = document.createElementNS(space, "svg"), add = (tag, attributes, text = "") => {
    const own = document.createElementNS(space, tag);
    Object.entries(attributes).forEach(([name, value]) => own.setAttribute(name, value));
    own.textContent = text;
    whole.append(own);
  };
  let height = 26;
  add("title", {}, title);
  add("rect", {width: "100%", height: "100%", fill: paper});
  add("text", {x: 8, y: 17, fill: ink, "font-size": 12, "font-weight": 600, "font-family": "sans-serif"}, title);
  charts.forEach(svg => {
    const copy = resolved(svg);
    copy.setAttribute("y", height);
    height += svg.height.baseVal.value;
    whole.append(copy);
  });
  Object.entries({xmlns: space, width, height, viewBox: `0 0 ${width} ${height}`}).forEach(([name, value]) => whole.setAttribute(name, value));
  return new XMLSerializer().serializeToString(whole);
}

/** A drawing at `times` its size, as PNG. */
function raster(image, times) {
  const canvas = make("canvas", {width: times * image.naturalWidth, height: times * image.naturalHeight});
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise(done => canvas.toBlob(done, "image/png"));
}

export async function pngOf(text) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  return raster(image, 2);
}

/** "Save" with PNG, SVG and CSV: `png()` and `svg()` give blobs, `data()` gives {header, rows}. */
function menu(title, {png, svg, data}) {
  const kinds = {png, svg, csv: async () => { const {header, rows} = await data(); return new Blob([csv(header, rows)], {type: "text/csv"}); }};
  return make("details", {className: "save"},
    make("summary", {"aria-label": `Save ${title}`, textContent: "Save"}),
    make("div", {}, ...Object.entries(kinds).map(([kind, blob]) =>
      button(kind.toUpperCase(), async () => offer(await blob(), `${fileName(title)}.${kind}`), {dataset: {save: kind}}))));
}

/** The menu of the charts inside an element. */
export const saveMenu = (element, title, data) => menu(title, {
  png: () => pngOf(svgText(element, title)), svg: () => new Blob([svgText(element, title)], {type: "image/svg+xml"}), data});

/** The menu of an image that is an SVG with its numbers in `data-numbers`. */
export const stillMenu = image => menu(image.dataset.figure, {
  png: async () => { await image.decode(); return raster(image, 3); },
  svg: () => new Blob([Uint8Array.from(atob(image.src.split(",")[1]), letter => letter.charCodeAt(0))], {type: "image/svg+xml"}), data: () => JSON.parse(image.dataset.numbers)});
