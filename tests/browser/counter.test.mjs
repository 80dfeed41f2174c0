// The counter, as a browser shows it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Demo, launch, newPage, screenshot } from "./browser.mjs";

let demo, browser;

before(async () => {
  demo = await new Demo("counter").start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await demo?.remove();
});

test("each visit counts, each page by itself, also across kill -9", async () => {
  const page = await newPage(browser, demo);
  const visits = async (query = "") => (await (await page.goto(`/fn/visit${query}`)).json()).visits;
  assert.deepEqual([await visits(), await visits(), await visits("?page=news")], [1, 2, 1]);
  await demo.killAndRestart();
  assert.deepEqual([await visits(), await visits("?page=news")], [3, 2]);
  await screenshot(page, "counter");
});
