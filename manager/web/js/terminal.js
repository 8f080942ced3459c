// A terminal in a container, in a document of its own: its library makes <style> elements, which no other page may.
// What a program writes can set no title and no clipboard, and makes no links.
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { send } from "./api.js";
import { applyTheme } from "./theme.js";
import { begin, protocols } from "./session.js";

const SHELL = ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh"];
const UNREAD_BYTES = 256 * 1024;
const PASTED_LINES = /[\r\n]/;

const query = new URLSearchParams(location.search);
const said = /** @type {HTMLElement} */ (document.getElementById("said"));
const place = /** @type {HTMLElement} */ (document.getElementById("terminal"));

/** @param {string} text */
function say(text) {
  said.textContent = text;
}

function newTerminal() {
  const terminal = new Terminal({
    cursorBlink: true,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
    fontSize: 13,
    scrollback: 5000,
    screenReaderMode: true,
    theme: { background: "#0c0f11", foreground: "#e4e8ec" },
    linkHandler: { activate: () => undefined, allowNonHttpProtocols: false },
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(place);
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe(place);
  return terminal;
}

/** Make the program; its id. @param {string} container */
async function newExec(container) {
  const body = { AttachStdin: true, AttachStdout: true, AttachStderr: true, Tty: true, Cmd: SHELL, Env: ["TERM=xterm-256color"] };
  return (await send("POST", `/containers/${encodeURIComponent(container)}/exec`, { body })).Id;
}

/** Connect the terminal with the program until it ends. @param {Terminal} terminal @param {string} exec */
function connect(terminal, exec) {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/exec/${exec}/ws`, protocols());
  socket.binaryType = "arraybuffer";
  const encoder = new TextEncoder();
  const type = (/** @type {string} */ text) => socket.readyState === WebSocket.OPEN && socket.send(encoder.encode(text));
  const resize = () => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify({ resize: [terminal.cols, terminal.rows] }));
  socket.addEventListener("open", () => {
    say("");
    resize();
    terminal.focus();
  });
  let unread = 0;
  socket.addEventListener("message", ({ data }) => {
    unread += data.byteLength;
    terminal.write(new Uint8Array(data), () => {
      unread -= data.byteLength;
    });
    if (unread > UNREAD_BYTES) say("It writes faster than can be shown here.");
  });
  socket.addEventListener("close", ({ code, reason }) => {
    terminal.options.cursorBlink = false;
    say(code === 1000 ? "The shell has ended." : `The terminal has ended${reason ? `: ${reason}` : ""}.`);
  });
  terminal.onData(type);
  terminal.onResize(resize);
}

/** Text of several lines runs commands at once: ask first. @param {ClipboardEvent} event */
function askBeforeLines(event) {
  const text = event.clipboardData?.getData("text") ?? "";
  if (!PASTED_LINES.test(text.trim())) return;
  if (!confirm(`Paste ${text.trim().split(/\r\n|\r|\n/).length} lines? Each is run as it comes.`)) {
    event.preventDefault();
    event.stopPropagation();
  }
}

async function main() {
  applyTheme();
  const container = query.get("container") ?? "";
  say("Connecting …");
  const refusal = await begin();
  if (refusal) return say(refusal);
  place.addEventListener("paste", askBeforeLines, { capture: true });
  try {
    const terminal = newTerminal();
    connect(terminal, await newExec(container));
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
  }
}

main();
