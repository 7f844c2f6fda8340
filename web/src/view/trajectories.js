// How generated pictures came about: the frames of a trajectory, played or stepped through.
import {$, make, option} from "../dom.js";
import {paint, photoPixels} from "../draw/pixels.js";

const PAUSE = 160; // milliseconds between frames

export function mountTrajectories({run}) {
  const all = run.explorer?.trajectories || [], place = $("#trajectories");
  if (!place || !all.length) return;
  place.hidden = false;
  const pick = $("#trajectory"), slider = $("#trajectory-frame"), play = $("#trajectory-play"), film = $("#trajectory-film");
  pick.replaceChildren(...all.map((own, i) => option(i, `${own.task}, ${own.trial}`)));
  let frames = null, timer = null;
  const show = () => {
    const [, count, channels, ...size] = frames.shape, length = channels * size[0] * size[1], first = Number(slider.value) * count * length;
    [...film.children].forEach((canvas, i) => paint(canvas, photoPixels(frames.values.subarray(first + i * length, first + (i + 1) * length), channels), size));
    slider.setAttribute("aria-valuetext", `step ${Number(slider.value) + 1} of ${frames.shape[0]}`);
  };
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const load = async () => {
    stop();
    frames = await run.blocks.pictures(all[Number(pick.value)].block, false);
    slider.max = frames.shape[0] - 1;
    slider.value = slider.max;
    film.replaceChildren(...Array.from({length: frames.shape[1]}, (_, i) => make("canvas", {role: "img", "aria-label": `picture ${i + 1}`})));
    show();
  };
  pick.addEventListener("change", load);
  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", async () => {
    if (timer) return stop();
    if (!frames) await load();
    slider.value = 0;
    show();
    play.textContent = "Stop";
    timer = setInterval(() => {
      if (Number(slider.value) >= Number(slider.max)) return stop();
      slider.value = Number(slider.value) + 1;
      show();
    }, PAUSE);
  });
  new IntersectionObserver((entries, own) => { if (entries.some(e => e.isIntersecting)) { own.disconnect(); load(); } }).observe(place);
}
