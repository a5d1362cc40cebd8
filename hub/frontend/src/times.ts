/** Dates told as distance from now, with the exact local time as a tooltip. */
import { fromNow, parseDate } from "./distance.ts";
import { findAll } from "./page.ts";
import { language } from "./words.ts";

/** `<time datetime>` for a date, filled in at once and kept up to date. */
export function timeElement(iso: string): HTMLTimeElement {
  const element = document.createElement("time");
  element.dateTime = iso;
  element.textContent = iso;
  refresh(element);
  return element;
}

function refresh(element: HTMLTimeElement): void {
  const date = parseDate(element.dateTime);
  if (!date) return;
  element.textContent = fromNow(date, new Date(), language);
  element.title = date.toLocaleString(language);
}

export function attachTimes(): void {
  // Site templates may hold bare dates in cells of this class.
  for (const cell of findAll(HTMLElement, ".time-col")) {
    const text = cell.textContent ?? "";
    if (cell.children.length === 0 && parseDate(text)) cell.replaceChildren(timeElement(text.trim()));
  }
  const all = (): void => findAll(HTMLTimeElement, "time[datetime]").forEach(refresh);
  all();
  window.setInterval(all, 30_000);
}
