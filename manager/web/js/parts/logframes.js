// Docker's log streams: frames of a stream's number and a length, or of a terminal plain text. A line is never kept
// longer than it is shown.

const HEAD = 8;
const LONGEST = 64 * 1024;
const STREAMS = ["stdin", "stdout", "stderr"];

/** Yield the lines of an answer. @param {Response} answer @returns {AsyncGenerator<{stream: string, text: string}>} */
export async function* frames(answer) {
  const isRaw = (answer.headers.get("Content-Type") ?? "").includes("raw-stream");
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  const lines = { stdin: new Lines(), stdout: new Lines(), stderr: new Lines() };
  let rest = new Uint8Array();
  let [stream, left] = ["stdout", 0];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    let data = rest.length ? joined(rest, value) : value;
    rest = new Uint8Array();
    while (data.length) {
      if (!isRaw && !left) {
        if (data.length < HEAD) {
          rest = data.slice();
          break;
        }
        stream = STREAMS[data[0]] ?? "stdout";
        left = new DataView(data.buffer, data.byteOffset).getUint32(4);
        data = data.subarray(HEAD);
        continue;
      }
      const part = isRaw ? data : data.subarray(0, left);
      left -= isRaw ? 0 : part.length;
      data = data.subarray(part.length);
      for (const text of lines[/** @type {keyof typeof lines} */ (stream)].feed(part)) yield { stream, text };
    }
  }
  for (const [name, each] of Object.entries(lines)) if (each.text) yield { stream: name, text: each.text };
}

/** Makes lines of bytes. */
class Lines {
  constructor() {
    this.decoder = new TextDecoder();
    this.text = "";
    this.cut = 0;
  }

  /** @param {Uint8Array} data */
  *feed(data) {
    const parts = this.decoder.decode(data, { stream: true }).split("\n");
    const rest = parts.pop() ?? "";
    for (const part of parts) {
      this.add(part);
      yield this.text.replace(/\r$/, "") + (this.cut ? ` … ${this.cut} more characters` : "");
      this.text = "";
      this.cut = 0;
    }
    this.add(rest);
  }

  /** @param {string} part */
  add(part) {
    const room = LONGEST - this.text.length;
    this.text += part.slice(0, room);
    this.cut += Math.max(0, part.length - room);
  }
}

/** @param {Uint8Array} one @param {Uint8Array} other */
function joined(one, other) {
  const all = new Uint8Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all;
}
