import assert from "node:assert/strict";
import { test } from "node:test";
import { Balance, Member } from "../src/balance.js";

const MEGABYTE = 1 << 20;

function members(count: number): Member<string>[] {
  return Array.from({ length: count }, (_, index) => new Member(`worker ${index}`, index));
}

/** Gives a member a call that stays open until the returned function is called. */
function occupy(member: Member<string> | undefined, bytes: number): () => Promise<void> {
  let end = (): void => {};
  const call = member?.count(bytes, () => new Promise<void>((resolve) => (end = resolve)));
  return async () => {
    end();
    await call;
  };
}

test("the one with the least to do comes first: bytes and requests count", async () => {
  const all = members(3);
  const balance = new Balance(all);
  const order = (): number[] => balance.byLoad().map(({ index }) => index);
  const free = occupy(all[0], 6 * MEGABYTE);
  occupy(all[1], 0);
  assert.deepEqual(order(), [2, 1, 0]);
  occupy(all[2], MEGABYTE);
  assert.deepEqual(order(), [1, 2, 0]);
  await free();
  assert.deepEqual(order(), [0, 1, 2]);
});

test("one that restarts comes last, one that has failed not at all", () => {
  const all = members(3);
  const balance = new Balance(all);
  const [first, second] = all;
  assert.ok(first && second);
  first.serving = false;
  second.failed = true;
  assert.deepEqual(
    balance.byLoad().map(({ index }) => index),
    [2, 0],
  );
  for (const member of all) member.failed = true;
  assert.equal(balance.byLoad().length, 3); // they say why
});

test("cameras are dealt out evenly, and each stays where it is as long as that one lives", () => {
  const all = members(2);
  const balance = new Balance(all);
  const names = ["a", "b", "c", "d"];
  const places = names.map((name) => balance.ofSource(name).index);
  assert.deepEqual(places, [0, 1, 0, 1]);
  occupy(all[0], 100 * MEGABYTE);
  assert.deepEqual(
    names.map((name) => balance.ofSource(name).index),
    places,
  );
  const [first] = all;
  assert.ok(first);
  first.failed = true;
  assert.deepEqual(
    names.map((name) => balance.ofSource(name).index),
    [1, 1, 1, 1],
  );
});

test("frames that live in workers that go on stay where they are when one fails", () => {
  const all = members(3);
  const balance = new Balance(all);
  const place = (frameId: number): number => balance.ofFrame(frameId).index;
  assert.deepEqual([0, 1, 2, 3, 4294967295].map(place), [0, 1, 2, 0, 0]);
  const [first] = all;
  assert.ok(first);
  first.failed = true;
  assert.deepEqual([0, 1, 2, 3].map(place), [1, 1, 2, 1]);
});
