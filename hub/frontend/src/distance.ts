/** Distances between dates in words. */

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

/** In English as JupyterHub's pages say it; other languages say it as the browser does. */
export function fromNow(date: Date, now: Date = new Date(), language = "en"): string {
  const seconds = (date.getTime() - now.getTime()) / 1000;
  if (language !== "en") return inLanguage(seconds, language);
  const text = amount(Math.abs(seconds));
  return seconds > 0 ? `in ${text}` : `${text} ago`;
}

function inLanguage(seconds: number, language: string): string {
  const words = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const units: [Intl.RelativeTimeFormatUnit, number][] = [
    ["year", 365 * DAY],
    ["month", 30.4 * DAY],
    ["day", DAY],
    ["hour", HOUR],
    ["minute", MINUTE],
  ];
  for (const [unit, length] of units) {
    if (Math.abs(seconds) >= length) return words.format(Math.round(seconds / length), unit);
  }
  return words.format(Math.round(seconds), "second");
}

/** A date in ISO 8601; without a zone it is UTC, which is how the hub keeps dates. */
export function parseDate(text: string): Date | undefined {
  const trimmed = text.trim();
  if (!/^\d{4}-\d\d-\d\d/.test(trimmed)) return undefined;
  const date = new Date(/[zZ]$|[+-]\d\d:?\d\d$/.test(trimmed) ? trimmed : `${trimmed}Z`);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
