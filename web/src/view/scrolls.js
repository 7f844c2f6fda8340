// Boxes that scroll sideways: a shadow where more is to the right, and headings that stay below what sticks to the top.
import {$, $$} from "../dom.js";

export const more = ({scrollWidth, clientWidth, scrollLeft}) => scrollWidth - clientWidth - scrollLeft > 2;

/** How far the headings of a box whose top is at `top` move down to stand below `bar`, not beyond its last row. */
export const under = (top, height, bar, head = 0) => Math.max(0, Math.min(bar - top, height - head - 40));

const edge = box => box.classList.toggle("more", more(box));
const widths = new ResizeObserver(entries => entries.forEach(({target}) => edge(target.closest(".scroll"))));

/** Mark a box while it has more to the right. */
export function edged(box) {
  const table = $("table", box);
  if (!table) return box;
  box.classList.add("edged");
  box.addEventListener("scroll", () => edge(box), {passive: true});
  [box, table].forEach(own => widths.observe(own));
  return box;
}

export function mountScrolls() {
  const boxes = $$(".scroll:has(table)"), bar = $("#steer"), wide = matchMedia("(min-width: 760px) and (min-height: 560px)"), moved = new Set();
  boxes.forEach(edged);
  const heads = boxes.filter(box => $("table.plain thead", box));
  const place = () => {
    const bottom = bar && wide.matches ? bar.getBoundingClientRect().bottom - 2 : 0; // its own and the box's border
    if (bar) document.documentElement.style.setProperty("--steer", wide.matches ? `${bar.offsetHeight}px` : "0px");
    heads.forEach(box => {
      const {top, height} = box.getBoundingClientRect(), own = wide.matches && height && top < bottom ? under(top, height, bottom, $("thead", box).offsetHeight) : 0;
      if (!own && !moved.has(box)) return;
      box.style.setProperty("--under", `${own}px`);
      if (own) moved.add(box);
      else moved.delete(box);
    });
  };
  let asked = false;
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; place(); });
  };
  addEventListener("scroll", soon, {passive: true});
  addEventListener("resize", soon);
  if (bar) new ResizeObserver(soon).observe(bar);
  place();
}
