import assert from "node:assert/strict";
import { test } from "node:test";
import { SlotTable } from "../src/slotTable.js";
import { withCode } from "./support.js";

test("every slot is leased once, then the table is full", () => {
  const table = new SlotTable(3);
  const indices = [table.tryLease(), table.tryLease(), table.tryLease()].map(({ index }) => index);
  assert.deepEqual(indices.sort(), [0, 1, 2]);
  assert.throws(() => table.tryLease(), withCode("ring_full"));
  assert.equal(table.free, 0);
});

test("who waits gets a slot in the order of the calls", async () => {
  const table = new SlotTable(1);
  const held = table.tryLease();
  const order: string[] = [];
  const waits = ["first", "second", "third"].map(async (name) => {
    const ticket = await table.lease({});
    order.push(name);
    table.retire(ticket);
    table.giveBack(ticket.index);
  });
  table.retire(held);
  table.giveBack(held.index);
  await Promise.all(waits);
  assert.deepEqual(order, ["first", "second", "third"]);
  assert.equal(table.free, 1);
});

test("a wait that is given up takes no slot from the others", async () => {
  const table = new SlotTable(1);
  const held = table.tryLease();
  const left = new AbortController();
  const gone = table.lease({ signal: left.signal });
  const late = table.lease({ timeoutMs: 5 });
  const next = table.lease({});
  left.abort();
  await assert.rejects(gone, withCode("cancelled"));
  await assert.rejects(late, withCode("timed_out"));
  table.retire(held);
  table.giveBack(held.index);
  assert.equal((await next).generation, 1);
});

test("a signal that has aborted already leaves free slots alone", async () => {
  const table = new SlotTable(1);
  await assert.rejects(table.lease({ signal: AbortSignal.abort() }), withCode("cancelled"));
  assert.equal(table.free, 1);
});

test("a handle of an earlier lease is stale", () => {
  const table = new SlotTable(1);
  const old = table.tryLease();
  table.retire(old);
  table.giveBack(old.index);
  const current = table.tryLease();
  assert.throws(() => table.retire(old), withCode("stale_slot"));
  assert.throws(() => table.check(old), withCode("stale_slot"));
  table.check(current);
});

test("close rejects who waits, and waits for what is retired", async () => {
  const table = new SlotTable(1);
  const held = table.tryLease();
  table.retire(held);
  const wait = table.lease({});
  let closed = false;
  const closing = table.close().then(() => {
    closed = true;
  });
  await assert.rejects(wait, withCode("closed"));
  assert.equal(closed, false);
  table.giveBack(held.index);
  await closing;
  await assert.rejects(table.lease({}), withCode("closed"));
  assert.throws(() => table.tryLease(), withCode("closed"));
});
