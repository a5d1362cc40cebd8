/**
 * Texts in the language of the page. Scripts are written in English; a page in another language loads the texts that
 * scripts use, by their English form, from `js/words-LANGUAGE.js` first.
 */
import { fill, type Values } from "./fill.ts";

declare global {
  interface Window {
    jhwords?: Record<string, string>;
  }
}

const words: Record<string, string> = window.jhwords ?? {};

/** Language of the page, as a BCP 47 tag. */
export const language: string = document.documentElement.lang || "en";

/** The text in the page's language, with `{name}` replaced by values. What is not translated stays English. */
export function t(english: string, values: Values = {}): string {
  return fill(translated(english), values);
}

/** The same for a text that was made elsewhere. */
export function translated(english: string): string {
  return Object.hasOwn(words, english) ? (words[english] ?? english) : english;
}
