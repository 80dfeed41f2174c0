// The guestbook's pages, forwards and back, and what a guest may write.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Demo, launch, newPage, screenshot, screenshotDark } from "./browser.mjs";

let demo, browser, page;

before(async () => {
  demo = await new Demo("guestbook").start();
  browser = await launch();
  page = await newPage(browser, demo);
});
after(async () => {
  await browser?.close();
  await demo?.remove();
});

// As they are in the page; how they look depends on the style sheet, which may come later.
const texts = () => page.locator("article p").allTextContents();
const numbered = (from, to) => Array.from({ length: from - to + 1 }, (_, i) => `entry ${from - i}`);

async function sign(name, text) {
  await page.getByLabel("Your name").fill(name);
  await page.getByLabel("What you want to say").fill(text);
  await page.getByRole("button", { name: "Sign" }).click();
}

test("an entry is signed, shown with its time, and escaped", async () => {
  await page.goto("/fn/view");
  await page.getByText("Nobody has written yet.").waitFor();
  await sign(`<script>alert("x")</script>`, `<b>bold</b> & "quoted"\nsecond line`);
  await page.getByText("1 entry, newest first").waitFor();
  assert.deepEqual(await page.locator("article h2").allTextContents(), [`<script>alert("x")</script>`]);
  assert.deepEqual(await texts(), [`<b>bold</b> & "quoted"\nsecond line`]);
  await page.waitForLoadState("load");
  const shown = await page.locator("article p").innerText();
  assert.equal(shown.split("\n").length, 2); // the line end is one on the screen too
  const time = page.locator("article time");
  assert.match(await time.innerText(), /^\d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d UTC$/);
  const age = Date.now() - Date.parse(await time.getAttribute("datetime"));
  assert.ok(age > -2000 && age < 600000, `written ${age} ms ago`);
  assert.deepEqual(page.complaints, []);
});

test("what cannot be taken is refused, and kept", async () => {
  await page.goto("/fn/view");
  await sign("Ann", "x".repeat(1001));
  await page.getByRole("alert").getByText("The text is 1001 characters long; at most 1000 fit.").waitFor();
  assert.equal(await page.getByLabel("Your name").inputValue(), "Ann");
  assert.equal((await page.getByLabel("What you want to say").inputValue()).length, 1001);
  await sign("  ", "words");
  await page.getByRole("alert").getByText("The name is missing.").waitFor();
  await sign("Ann", " \n ");
  await page.getByRole("alert").getByText("The text is missing.").waitFor();
  assert.equal((await demo.json("entries")).length, 1);
});

test("25 entries come in pages of ten, both ways", async () => {
  for (let i = 2; i <= 25; i++) assert.equal(await demo.post("sign", { name: `Guest ${i}`, text: `entry ${i}` }), 303);
  assert.equal(await demo.post("sign", { name: "Guest 25", text: "entry 25" }), 303); // the same again
  await page.goto("/fn/view");
  await page.getByText("25 entries, newest first").waitFor();
  assert.deepEqual(await texts(), numbered(25, 16));
  assert.equal(await page.getByRole("link", { name: "Newer" }).count(), 0);
  await page.getByRole("link", { name: "Older" }).click();
  await page.getByText("entry 15").waitFor();
  assert.deepEqual(await texts(), numbered(15, 6));

  // Somebody signs meanwhile: nothing shifts.
  assert.equal(await demo.post("sign", { name: "Guest 26", text: "entry 26" }), 303);
  await page.getByRole("link", { name: "Older" }).click();
  await page.locator("article").getByText("entry 5", { exact: true }).waitFor();
  assert.deepEqual((await texts()).slice(0, 4), numbered(5, 2));
  assert.equal((await texts()).length, 5);
  assert.equal(await page.getByRole("link", { name: "Older" }).count(), 0);

  await page.getByRole("link", { name: "Newer" }).click();
  await page.getByText("entry 15").waitFor();
  assert.deepEqual(await texts(), numbered(15, 6));
  await page.getByRole("link", { name: "Newer" }).click();
  await page.getByText("entry 25").waitFor();
  assert.deepEqual(await texts(), numbered(25, 16));
  await page.getByRole("link", { name: "Newer" }).click();
  await page.getByText("entry 26").waitFor();
  assert.deepEqual(await texts(), numbered(26, 26));
});

test("a limit is within bounds, odd parameters are passed over", async () => {
  const numbers = async (query) => (await demo.json(`entries${query}`)).map((entry) => entry.number);
  assert.deepEqual(await numbers("?limit=3"), [26, 25, 24]);
  assert.deepEqual(await numbers("?limit=3&before=24"), [23, 22, 21]);
  assert.deepEqual(await numbers("?limit=3&after=23"), [26, 25, 24]);
  assert.deepEqual(await numbers("?limit=3&after=10"), [13, 12, 11]);
  assert.equal((await numbers("?limit=0")).length, 1);
  assert.equal((await numbers("?limit=999999")).length, 26);
  assert.equal((await numbers("?limit=x&before=y&after=-1")).length, 10);
  assert.deepEqual(await numbers("?after=999999999999"), []);
});

test("what it looks like", async () => {
  for (const [name, text] of [
    ["Maja", "We stayed for one night and ended up staying for four."],
    ["Jonas & Lea", "The path along the river is open again.\n\nTake the left one at the mill."],
    ["Ann", "Thank you for the soup!"],
  ]) assert.equal(await demo.post("sign", { name, text }), 303);
  await page.goto("/fn/view?limit=3");
  await screenshot(page, "guestbook");
  await screenshotDark(page, "guestbook-dark");
  await page.setViewportSize({ width: 360, height: 700 });
  await page.getByRole("link", { name: "Older" }).click();
  await page.getByText("entry 26").waitFor();
  await screenshot(page, "guestbook-phone");
});
