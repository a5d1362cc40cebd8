import assert from "node:assert/strict";
import { test } from "node:test";
import { Rights } from "../src/admin/rights.ts";

test("a scope without a filter is for everything, one that is missing for nothing", () => {
  const rights = new Rights(["shutdown", "servers"], true);
  assert.equal(rights.may("shutdown"), true);
  assert.equal(rights.may("servers", { user: "ada", server: "" }), true);
  assert.equal(rights.may("admin:users", { user: "ada" }), false);
  assert.equal(rights.mayAny("admin:users"), false);
});

test("filters name users, groups and servers", () => {
  const rights = new Rights(
    ["servers!user=ada", "servers!server=bob/gpu", "servers!server=eve/", "delete:users!group=maths"],
    false,
  );
  assert.equal(rights.may("servers", { user: "ada", server: "any" }), true);
  assert.equal(rights.may("servers", { user: "bob", server: "gpu" }), true);
  assert.equal(rights.may("servers", { user: "bob", server: "" }), false);
  assert.equal(rights.may("servers", { user: "eve", server: "" }), true);
  assert.equal(rights.may("servers"), false);
  assert.equal(rights.mayAny("servers"), true);
  assert.equal(rights.may("delete:users", { user: "ada", groups: ["maths"] }), true);
  assert.equal(rights.may("delete:users", { user: "ada", groups: [] }), false);
});

test("a membership that cannot be seen is left to the hub", () => {
  const rights = new Rights(["delete:users!group=maths"], false);
  assert.equal(rights.may("delete:users", { user: "ada", groups: undefined }), true);
});

test("a scope without filter is not narrowed by the same with one", () => {
  for (const scopes of [["groups", "groups!group=a"], ["groups!group=a", "groups"]]) {
    assert.equal(new Rights(scopes, false).may("groups", { group: "b" }), true);
  }
  assert.equal(new Rights(["groups!group=a=b"], false).may("groups", { group: "a=b" }), true);
});
