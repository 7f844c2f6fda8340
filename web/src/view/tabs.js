// Parts of the page as tabs. Without this script they stand one below the other, and on paper they do again.
import {$, $$} from "../dom.js";

export function mountTabs() {
  const list = $("#tabs"), tabs = $$("a", list), parts = tabs.map(tab => $(tab.hash));
  list.setAttribute("role", "tablist");
  const open = (place, focus = false) => tabs.forEach((tab, i) => {
    const here = i === place;
    tab.setAttribute("aria-selected", String(here));
    tab.tabIndex = here ? 0 : -1;
    parts[i].classList.toggle("open", here);
    if (here && focus) tab.focus();
    if (here) list.scrollTo({left: tab.offsetLeft - list.clientWidth / 2 + tab.offsetWidth / 2});
  });
  const chosen = (place, focus = false) => { // from far below, another part starts at its start
    const below = parts.some(part => part.classList.contains("open") && part.getBoundingClientRect().top < list.getBoundingClientRect().bottom - 4);
    open(place, focus);
    if (below) parts[place].scrollIntoView({behavior: "instant"});
  };
  tabs.forEach((tab, i) => {
    tab.setAttribute("role", "tab");
    tab.id ||= `tab-${parts[i].id}`;
    tab.setAttribute("aria-controls", parts[i].id);
    parts[i].setAttribute("role", "tabpanel");
    parts[i].setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", e => { e.preventDefault(); chosen(i); history.replaceState(null, "", tab.hash); });
  });
  list.addEventListener("keydown", e => {
    const now = tabs.indexOf(document.activeElement), to = {ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1}[e.key];
    if (now < 0 || to === undefined) return;
    e.preventDefault();
    chosen((to + tabs.length) % tabs.length, true);
  });
  const follow = () => { // a link into a part opens it
    let target = null;
    try { target = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null; } catch { /* no name */ }
    const place = target ? parts.findIndex(part => part.contains(target)) : -1;
    if (place < 0) return;
    open(place);
    target.closest("details")?.setAttribute("open", "");
    if (target !== parts[place]) target.scrollIntoView();
  };
  document.addEventListener("click", e => { // the same link twice changes no hash
    const link = e.target.closest?.('a[href^="#"]');
    if (link && !tabs.includes(link) && link.hash === location.hash) follow();
  });
  addEventListener("hashchange", follow);
  open(0);
  follow();
}
