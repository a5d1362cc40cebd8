/** Dates told as distance from now, with the exact local time as a tooltip. */
import { findAll } from "./page.ts";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function amount(seconds: number): string {
  const minutes = Math.round(seconds / MINUTE);
  const hours = Math.round(seconds / HOUR);
  const days = Math.round(seconds / DAY);
  if (seconds < 45) return "a few seconds";
  if (minutes <= 1) return "a minute";
  if (minutes < 45) return `${minutes} minutes`;
  if (hours <= 1) return "an hour";
  if (hours < 22) return `${hours} hours`;
  if (days <= 1) return "a day";
  if (days < 26) return `${days} days`;
  const months = Math.max(1, Math.round(days / 30.4));
  if (months === 1) return "a month";
  if (days < 320) return `${months} months`;
  const years = Math.max(1, Math.round(days / 365));
  return years === 1 ? "a year" : `${years} years`;
}

export function fromNow(date: Date, now: Date = new Date()): string {
  const seconds = (date.getTime() - now.getTime()) / 1000;
  const text = amount(Math.abs(seconds));
  return seconds > 0 ? `in ${text}` : `${text} ago`;
}

/** Adds zone-less dates as UTC: that is how the hub keeps them. */
function parse(text: string): Date | undefined {
  const trimmed = text.trim();
  if (!/^\d{4}-\d\d-\d\d/.test(trimmed)) return undefined;
  const date = new Date(/[zZ]$|[+-]\d\d:?\d\d$/.test(trimmed) ? trimmed : `${trimmed}Z`);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** `<time datetime>` for a date, filled in at once and kept up to date. */
export function timeElement(iso: string): HTMLTimeElement {
  const element = document.createElement("time");
  element.dateTime = iso;
  element.textContent = iso;
  refresh(element);
  return element;
}

function refresh(element: HTMLTimeElement): void {
  const date = parse(element.dateTime);
  if (!date) return;
  element.textContent = fromNow(date);
  element.title = date.toLocaleString();
}

export function attachTimes(): void {
  // Site templates may hold bare dates in cells of this class.
  for (const cell of findAll(HTMLElement, ".time-col")) {
    const text = cell.textContent ?? "";
    if (cell.children.length === 0 && parse(text)) cell.replaceChildren(timeElement(text.trim()));
  }
  const all = (): void => findAll(HTMLTimeElement, "time[datetime]").forEach(refresh);
  all();
  window.setInterval(all, 30_000);
}
