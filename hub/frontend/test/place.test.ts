import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePlace, partOf, placeText } from "../src/admin/place.ts";

test("a place is read from what follows the hash, as JupyterHub's admin page writes it", () => {
  const place = parsePlace("#/groups?offset=50&limit=25", "?sort=name");
  assert.equal(place.path, "/groups");
  assert.deepEqual(partOf(place.query, 50), { offset: 50, limit: 25 });
  assert.equal(placeText(place), "#/groups?offset=50&limit=25");
});

test("arguments of the page itself count where the hash has none", () => {
  const place = parsePlace("", "?sort=last_activity");
  assert.deepEqual([place.path, place.query.get("sort")], ["/", "last_activity"]);
  assert.equal(parsePlace("#/?sort=-name", "?sort=name").query.get("sort"), "-name");
  assert.equal(parsePlace("#garbage", "").path, "/");
});

test("nonsense in the address means the usual part of a list", () => {
  const part = (text: string) => partOf(new URLSearchParams(text), 50);
  assert.deepEqual(part("offset=x&limit=-3"), { offset: 0, limit: 50 });
  assert.deepEqual(part("limit=0"), { offset: 0, limit: 50 });
  assert.deepEqual(part("limit=100000"), { offset: 0, limit: 200 });
});

test("names survive the way through an address", () => {
  const name = "a&b=c d#é/%";
  const text = placeText({ path: "/edit-user", query: new URLSearchParams({ name }) });
  assert.equal(parsePlace(text, "").query.get("name"), name);
});
