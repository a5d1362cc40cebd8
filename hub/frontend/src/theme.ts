/**
 * Light and dark, run before the page is drawn so that it never flashes. The choice is kept under the key that
 * JupyterHub uses; no entry means: as the system says.
 */
import { t } from "./words.ts";

type Choice = "auto" | "light" | "dark";

const KEY = "jupyterhub-bs-theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

function stored(): Choice {
  try {
    const value = window.localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}

function store(choice: Choice): void {
  try {
    if (choice === "auto") window.localStorage.removeItem(KEY);
    else window.localStorage.setItem(KEY, choice);
  } catch {
    // Storage may be denied; the choice then lasts as long as the page.
  }
}

let choice = stored();

function apply(): void {
  const theme = choice === "auto" ? (system.matches ? "dark" : "light") : choice;
  document.documentElement.setAttribute("data-bs-theme", theme);
  document.documentElement.setAttribute("data-theme-choice", choice);
  const button = document.getElementById("dark-theme-toggle");
  if (!button) return;
  const names: Record<Choice, string> = { auto: t("as the system"), light: t("light"), dark: t("dark") };
  const name = names[choice];
  button.setAttribute("aria-label", t("Colours: {name}. Change", { name }));
  button.title = t("Colours: {name}", { name });
}

apply();
system.addEventListener("change", apply);
window.addEventListener("storage", (event) => {
  if (event.key !== KEY) return;
  choice = stored();
  apply();
});
document.addEventListener("DOMContentLoaded", () => {
  apply();
  document.getElementById("dark-theme-toggle")?.addEventListener("click", () => {
    const order: Choice[] = ["auto", "light", "dark"];
    choice = order[(order.indexOf(choice) + 1) % order.length] ?? "auto";
    store(choice);
    apply();
  });
});
