/**
 * Texts in the language of the page. Scripts are written in English; a page in another language brings the texts that
 * scripts use as JSON in `#page-words`, by their English form.
 */
import { fill, type Values } from "./fill.ts";

function read(): Record<string, string> {
  const text = document.getElementById("page-words")?.textContent;
  return text ? (JSON.parse(text) as Record<string, string>) : {};
}

const words = read();

/** Language of the page, as a BCP 47 tag. */
export const language: string = document.documentElement.lang || "en";

/** The text in the page's language, with `{name}` replaced by values. What is not translated stays English. */
export function t(english: string, values: Values = {}): string {
  return fill(words[english] ?? english, values);
}
