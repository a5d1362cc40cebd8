/** The page shown while a server starts: follows the hub's events and goes where they lead. */
import { stopServer, xsrfToken } from "./api.ts";
import { tellError } from "./dialogs.ts";
import { announce, find, hub, make, show } from "./page.ts";
import { t, translated } from "./words.ts";

interface ProgressEvent {
  progress?: number;
  message?: string;
  html_message?: string;
  ready?: boolean;
  failed?: boolean;
  /** A step within a step, which JupyterHub would not tell of. */
  detail?: boolean;
  /** Whether starting again may help although nobody changed anything, with a failure. */
  retry?: boolean;
  /** The last lines that the server wrote, with a failure. */
  log?: string[];
}

/** First and longest pause before a closed stream is opened again, in milliseconds. */
const RETRY_FIRST = 1000;
const RETRY_LONGEST = 15_000;
/** A start may report thousands of steps; the page keeps the newest. */
const LOG_LINES = 500;

/** Which start and which of its events, from ids such as `3.12`. */
interface Place {
  run: string;
  index: number;
}

function placeOf(id: string): Place | undefined {
  const [run, index] = id.split(".");
  if (run === undefined || index === undefined) return undefined;
  return { run, index: Number(index) };
}

function isEvent(value: unknown): value is ProgressEvent {
  return typeof value === "object" && value !== null;
}

class ProgressPage {
  readonly #url: string;
  readonly #bar: HTMLElement;
  #source: EventSource | undefined;
  #retry = RETRY_FIRST;
  #best = 0;
  #last: Place | undefined;
  #ended = false;
  /** Set until the first event of a stream that was just opened. */
  #again = false;

  constructor(url: string, bar: HTMLElement) {
    this.#url = url;
    this.#bar = bar;
  }

  open(): void {
    const url = new URL(this.#url, window.location.href);
    url.searchParams.set("_xsrf", xsrfToken());
    url.searchParams.set("details", "1");
    const source = new EventSource(url);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#retry = RETRY_FIRST;
      this.#again = true;
      show(document.getElementById("progress-connection"), false);
    });
    source.addEventListener("message", (message: MessageEvent<string>) => this.#receive(message));
    source.addEventListener("error", () => this.#lost(source));
  }

  close(): void {
    this.#source?.close();
  }

  #receive(message: MessageEvent<string>): void {
    let event: unknown;
    try {
      event = JSON.parse(message.data);
    } catch {
      return;
    }
    if (!isEvent(event)) return;
    const place = placeOf(message.lastEventId);
    if (place && this.#last?.run === place.run) {
      // A stream that was opened anew tells what is already known.
      if (place.index <= this.#last.index) return;
    } else if (this.#again || place) {
      // Another start, or a hub without ids that tells everything again.
      document.getElementById("progress-log")?.replaceChildren();
      this.#best = 0;
    }
    this.#last = place;
    this.#again = false;
    this.#progress(event.progress);
    this.#message(event);
    if (event.ready) this.#ready();
    else if (event.failed) this.#failed(event);
  }

  #progress(progress: number | undefined): void {
    if (progress === undefined || !Number.isFinite(progress)) return;
    this.#best = Math.min(100, Math.max(this.#best, progress));
    this.#bar.style.width = `${this.#best}%`;
    (this.#bar.closest("[role=progressbar]") ?? this.#bar).setAttribute("aria-valuenow", String(this.#best));
    const spoken = document.getElementById("sr-progress");
    if (spoken) spoken.textContent = t("{percent}% complete", { percent: this.#best });
  }

  #message(event: ProgressEvent): void {
    // Steps that every start has are known by their English text.
    const text = translated(event.message ?? "");
    if (text === "" && event.html_message === undefined) return;
    // Small steps have places of their own: scripts read the others and know what to expect there.
    const small = event.detail === true;
    const note = document.getElementById("progress-detail");
    const current = small ? note : document.getElementById("progress-message");
    if (!small) note?.replaceChildren();
    const line = make("div", { class: small ? "progress-log-detail" : "progress-log-event" });
    // `html_message` is markup made by the spawner or an administrator's hook, by JupyterHub's contract.
    if (event.html_message !== undefined) {
      line.innerHTML = event.html_message;
      if (current) current.innerHTML = event.html_message;
    } else {
      line.textContent = text;
      if (current) current.textContent = text;
    }
    const log = document.getElementById("progress-log");
    if (!log) return;
    log.append(line);
    while (log.childElementCount > LOG_LINES) log.firstElementChild?.remove();
    log.scrollTop = log.scrollHeight;
  }

  #ready(): void {
    this.#end("progress-done");
    // The hub knows where this leads: to `next`, or to the server. A reload keeps the fragment.
    window.location.reload();
  }

  #failed(event: ProgressEvent): void {
    this.#end("progress-failed");
    show(find(HTMLElement, ".progress"), false);
    show(document.getElementById("stop-server-btn"), false);
    show(document.getElementById("start-again"), true);
    show(document.getElementById("wait-note"), false);
    find(HTMLDetailsElement, "#progress-details")?.setAttribute("open", "");
    const heading = document.getElementById("progress-heading");
    if (heading) heading.textContent = t("Your server did not start");
    show(document.getElementById("retry-note"), event.retry === false);
    const tail = document.getElementById("log-tail");
    if (event.log?.length && tail) {
      const lines = find(HTMLElement, "pre", tail);
      if (lines) lines.textContent = event.log.join("\n");
      show(tail, true);
    }
    announce(event.message ?? t("Your server did not start"));
    document.getElementById("start-again")?.focus();
  }

