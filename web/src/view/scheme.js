// Light, dark or as the system has it.
import {$} from "../dom.js";

const NEXT = {auto: "light", light: "dark", dark: "auto"};

export function mountScheme() {
  const root = document.documentElement;
  $("#scheme").addEventListener("click", e => {
    const next = NEXT[root.dataset.scheme || "auto"], own = e.currentTarget;
    root.dataset.scheme = next;
    own.textContent = `◐ ${next}`;
    own.setAttribute("aria-label", `Colour scheme: ${next}`);
  });
}
