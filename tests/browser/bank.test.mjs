// The bank's page: accounts, transfers and refusals by form, and the JSON routes beside it.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Demo, launch, newPage, screenshot, screenshotDark } from "./browser.mjs";

let demo, browser, page;

before(async () => {
  demo = await new Demo("bank").start();
  browser = await launch();
  page = await newPage(browser, demo, { javaScriptEnabled: false });
});
after(async () => {
  await browser?.close();
  await demo?.remove();
});

const form = (name) => page.getByRole("form", { name });
const money = (text) => text.replaceAll("\u202f", " ");
const balances = async () => (await page.locator("tbody tr").allInnerTexts()).map((line) => money(line).split("\t"));
const total = async () => money(await page.locator("#total").innerText());

async function open(name, balance) {
  await form("Open an account").getByLabel("Name").fill(name);
  await form("Open an account").getByLabel("First balance").fill(balance);
  await form("Open an account").getByRole("button").click();
}

async function transfer(from, to, amount) {
  await form("Transfer").getByLabel("From").fill(from);
  await form("Transfer").getByLabel("To", { exact: true }).fill(to);
  await form("Transfer").getByLabel("Amount").fill(amount);
  await form("Transfer").getByRole("button").click();
}

test("accounts are opened", async () => {
  await page.goto("/fn/view");
  await page.getByText("No account yet.").waitFor();
  await open("ann", "1234567.5");
  await page.getByRole("status").getByText("Opened ann with").waitFor();
  await open("bob", "");
  await page.getByRole("status").getByText("Opened bob with 0.00.").waitFor();
  assert.deepEqual(await balances(), [["ann", "1 234 567.50"], ["bob", "0.00"]]);
  assert.equal(await total(), "1 234 567.50");
  await open("ann", "1");
  await page.getByRole("alert").getByText("There is an account 'ann' already").waitFor();
});

test("a transfer moves money", async () => {
  await page.goto("/fn/view");
  await transfer("ann", "bob", "34 567.50");
  await page.getByRole("status").getByText("from ann to bob.").waitFor();
  assert.deepEqual(await balances(), [["ann", "1 200 000.00"], ["bob", "34 567.50"]]);
  await page.reload(); // repeats nothing
  assert.deepEqual(await balances(), [["ann", "1 200 000.00"], ["bob", "34 567.50"]]);
  assert.equal(await total(), "1 234 567.50");
  assert.deepEqual(await demo.json("balance?account=bob"), { account: "bob", balance: 3456750 });
});

test("a refusal says why, keeps what was typed, and changes nothing", async () => {
  await page.goto("/fn/view");
  for (const [from, to, amount, why] of [
    ["bob", "ann", "34567.51", "Insufficient funds"],
    ["bob", "eve", "1", "No account 'eve'"],
    ["bob", "bob", "1", "Both accounts are the same"],
    ["bob", "ann", "1,50", "An amount is a number like 12 or 12.50"],
    ["bob", "ann", "-3", "An amount is a number like 12 or 12.50"],
    ["bob", "ann", "0", "An amount is a whole number of cents from 1"],
    ["bob", `<script>alert("x")</script>`, "1", `No account '<script>alert("x")</script>'`],
  ]) {
    await transfer(from, to, amount);
    await page.getByRole("alert").getByText(why).waitFor();
    assert.equal(await form("Transfer").getByLabel("Amount").inputValue(), amount);
    assert.equal(await form("Transfer").getByLabel("To", { exact: true }).inputValue(), to);
    if (why === "Insufficient funds") await screenshot(page, "bank-refused");
  }
  assert.equal(await page.locator("script").count(), 0);
  assert.deepEqual(await balances(), [["ann", "1 200 000.00"], ["bob", "34 567.50"]]);
  assert.deepEqual(page.complaints, []);
});

test("a form that is sent twice is carried out once", async () => {
  await page.goto("/fn/view");
  const token = await form("Transfer").locator("input[name=token]").inputValue();
  const fields = { from: "ann", to: "bob", amount: "1000", token };
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => demo.post("view/transfer", fields))), [303, 303, 303]);
  await page.reload();
  assert.deepEqual(await balances(), [["ann", "1 199 000.00"], ["bob", "35 567.50"]]);
  // A token that this server cannot have given, or gave too long ago.
  for (const wrong of ["", "x", token.replace(/^\d+/, "00000000000001"), token.replace(/^\d+/, "99999999999999")]) {
    assert.equal(await demo.post("view/transfer", { ...fields, token: wrong }), 400);
  }
  assert.equal((await demo.json("total")).total, 123456750);
});

test("what it looks like", async () => {
  await page.goto("/fn/view");
  for (const [name, amount] of [["cyd", "250"], ["dan & eve", "80.25"]]) {
    await open(name, amount);
    await page.getByRole("status").waitFor();
  }
  await form("Pay in").getByLabel("Account").fill("cyd");
  await form("Pay in").getByLabel("Amount").fill("19.99");
  await form("Pay in").getByRole("button").click();
  await page.getByRole("status").getByText("Paid 19.99 into cyd.").waitFor();
  await screenshot(page, "bank");
  await screenshotDark(page, "bank-dark");
  await page.setViewportSize({ width: 360, height: 700 });
  await screenshot(page, "bank-phone");
});