  #end(mark: string): void {
    this.#ended = true;
    this.#source?.close();
    document.getElementById("progress-card")?.classList.add(mark);
  }

  /** The browser resumes by itself after an interruption, but not after an answer such as 503. */
  #lost(source: EventSource): void {
    if (this.#ended || source !== this.#source) return;
    const note = document.getElementById("progress-connection");
    show(note, true);
    if (source.readyState !== EventSource.CLOSED) return;
    const wait = this.#retry;
    this.#retry = Math.min(this.#retry * 2, RETRY_LONGEST);
    window.setTimeout(() => void this.#reopen(), wait);
  }

  /** A stream that is refused may mean that there is nothing to follow any more: the page itself knows. */
  async #reopen(): Promise<void> {
    if (this.#ended) return;
    try {
      const page = await fetch(window.location.href, { credentials: "same-origin", cache: "no-store" });
      if (page.redirected) {
        window.location.reload();
        return;
      }
      const text = await page.text();
      const answer = new DOMParser().parseFromString(text, "text/html");
      if (page.ok && !answer.getElementById("progress-card")) {
        window.location.reload();
        return;
      }
      if (!page.ok && answer.getElementById("start") && page.status !== 503) {
        window.location.reload();
        return;
      }
    } catch {
      // Still out of reach; the stream below fails as well and asks again later.
    }
    this.open();
  }
}

export function attachProgress(): void {
  const data = find(HTMLScriptElement, "#progress-source");
  const bar = document.getElementById("progress-bar");
  if (!data || !bar) return;
  const parsed = JSON.parse(data.textContent ?? "{}") as { EventSource?: string };
  if (parsed.EventSource === undefined) return;
  const url = parsed.EventSource;
  const page = new ProgressPage(url, bar);
  page.open();
  window.addEventListener("pagehide", () => page.close());

  const stop = find(HTMLButtonElement, "#stop-server-btn");
  stop?.addEventListener("click", () => {
    const path = new URL(url, window.location.href).pathname.replace(/\/progress$/, "");
    const start = new URL(`${hub.base_url}api/`, window.location.href).pathname;
    if (!path.startsWith(start)) return;
    stop.disabled = true;
    const status = document.getElementById("stop-server-status");
    if (status) status.textContent = t("Stopping the server…");
    stopServer(path.slice(start.length)).catch((error: unknown) => {
      stop.disabled = false;
      if (status) status.textContent = "";
      tellError(error);
    });
  });
}
