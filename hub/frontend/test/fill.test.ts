import assert from "node:assert/strict";
import { test } from "node:test";
import { fill } from "../src/fill.ts";

test("values take the place of their names, and what has no value stays", () => {
  assert.equal(fill("{first}-{last} of {total}", { first: 1, last: 50, total: 101 }), "1-50 of 101");
  assert.equal(fill("{name} {other}", { name: "{other}" }), "{other} {other}");
});
