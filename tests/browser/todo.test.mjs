// The to-do list as people use it: by mouse, by keyboard, without JavaScript, in two tabs, across a crash.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Demo, launch, newPage, screenshot, screenshotDark, watched } from "./browser.mjs";

let demo, browser, page;

before(async () => {
  demo = await new Demo("todo").start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await demo?.remove();
});
// Every test begins with an empty list and a page of its own.
beforeEach(async () => {
  for (const { id } of await demo.json("items")) assert.equal(await demo.post("delete", { id }), 303);
  page = await newPage(browser, demo);
});

const texts = (where = page) => where.locator("#list .text").allTextContents();
const row = (text, where = page) => where.locator("#list > li").filter({ hasText: text });
const counted = (text, where = page) => where.locator(".lead", { hasText: text }).waitFor();
const add = async (text, where = page) => {
  await where.getByLabel("What is to be done?").fill(text);
  await where.getByRole("button", { name: "Add" }).click();
};

// The whole life of a list; the same with and without JavaScript.
async function useTheList(page) {
  await page.goto("/fn/view");
  await page.getByText("Nothing here yet.").waitFor();
  for (const text of ["Milk", "Bread", "Stamps"]) await add(text, page);
  await counted("3 open, 0 done", page);
  assert.deepEqual(await texts(page), ["Milk", "Bread", "Stamps"]);

  await page.getByRole("button", { name: "Tick Bread" }).click();
  await counted("2 open, 1 done", page);
  assert.equal(await row("Bread", page).getAttribute("class"), "done");

  await page.getByRole("link", { name: /^Open/ }).click();
  await page.waitForURL("**/fn/view?show=open");
  assert.deepEqual(await texts(page), ["Milk", "Stamps"]);
  await add("Tea", page);
  await page.waitForURL("**/fn/view?show=open"); // the filter stays
  assert.deepEqual(await texts(page), ["Milk", "Stamps", "Tea"]);
  await page.getByRole("link", { name: /^Done/ }).click();
  await page.waitForURL("**/fn/view?show=done");
  assert.deepEqual(await texts(page), ["Bread"]);
  await page.getByRole("button", { name: "Untick Bread" }).click();
  await page.getByText("Nothing is done yet.").waitFor();

  await page.getByRole("link", { name: /^All/ }).click();
  await page.getByRole("link", { name: "Edit Milk" }).click();
  await page.getByLabel("Text of the item").fill("Oat milk");
  await page.getByRole("button", { name: "Save" }).click();
  await row("Oat milk", page).waitFor();
  assert.deepEqual(await texts(page), ["Oat milk", "Bread", "Stamps", "Tea"]);

  await page.getByRole("button", { name: "Delete Stamps" }).click();
  await counted("3 open, 0 done", page);
  await page.getByRole("button", { name: "Tick Tea" }).click();
  await page.getByRole("button", { name: "Clear 1 done" }).click();
  await counted("2 open, 0 done", page);
  assert.deepEqual(await texts(page), ["Oat milk", "Bread"]);
  assert.deepEqual(page.complaints, []);
}

test("add, tick, filter, untick, edit, delete, clear", () => useTheList(page));

test("all of it without JavaScript", async () => {
  await useTheList(await newPage(browser, demo, { javaScriptEnabled: false }));
});

test("what looks like HTML is text", async () => {
  const nasty = `<script>alert("x")</script><b>&amp;"'`;
  await page.goto("/fn/view");
  await add(nasty);
  await counted("1 open", page);
  assert.deepEqual(await texts(), [nasty]);
  await page.getByRole("link", { name: "Edit" }).click();
  assert.equal(await page.getByLabel("Text of the item").inputValue(), nasty);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Delete" }).waitFor();
  assert.deepEqual(await texts(), [nasty]);
  assert.equal(await page.locator("script").count(), 0);
  assert.deepEqual(page.complaints, []);
});

test("the keyboard is enough", async () => {
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.id);
  // An autofocus comes with the first picture of a page, a moment after the page.
  const inputFocused = (id) => page.waitForFunction((name) => document.activeElement.id === name, id);
  // Tab to what has this name; it must come within a few presses.
  const tabTo = async (name) => {
    for (let i = 0; i < 12; i++) {
      await press("Tab");
      if (await focused() === name) return;
    }
    assert.fail(`no Tab leads to ${name}`);
  };
  await page.goto("/fn/view");
  for (const [i, text] of ["Milk", "Bread"].entries()) {
    await inputFocused("text"); // ready to type, each time
    await page.keyboard.type(text);
    await press("Enter");
    await counted(`${i + 1} open`, page);
  }
  await tabTo("Tick Milk");
  await page.waitForLoadState("load"); // the style sheet too
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid");
  await press("Space");
  await counted("1 open, 1 done", page);
  // The place that the address names is found with the first pictures of the page.
  await page.waitForLoadState("load");
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await press("Tab"); // goes on where the reader was
  assert.equal(await focused(), "Untick Milk");
  await tabTo("Edit Bread");
  await press("Enter");
  await page.getByLabel("Text of the item").waitFor();
  await inputFocused("edit");
  await press("End");
  await page.keyboard.type(" and butter");
  await press("Enter");
  await row("Bread and butter").waitFor();
  await tabTo("Delete Bread and butter");
  await press("Enter");
  await counted("0 open, 1 done", page);
  await tabTo("Clear 1 done");
  await press("Enter");
  await page.getByText("Nothing here yet.").waitFor();
  await inputFocused("text");
});

