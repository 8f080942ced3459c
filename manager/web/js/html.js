// Templates without a compiler: html`<p>${text}</p>` makes preact's nodes. Text is always a text node.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
