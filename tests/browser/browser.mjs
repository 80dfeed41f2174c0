// What the browser tests share: a demo served on a data folder of its own, and headless Chromium.
//
// Tests are run by node's own runner (`node --test`); run.sh sets the environment. A server is ended with
// the process that started it, whatever happens there.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SOURCE = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const OUT = process.env.CONCAVE_BROWSER;
const STEP_MS = 15000; // for each wait for the page; generous, because the machine may be busy

// The module lies in the build folder, where an import from here would not look for it.
const { chromium } = createRequire(join(OUT, "package.json"))("playwright-core");

// One demo under `concave serve`, on a port that the system picks.
export class Demo {
  constructor(name) {
    this.name = name;
    this.folder = mkdtempSync(join(tmpdir(), `demo-${name}-`));
    process.on("exit", () => this.child?.kill("SIGKILL"));
  }

  // Resolves when requests are taken; `port` 0 is any.
  async start(port = 0) {
    this.child = spawn(process.env.CONCAVE_BINARY,
      ["serve", "--app", join(SOURCE, "demos", `${this.name}.lua`), "--data", join(this.folder, "data"),
        "--addr", `127.0.0.1:${port}`, "--shards", "2", "--handler-timeout-ms", "20000"],
      { stdio: ["ignore", "pipe", "inherit"] });
    this.ended = once(this.child, "exit");
    for await (const line of createInterface({ input: this.child.stdout })) {
      const found = /^listening on (http:\/\/127\.0\.0\.1:(\d+))$/.exec(line);
      if (found) [, this.url, this.port] = found;
      if (found) break;
    }
    if (!this.url) throw new Error(`${this.name}: the server ended before it listened`);
    const until = Date.now() + STEP_MS;
    while ((await fetch(`${this.url}/readyz`)).status !== 200) {
      if (Date.now() > until) throw new Error(`${this.name}: not ready within ${STEP_MS} ms`);
      await new Promise((done) => setTimeout(done, 10));
    }
    return this;
  }

  // kill -9, and a start on the same data and port.
  async killAndRestart() {
    this.child.kill("SIGKILL");
    await this.ended;
    await this.start(this.port);
  }

  async remove() {
    this.child.kill("SIGTERM");
    const [code] = await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
    if (code !== 0) throw new Error(`${this.name}: exit code ${code}`);
  }

  // Sends a form as a program would; returns the status.
  async post(route, fields) {
    const reply = await fetch(`${this.url}/fn/${route}`,
      { method: "POST", body: new URLSearchParams(fields), redirect: "manual" });
    return reply.status;
  }

  async json(route) {
    return (await fetch(`${this.url}/fn/${route}`)).json();
  }
}

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CONCAVE_CHROMIUM,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    timeout: 60000,
  });
}

// A fresh browser context with one page. Whatever a page's console or the network complains about, and
// every request that leaves the server, is kept in page.complaints.
export async function newPage(browser, demo, options = {}) {
  const context = await browser.newContext({ baseURL: demo.url, viewport: { width: 900, height: 760 }, ...options });
  context.setDefaultTimeout(STEP_MS);
  return watched(await context.newPage(), demo);
}

export function watched(page, demo) {
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("dialog", (dialog) => {
    page.complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(demo.url)) page.complaints.push(`asks for ${request.url()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 500) page.complaints.push(`${response.status()} ${response.url()}`);
  });
  return page;
}

// Keeps what the page looks like as BUILD/browser/NAME.png.
export async function screenshot(page, name) {
  mkdirSync(OUT, { recursive: true });
  await page.waitForLoadState("load"); // with its style sheet
  await page.screenshot({ path: join(OUT, `${name}.png`), fullPage: true, animations: "disabled" });
}

// The page in the other colours, then as it was.
export async function screenshotDark(page, name) {
  await page.emulateMedia({ colorScheme: "dark" });
  await screenshot(page, name);
  await page.emulateMedia({ colorScheme: "light" });
}
