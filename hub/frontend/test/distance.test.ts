import assert from "node:assert/strict";
import { test } from "node:test";
import { fromNow, parseDate } from "../src/distance.ts";

const now = new Date("2026-11-20T12:00:00Z");
const after = (seconds: number): string => fromNow(new Date(now.getTime() + seconds * 1000), now);

test("distances are told in the words of the usual libraries", () => {
  const minute = 60;
  const hour = 60 * minute;
  const day = 24 * hour;
  for (const [seconds, words] of [
    [-5, "a few seconds ago"],
    [-60, "a minute ago"],
    [-10 * minute, "10 minutes ago"],
    [hour - 1, "in an hour"],
    [hour, "in an hour"],
    [-5 * hour, "5 hours ago"],
    [day - 1, "in a day"],
    [7 * day - 1, "in 7 days"],
    [-40 * day, "a month ago"],
    [-150 * day, "5 months ago"],
    [365 * day, "in a year"],
    [-3 * 365 * day, "3 years ago"],
  ] as const) {
    assert.equal(after(seconds), words, `${seconds} s`);
  }
});

test("a date without a zone is UTC", () => {
  assert.equal(parseDate("2026-11-20T12:00:00")?.getTime(), now.getTime());
  assert.equal(parseDate(" 2026-11-20T12:00:00.000000Z ")?.getTime(), now.getTime());
  assert.equal(parseDate("2026-11-20T13:00:00+01:00")?.getTime(), now.getTime());
});

test("what is not a date is none", () => {
  assert.equal(parseDate("Never"), undefined);
  assert.equal(parseDate("2026-99-99"), undefined);
});
