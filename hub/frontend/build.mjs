// Bundles scripts, styles and images into the directory given as the only argument (default: dist).
// The names below static/ are those that site templates of JupyterHub already ask for, where there is such a name.
import { cp, mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import * as sass from "sass";
import { favicon } from "./scripts/favicon.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const out = resolve(process.argv[2] ?? join(here, "dist"));

async function scripts() {
  await build({
    absWorkingDir: here,
    // Site templates that replace admin.html load js/admin-react.js, from the days when it was made with React.
    entryPoints: { hub: "src/hub.ts", theme: "src/theme.ts", "admin-react": "src/admin/main.ts" },
    outdir: join(out, "js"),
    bundle: true,
    minify: true,
    format: "iife",
    target: ["es2022"],
    charset: "utf8",
    legalComments: "eof",
    logLevel: "warning",
  });
}

async function styles() {
  const { css } = sass.compile(join(here, "scss/style.scss"), {
    style: "compressed",
    loadPaths: [join(here, "node_modules")],
    quietDeps: true,
    // Bootstrap 5 is written with @import, so its users must be as well.
    silenceDeprecations: ["import"],
  });
  await mkdir(join(out, "css"), { recursive: true });
  await writeFile(join(out, "css/style.min.css"), css);
}

async function images() {
  await cp(join(here, "images"), join(out, "images"), { recursive: true });
  await writeFile(join(out, "favicon.ico"), favicon());
}

// Texts that scripts show, for every language but English: loaded before the scripts.
async function words() {
  await mkdir(join(out, "js"), { recursive: true });
  for (const file of await readdir(join(here, "locales"))) {
    const { scripts, messages } = JSON.parse(await readFile(join(here, "locales", file), "utf8"));
    const name = `words-${basename(file, ".json")}.js`;
    await writeFile(join(out, "js", name), `window.jhwords = ${JSON.stringify({ ...messages, ...scripts })};\n`);
  }
}

await mkdir(out, { recursive: true });
await Promise.all([scripts(), styles(), images(), words()]);
