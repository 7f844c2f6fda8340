// The page of a generation task: its trajectory, played.
import {$} from "./dom.js";
import {Blocks} from "./data/blocks.js";
import {mountTrajectory} from "./view/trajectories.js";

const player = $("#trajectory-player");
if (player) {
  player.hidden = false;
  mountTrajectory(new Blocks(name => document.getElementById(name)?.textContent ?? null), "frames", JSON.parse(player.dataset.steps));
}
