// ---- tables that sort by a click on a heading; what is missing goes last
function sortable(tableElement, sort) {
  $$("thead th", tableElement).forEach((th, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    th.dataset.sortable = "";
    button.addEventListener("click", () => {
      const up = th.getAttribute("aria-sort") !== "ascending";
      $$("thead th", tableElement).forEach(o => o.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(column, up);
    });
  });
}
const compare = (a, b, up) => { // what is missing goes last, either way up
  const missing = v => v === null || v === undefined || v === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
  return up ? order : -order;
};
const cellValue = td => {
  const text = (td.firstChild || td).textContent.trim(), plain = text.replace("−", "-").replace(/·10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)/, (_, e) => `e${[...e].map(c => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(c)).map(i => i ? i - 1 : "-").join("")}`);
  return !td.classList.contains("num") ? text : isFinite(plain) && plain !== "" ? Number(plain) : null;
};
