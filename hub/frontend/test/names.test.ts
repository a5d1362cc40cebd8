import assert from "node:assert/strict";
import { test } from "node:test";
import { displayName, freeSlug, slug } from "../src/names.ts";

test("a display name loses control characters and superfluous space", () => {
  assert.equal(displayName(" <  🐧  >\tÅ=Ⅷ"), "< 🐧 >Å=Ⅷ");
  assert.equal(displayName("  \n "), "");
});

test("a slug keeps ASCII letters and digits and joins them with single dashes", () => {
  assert.equal(slug("< 🐧 >Å=Ⅷ"), "a-viii");
  assert.equal(slug("Données d’Été 2026"), "donnees-d-ete-2026");
  assert.equal(slug("--a__b--"), "a-b");
  assert.equal(slug(""), "");
});

test("a name of which nothing is left still gets a slug", () => {
  assert.equal(slug("🐧"), "s-1f427");
  assert.match(slug("מחשב של דנה"), /^[a-z0-9-]{1,63}$/);
});

test("a slug is at most 63 characters long and does not end with a dash", () => {
  const made = slug(`${"a".repeat(62)} b`);
  assert.equal(made, "a".repeat(62));
});

test("a name that is taken gets a number", () => {
  assert.equal(freeSlug("Lab", new Set(["lab", "lab-2"])), "lab-3");
  assert.equal(freeSlug("Lab", new Set()), "lab");
  const long = "x".repeat(80);
  assert.equal(freeSlug(long, new Set([slug(long)])).length <= 63, true);
});
