// How generated pictures came about: the frames of a trajectory, played or stepped through.
import {$, make} from "../dom.js";
import {paint, photoPixels} from "../draw/pixels.js";

const PAUSE = 160; // milliseconds between frames

/** The pixels of one frame, picture by picture. */
export function frameOf({values, shape}, frame) {
  const [, count, channels, height, width] = shape, length = channels * height * width;
  return Array.from({length: count}, (_, i) => photoPixels(values.subarray((frame * count + i) * length, (frame * count + i + 1) * length), channels));
}

/** Play the frames of a block, (frames, pictures, C, H, W) in bytes; `steps` says after how many steps each was taken. */
export async function mountTrajectory(blocks, name, steps) {
  const frames = await blocks.pictures(name, false), [count, pictures, , ...size] = frames.shape;
  const slider = $("#trajectory-frame"), play = $("#trajectory-play"), said = $("#trajectory-step"), film = $("#trajectory-film");
  const canvases = Array.from({length: pictures}, (_, i) => make("canvas", {role: "img", "aria-label": `picture ${i + 1}`}));
  let timer = null;
  const show = frame => {
    slider.value = frame;
    frameOf(frames, frame).forEach((pixels, i) => paint(canvases[i], pixels, size));
    said.textContent = `after ${steps[frame]} steps`;
    slider.setAttribute("aria-valuetext", said.textContent);
  };
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const step = () => Number(slider.value) < count - 1 ? show(Number(slider.value) + 1) : stop();
  slider.max = count - 1;
  film.replaceChildren(...canvases);
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  play.addEventListener("click", () => {
    if (timer) return stop();
    show(0);
    play.textContent = "Stop";
    timer = setInterval(step, PAUSE);
  });
  show(count - 1);
}
