/** Pages about a server that is not there: stopped, or about to be. */
import { announce, find, pause } from "./page.ts";
import { t } from "./words.ts";

const LOOK_AGAIN = 2000;
const LOOK_AGAIN_LONGEST = 20_000;

/** The fragment never reaches the hub, so the link takes it along. */
function keepFragment(start: HTMLAnchorElement): void {
  const href = start.getAttribute("href");
  if (href && window.location.hash !== "" && !href.includes("#")) {
    start.setAttribute("href", href + window.location.hash);
  }
}

function countDown(box: HTMLElement, start: HTMLAnchorElement): void {
  let left = Math.ceil(Number(box.dataset["implicitSpawnSeconds"]));
  if (!Number.isFinite(left) || left <= 0) return;
  const seconds = box.querySelector(".countdown-seconds");
  const timer = window.setInterval(() => {
    left -= 1;
    if (seconds) seconds.textContent = String(Math.max(0, left));
    if (left > 0) return;
    window.clearInterval(timer);
    window.location.assign(start.href);
  }, 1000);
  box.querySelector("button")?.addEventListener("click", () => {
    window.clearInterval(timer);
    box.remove();
    announce(t("The server is not started by itself."));
    start.focus();
  });
}

export function attachNotRunning(): void {
  const box = find(HTMLElement, "#not-running");
  const start = find(HTMLAnchorElement, "a#start");
  if (!start) return;
  if (document.querySelector(".home-server-row, .default-server") === null) keepFragment(start);
  const counter = box && find(HTMLElement, "[data-implicit-spawn-seconds]", box);
  if (counter) countDown(counter, start);
}

/** Looks again until the hub has something else to say. */
export function attachStopPending(): void {
  const box = document.getElementById("stop-pending");
  if (!box) return;
  void (async () => {
    let wait = LOOK_AGAIN;
    for (;;) {
      await pause(wait);
      try {
        const page = await fetch(window.location.href, { credentials: "same-origin", cache: "no-store" });
        const text = await page.text();
        if (page.status < 500 && !text.includes('id="stop-pending"')) {
          window.location.reload();
          return;
        }
        wait = LOOK_AGAIN;
      } catch {
        wait = Math.min(wait * 2, LOOK_AGAIN_LONGEST);
      }
    }
  })();
}
