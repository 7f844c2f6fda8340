// Draws what is seen, when it is seen: a diagram in closed <details> has no size, and large ones take seconds.
"use strict";
(() => {
  const dark = () => {
    const theme = document.body.dataset.theme;
    return theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  };
  const watch = new IntersectionObserver((entries) => {
    const nodes = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    nodes.forEach((node) => watch.unobserve(node));
    if (nodes.length) setTimeout(() => mermaid.run({ nodes }));
  });
  addEventListener("DOMContentLoaded", () => {
    mermaid.initialize({ startOnLoad: false, theme: dark() ? "dark" : "default", flowchart: { useMaxWidth: false } });
    document.querySelectorAll("pre.mermaid").forEach((node) => watch.observe(node));
  });
})();
