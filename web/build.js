// Bundles src/main.js into the one script that Python puts into a page, and the licences of what it holds beside it.
import {build} from "esbuild";
import {readFileSync, readdirSync, writeFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] || join(here, "..", "src", "tangency", "report", "page", "bundle");
const made = await build({
  absWorkingDir: here, entryPoints: ["src/main.js"], outfile: join(out, "explorer.js"), bundle: true, minify: true,
  format: "iife", target: "es2022", charset: "utf8", legalComments: "none", metafile: true, logLevel: "warning",
});
const inside = Object.values(made.metafile.outputs)[0].inputs;
const folders = Object.keys(inside).filter(file => inside[file].bytesInOutput && file.startsWith("node_modules/"))
  .map(file => file.match(/^node_modules\/(?:@[^/]+\/)?[^/]+/)[0]);
const notices = [...new Set(folders)].sort().map(folder => {
  const {name, version} = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
  const licence = readdirSync(join(here, folder)).find(file => /^licen[cs]e/i.test(file));
  return `${name} ${version}\n\n${readFileSync(join(here, folder, licence), "utf8").trim()}\n`;
});
writeFileSync(join(out, "NOTICE-explorer.txt"), `Packages in explorer.js, with their licences.\n\n${notices.join(`\n${"-".repeat(72)}\n\n`)}`);
