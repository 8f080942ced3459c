// The key of this tab: the gate's, got for the token in the address, or a token of the shared dashboard, which is a key
// itself. It is kept for this tab, and given to other tabs that ask for it. With a certificate in the browser there is none.

const STORED = "swarm-key";
const CHANNEL = "swarm-key";
const OTHERS_MILLISECONDS = 1500;
const TOKEN = /^[\w-]{43}$/;
const SHARED = /^dash_[0-9a-f]{12}_[\w-]{43}$/;

let key = "";
/** @type {BroadcastChannel | null} */
let channel = null;

/** Find the key of this tab: by the token in its address, or from before, or from another tab. Says why not. */
export async function begin() {
  const token = location.hash.slice(1);
  let refusal = "";
  if (SHARED.test(token) || TOKEN.test(token)) history.replaceState(null, "", location.pathname + location.search);
  if (SHARED.test(token)) key = token;
  else if (TOKEN.test(token)) ({ key, refusal } = await change(token));
  key ||= sessionStorage.getItem(STORED) ?? "";
  channel = new BroadcastChannel(CHANNEL);
  key ||= await askOthers(channel);
  if (key) sessionStorage.setItem(STORED, key);
  channel.addEventListener("message", ({ data }) => {
    if (data?.ask && key) channel?.postMessage({ key });
  });
  return key ? "" : refusal;
}

/** Whether a gate is between this page and the manager: it reads compose files, which the manager does not. */
export function hasGate() {
  return Boolean(key) && !SHARED.test(key);
}

/** Whether tokens of the shared dashboard are what opens this page: a gate is on loopback, and without TLS. */
export function takesTokens() {
  return location.protocol === "https:";
}

/** Come in with a token of the shared dashboard. Says why not. @param {string} token */
export function enter(token) {
  if (!SHARED.test(token)) return "This is not a token of a dashboard: dash_…, as 'swarm-manager dashboard token create' prints it.";
  sessionStorage.setItem(STORED, token);
  location.reload();
  return "";
}

/** @returns {Record<string, string>} */
export function authorization() {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** The protocols of a WebSocket, which are all that a page can say with it. */
export function protocols() {
  return key ? ["swarm.dashboard", `key.${key}`] : ["swarm.dashboard"];
}

/** Forget a key that is worth nothing any more. */
export function forget() {
  key = "";
  sessionStorage.removeItem(STORED);
}

/** @param {string} token */
async function change(token) {
  try {
    const answer = await fetch("/gate/key", { method: "POST", body: JSON.stringify({ token }) });
    const said = await answer.json();
    return { key: said.key ?? "", refusal: said.message ?? "" };
  } catch {
    return { key: "", refusal: "the gate does not answer: 'swarm-manager dashboard' has ended" };
  }
}

/**
 * @param {BroadcastChannel} others
 * @returns {Promise<string>}
 */
function askOthers(others) {
  return new Promise((resolve) => {
    /** @param {MessageEvent} event */
    const hear = ({ data }) => data?.key && done(data.key);
    /** @param {string} found */
    const done = (found) => {
      clearTimeout(timer);
      others.removeEventListener("message", hear);
      resolve(found);
    };
    const timer = setTimeout(() => done(""), OTHERS_MILLISECONDS);
    others.addEventListener("message", hear);
    others.postMessage({ ask: true });
  });
}
