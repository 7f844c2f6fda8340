// On paper all parts stand one below the other, unfolded.
import {$, $$} from "../dom.js";

export function mountPrint(visible) {
  const unfold = () => {
    document.documentElement.classList.add("printing");
    $$("details:not(.save)").forEach(own => { own.open = true; });
    return visible.all();
  };
  matchMedia("print").addEventListener("change", ({matches}) => { // a page that is captured as paper is never told beforehand
    if (matches) unfold();
    else document.documentElement.classList.remove("printing");
  });
  addEventListener("beforeprint", unfold); // which cannot wait for pictures that were not yet decoded; the button does
  addEventListener("afterprint", () => document.documentElement.classList.remove("printing"));
  $("#print").addEventListener("click", async () => {
    await unfold();
    await visible.all(); // rows that the first drawing made
    print();
  });
}
