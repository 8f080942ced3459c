// What removes networks, secrets, configs and whole stacks. Each asks for the name, and shows its command.
import { Refused, filters, get, send } from "./api.js";
import { plural } from "./format.js";
import { ask } from "./parts/dialog.js";
import { shell } from "./parts/command.js";
import { go } from "./router.js";

const STACK = "com.docker.stack.namespace";
// What tasks use can be removed when these have stopped.
const AGAIN_MILLISECONDS = 1000;
const PATIENCE_MILLISECONDS = 120_000;

/** @param {"network" | "secret" | "config"} kind @param {string} id @param {string} name @param {string[]} users @returns {import("./actions.js").Action} */
export function removal(kind, id, name, users) {
  return {
    name: "Remove",
    needs: "operator",
    danger: true,
    off: users.length ? `${users.join(", ")} ${users.length === 1 ? "uses" : "use"} it` : "",
    run: () =>
      ask({
        title: `Remove the ${kind} ${name}`,
        text: kind === "network" ? "Nothing uses it now." : "No service uses it now. What is in it cannot be had back.",
        command: () => shell("swarm-manager", kind, "rm", name),
        name,
        verb: "Remove",
        act: async () => {
          await send("DELETE", `/${kind}s/${id}`);
          go(kind === "network" ? "/networks" : "/secrets");
        },
      }),
  };
}

/** @param {string} name @param {any[]} rows its services @returns {import("./actions.js").Action} */
export function stackRemoval(name, rows) {
  return {
    name: "Remove",
    needs: "operator",
    danger: true,
    run: () =>
      ask({
        title: `Remove the stack ${name}`,
        text: `${plural(rows.length, "service")} and all their tasks stop, and its networks, secrets and configs go with them: ${rows.map((row) => row.Name).join(", ")}.`,
        command: () => shell("swarm-manager", "stack", "rm", name),
        name,
        verb: "Remove",
        act: () => removeStack(name),
      }),
  };
}

/** Services first; what their tasks use is tried again until these are gone. @param {string} name */
async function removeStack(name) {
  const of = filters({ label: [`${STACK}=${name}`] });
  const [services, ...others] = await Promise.all(["services", "secrets", "configs", "networks"].map(async (kind) => (await get(`/${kind}`, of)).map((/** @type {any} */ each) => `/${kind}/${each.ID ?? each.Id}`)));
  for (const path of services) await removed(path);
  const end = Date.now() + PATIENCE_MILLISECONDS;
  let left = others.flat();
  for (;;) {
    const problems = [];
    for (const path of left) {
      const error = await removed(path).catch((/** @type {unknown} */ problem) => problem);
      if (error) problems.push({ path, error });
    }
    if (!problems.length) break;
    if (Date.now() > end || problems.some(({ error }) => !(error instanceof Refused))) throw problems[0].error;
    left = problems.map(({ path }) => path);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLISECONDS));
  }
  go("/stacks");
}

/** Remove something; that it is gone already is as good. @param {string} path */
async function removed(path) {
  try {
    await send("DELETE", path);
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
  }
}
