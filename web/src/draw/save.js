// Figures as files: SVG with its colours resolved, PNG at twice the size, and the numbers as CSV.
import {button, make, offer} from "../dom.js";
import {csv} from "../data/csv.js";

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

export async function pngOf(text) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = make("canvas", {width: 2 * image.width, height: 2 * image.height});
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise(done => canvas.toBlob(done, "image/png"));
}

const fileName = title => title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "figure";

/** "Save" with PNG, SVG and CSV; `data()` gives {header, rows}. */
export function saveMenu(element, title, data) {
  const name = fileName(title), own = make("details", {className: "save"},
    make("summary", {"aria-label": `Save ${title}`, textContent: "Save"}),
    make("div", {},
      button("PNG", async () => offer(await pngOf(svgText(element, title)), `${name}.png`), {dataset: {save: "png"}}),
      button("SVG", () => offer(new Blob([svgText(element, title)], {type: "image/svg+xml"}), `${name}.svg`), {dataset: {save: "svg"}}),
      button("CSV", async () => { const {header, rows} = await data(); offer(new Blob([csv(header, rows)], {type: "text/csv"}), `${name}.csv`); }, {dataset: {save: "csv"}})));
  return own;
}
