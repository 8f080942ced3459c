// What removes networks, secrets, configs and whole stacks. Each asks for the name, and shows its command.
import { Refused, filters, get, send } from "./api.js";
import { plural } from "./format.js";
import { ask } from "./parts/dialog.js";
import { shell } from "./parts/command.js";
import { go } from "./router.js";

const STACK = "com.docker.stack.namespace";
// What tasks use can be removed when these have stopped; when they have, what still uses it is not the stack's.
const AGAIN_MILLISECONDS = 1000;
const OTHERS_MILLISECONDS = 3000;
const PATIENCE_MILLISECONDS = 120_000;
const HINT = "A task on a node that is down goes when the node is back, or is removed.";

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

/** What is left of a stack, as paths of the API. @param {Record<string, string>} of @param {string[]} kinds @returns {Promise<string[]>} */
async function left(of, kinds) {
  const lists = await Promise.all(kinds.map(async (kind) => (await get(`/${kind}`, of)).map((/** @type {any} */ each) => `/${kind}/${each.ID ?? each.Id}`)));
  return lists.flat();
}

/** Services first; then their tasks are waited for, and what these use is tried again until they are gone. @param {string} name */
async function removeStack(name) {
  const of = filters({ label: [`${STACK}=${name}`] });
  for (const path of await left(of, ["services"])) await removed(path);
  let moved = Date.now();
  let before = "";
  for (;;) {
    const [tasks, others] = [await left(of, ["services", "tasks"]), await left(of, ["secrets", "configs", "networks"])];
    const problems = [];
    for (const path of others) {
      const error = await removed(path).catch((/** @type {unknown} */ problem) => problem);
      if (error) problems.push(error);
    }
    const lost = problems.find((error) => !(error instanceof Refused));
    if (lost) throw lost;
    if (!tasks.length && !problems.length) break;
    const now = JSON.stringify([tasks, problems.length]);
    if (now !== before) [before, moved] = [now, Date.now()];
    const still = Date.now() - moved;
    if (!tasks.length && still > OTHERS_MILLISECONDS) throw problems[0];
    if (still > PATIENCE_MILLISECONDS) throw new Error(`For two minutes nothing more of ${name} has ended. ${HINT}`);
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
