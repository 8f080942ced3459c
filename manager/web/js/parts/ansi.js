// Colours of a log's text (ECMA-48 SGR); every other escape sequence is left out. What comes of it is text, never markup.

// CSI with parameters; OSC up to its end (it would set titles, clipboards, links); what other escapes there are.
const ESCAPE = /\x1b(?:\[([0-?]*)([ -/]*[@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\|$)|[PX^_][^\x1b]*(?:\x1b\\|$)|[ -/]*[0-~]?)/g;
// What else would act on a terminal, but the tab.
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/** @typedef {{text: string, classes: string}} Piece */

/** Cut a line into pieces of one look each. @param {string} line @returns {Piece[]} */
export function pieces(line) {
  /** @type {Piece[]} */
  const found = [];
  let [look, from] = [new Map(), 0];
  for (const match of line.matchAll(ESCAPE)) {
    add(found, line.slice(from, match.index), look);
    from = match.index + match[0].length;
    if (match[2] === "m" && !/[<=>?]/.test(match[1])) look = changed(look, match[1]);
  }
  add(found, line.slice(from), look);
  return found;
}

/** @param {Piece[]} found @param {string} text @param {Map<string, string>} look */
function add(found, text, look) {
  const clean = text.replace(CONTROL, "");
  if (clean) found.push({ text: clean, classes: [...look.values()].join(" ") });
}

/** @param {Map<string, string>} look @param {string} parameters */
function changed(look, parameters) {
  const next = new Map(look);
  const codes = parameters.split(/[;:]/).map(Number);
  for (let n = 0; n < codes.length; n++) {
    const code = codes[n];
    if (code === 0) next.clear();
    else if (code === 1) next.set("weight", "ansi-bold");
    else if (code === 2) next.set("weight", "ansi-faint");
    else if (code === 22) next.delete("weight");
    else if (code === 4) next.set("line", "ansi-underline");
    else if (code === 24) next.delete("line");
    else if (code === 38 || code === 48) n += codes[n + 1] === 5 ? 2 : 4; // 256 colours and more: shown as plain text
    else if (code === 39) next.delete("colour");
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) next.set("colour", `ansi-${code % 10}`);
  }
  return next;
}
