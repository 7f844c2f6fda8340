import assert from "node:assert/strict";
import test from "node:test";
globalThis.ResizeObserver = class { observe() {} };
const {more, under} = await import("../src/view/scrolls.js");

test("a box has more to the right until it is scrolled there", () => {
  assert.equal(more({scrollWidth: 900, clientWidth: 400, scrollLeft: 0}), true);
  assert.equal(more({scrollWidth: 900, clientWidth: 400, scrollLeft: 499}), false);
  assert.equal(more({scrollWidth: 400, clientWidth: 400, scrollLeft: 0}), false);
});

test("headings stand below the bar, and never below the last row", () => {
  assert.equal(under(300, 500, 90), 0);
  assert.equal(under(-60, 500, 90), 150);
  assert.equal(under(-480, 500, 90, 30), 430);
  assert.equal(under(-480, 60, 90, 30), 0);
});