test("an empty or overlong text is refused, and kept", async () => {
  await page.goto("/fn/view");
  await page.getByRole("button", { name: "Add" }).click(); // the browser itself asks for a text
  assert.equal(new URL(page.url()).pathname, "/fn/view");
  await add("   ");
  await page.getByRole("alert").getByText("Please write something first").waitFor();
  await add("é".repeat(201));
  await page.getByRole("alert").getByText("That is 201 characters long; an item has at most 200.").waitFor();
  const input = page.getByLabel("What is to be done?");
  assert.equal(await input.inputValue(), "é".repeat(201));
  await page.waitForFunction(() => document.activeElement.id === "text");
  await screenshot(page, "todo-refused");
  await add("é".repeat(200));
  await counted("1 open", page);

  await page.getByRole("link", { name: "Edit" }).click();
  await page.getByLabel("Text of the item").fill(" ");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").getByText("Please write something first").waitFor();
  await page.getByRole("link", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Delete" }).waitFor();
  assert.deepEqual(await texts(), ["é".repeat(200)]);
});

test("a form that is sent twice adds once", async () => {
  await page.goto("/fn/view");
  const token = await page.locator("input[name=token]").first().inputValue();
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => demo.post("add", { text: "Milk", token }))), [303, 303, 303]);
  await page.getByLabel("What is to be done?").fill("Milk");
  await page.getByRole("button", { name: "Add" }).click();
  await counted("1 open", page);
  await add("Milk"); // a new page, a new wish
  await counted("2 open", page);
  await page.reload(); // repeats nothing
  assert.deepEqual(await texts(), ["Milk", "Milk"]);
});

test("two tabs at once", async () => {
  await page.goto("/fn/view");
  for (const text of ["Milk", "Bread", "Tea"]) await add(text);
  await counted("3 open", page);
  const other = watched(await page.context().newPage(), demo);
  await other.goto("/fn/view");
  await other.getByRole("link", { name: "Edit Milk" }).click();

  await page.getByRole("button", { name: "Delete Milk" }).click();
  await counted("2 open", page);
  await page.getByRole("button", { name: "Tick Tea" }).click();
  await counted("1 open, 1 done", page);

  // The other tab still shows what was: an edit of what is gone loses nothing that was typed.
  await other.getByLabel("Text of the item").fill("Oat milk");
  await other.getByRole("button", { name: "Save" }).click();
  await other.getByRole("alert").getByText("was deleted in the meantime").waitFor();
  assert.equal(await other.getByLabel("What is to be done?").inputValue(), "Oat milk");

  await other.goto("/fn/view");
  await page.getByRole("button", { name: "Delete Bread" }).click();
  await counted("0 open, 1 done", page);
  await other.getByRole("button", { name: "Delete Bread" }).click(); // gone already: as wished
  await counted("0 open, 1 done", other);
  await page.goto("/fn/view");
  await other.getByRole("button", { name: "Delete Tea" }).click();
  await other.getByText("Nothing here yet.").waitFor();
  await page.getByRole("button", { name: "Untick Tea" }).click();
  await page.getByRole("alert").getByText("was deleted in the meantime").waitFor();
  assert.deepEqual([...page.complaints, ...other.complaints], []);

  // Both at the same moment: nothing is lost.
  await Promise.all([page.goto("/fn/view"), other.goto("/fn/view")]);
  await Promise.all([add("here", page), add("there", other)]);
  await Promise.all([page.goto("/fn/view"), other.goto("/fn/view")]);
  assert.deepEqual((await texts(page)).sort(), ["here", "there"]);
});

test("the list is there after kill -9", async () => {
  await page.goto("/fn/view");
  for (const text of ["Milk", "Bread"]) await add(text);
  await counted("2 open", page);
  await page.getByRole("button", { name: "Tick Bread" }).click();
  await counted("1 open, 1 done", page);
  await demo.killAndRestart();
  await page.reload();
  assert.deepEqual(await texts(), ["Milk", "Bread"]);
  assert.equal(await row("Bread").getAttribute("class"), "done");
  await add("Tea"); // and the page goes on being used
  await counted("2 open, 1 done", page);
});

test("an unknown route is a page", async () => {
  const reply = await page.goto("/fn/nowhere");
  assert.equal(reply.status(), 404);
  assert.match(reply.headers()["content-type"], /^text\/html/);
  assert.match(await page.locator("body").innerText(), /404/);
  await screenshot(page, "error");
});

test("what it looks like", async () => {
  for (const text of ["Water the tomatoes", "Call Ann about Saturday", "Return the library books before they ask again: " +
    "two novels, and the atlas that does not fit on any shelf", "Repair the back wheel"]) {
    assert.equal(await demo.post("add", { text }), 303);
  }
  for (const { id, text } of await demo.json("items")) {
    if (/Ann|wheel/.test(text)) assert.equal(await demo.post("tick", { id }), 303);
  }
  await page.goto("/fn/view");
  await screenshot(page, "todo");
  await screenshotDark(page, "todo-dark");
  await page.getByRole("link", { name: "Edit Water" }).click();
  await page.setViewportSize({ width: 360, height: 700 });
  await screenshot(page, "todo-phone");
  const wider = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
  assert.equal(wider, false);
});
