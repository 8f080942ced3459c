// What can be done to services and nodes: each asks first, shows its command, and repeats the version that was seen.
import { Refused, get, send } from "./api.js";
import { plural } from "./format.js";
import { Conflict } from "./parts/conflict.js";
import { differences } from "./parts/difference.js";
import { ask } from "./parts/dialog.js";
import { shell } from "./parts/command.js";
import { me } from "./me.js";

/**
 * @typedef {{name: string, needs: string, run: () => void, off?: string, danger?: boolean, key?: string}} Action
 */

/** @param {string} name @param {any} service @param {Record<string, string>} query @param {unknown} body */
async function updateService(name, service, query, body) {
  try {
    await send("POST", `/services/${service.ID}/update`, { query: { version: String(service.Version.Index), ...query }, body });
  } catch (error) {
    throw await withTheirs(error, name, service, body);
  }
}

/**
 * Where somebody was faster, say what they changed, beside what was to be changed here.
 * @param {unknown} error @param {string} name @param {any} service @param {unknown} body
 */
async function withTheirs(error, name, service, body) {
  if (!(error instanceof Refused) || !error.message.includes("out of sequence")) return error;
  const present = await get(`/services/${service.ID}`);
  return new Conflict(name, differences(service.Spec, present.Spec), differences(service.Spec, body));
}

/** @param {any} spec @param {any} changes */
function withContainer(spec, changes) {
  const template = spec.TaskTemplate ?? {};
  return { ...spec, TaskTemplate: { ...template, ContainerSpec: { ...template.ContainerSpec, ...changes } } };
}

/** @param {any} service @param {number} count */
function scale(service, count) {
  const name = service.Spec.Name;
  ask({
    title: `Scale ${name}`,
    fields: [{ name: "replicas", label: "Tasks", value: String(count), type: "number", min: "0" }],
    command: ({ replicas }) => shell("swarm-manager", "service", "scale", `${name}=${replicas}`),
    text: `Now ${plural(count, "task")}. With 0 all of them stop.`,
    name,
    danger: ({ replicas }) => Number(replicas) === 0,
    verb: "Scale",
    act: ({ replicas }) =>
      updateService(name, service, { scale: "1" }, { ...service.Spec, Mode: { Replicated: { ...service.Spec.Mode.Replicated, Replicas: Number(replicas) } } }),
  });
}

/** @param {any} service */
function updateImage(service) {
  const name = service.Spec.Name;
  const present = (service.Spec.TaskTemplate?.ContainerSpec?.Image ?? "").split("@")[0];
  ask({
    title: `Update the image of ${name}`,
    fields: [{ name: "image", label: "Image", value: present }],
    command: ({ image }) => shell("swarm-manager", "service", "update", "--image", image, name),
    text: "Its tasks are replaced as its update configuration says.",
    verb: "Update",
    act: ({ image }) => updateService(name, service, {}, withContainer(service.Spec, { Image: image })),
  });
}

/** @param {any} service */
function setVariable(service) {
  const name = service.Spec.Name;
  const present = service.Spec.TaskTemplate?.ContainerSpec?.Env ?? [];
  const others = (/** @type {string} */ variable) => present.filter((/** @type {string} */ each) => each.split("=", 1)[0] !== variable);
  ask({
    title: `Change a variable of ${name}`,
    fields: [{ name: "variable", label: "Variable", value: "" }, { name: "value", label: "Value", value: "", optional: true }],
    command: ({ variable, value }) => shell("swarm-manager", "service", "update", ...(value ? ["--env-add", `${variable}=${value}`] : ["--env-rm", variable]), name),
    text: `Its tasks are replaced as its update configuration says. Without a value the variable is removed. Now it has ${present.map((/** @type {string} */ each) => each.split("=", 1)[0]).join(", ") || "none"}.`,
    verb: "Update",
    act: ({ variable, value }) => updateService(name, service, {}, withContainer(service.Spec, { Env: [...others(variable), ...(value ? [`${variable}=${value}`] : [])] })),
  });
}

/** @param {any} service */
function rebalance(service) {
  const name = service.Spec.Name;
  ask({
    title: `Rebalance ${name}`,
    text: "Its tasks are spread evenly over the nodes: a few move, each is replaced before it stops.",
    command: () => shell("swarm-manager", "service", "rebalance", name),
    verb: "Rebalance",
    act: () => send("POST", `/services/${service.ID}/rebalance`),
  });
}

/** @param {any} service */
function restart(service) {
  const name = service.Spec.Name;
  const template = service.Spec.TaskTemplate ?? {};
  ask({
    title: `Restart ${name}`,
    text: "All its tasks are replaced, as its update configuration says.",
    command: () => shell("swarm-manager", "service", "update", "--force", name),
    verb: "Restart",
    act: () => updateService(name, service, {}, { ...service.Spec, TaskTemplate: { ...template, ForceUpdate: (template.ForceUpdate ?? 0) + 1 } }),
  });
}

// Where most of a specification is: said, it tells nothing.
const TEMPLATE = /^TaskTemplate\.(ContainerSpec\.)?/;

/** @param {any} service */
function rollBack(service) {
  const name = service.Spec.Name;
  const changes = differences(service.Spec, service.PreviousSpec ?? {}).slice(0, 6);
  ask({
    title: `Roll ${name} back`,
    text: changes.length ? changes.map(({ path, from, to }) => `${path.replace(TEMPLATE, "")}: ${from} → ${to}`).join("; ") : "To its previous specification.",
    command: () => shell("swarm-manager", "service", "rollback", name),
    verb: "Roll back",
    act: () => updateService(name, service, { rollback: "previous" }, service.Spec),
  });
}

/** @param {any} service */
function remove(service) {
  const name = service.Spec.Name;
  ask({
    title: `Remove ${name}`,
    text: "All its tasks stop. What they have written outside of volumes is lost.",
    command: () => shell("swarm-manager", "service", "rm", name),
    name,
    verb: "Remove",
    act: () => send("DELETE", `/services/${service.ID}`),
  });
}

/** @param {any} service @param {"continue" | "pause" | "abort"} action @param {string} verb @param {string} text */
function rollout(service, action, verb, text) {
  const name = service.Spec.Name;
  ask({
    title: `${verb} the update of ${name}`,
    text,
    command: () => shell("swarm-manager", "service", "update", `--${action}`, name),
    verb,
    act: () => send("POST", `/services/${service.ID}/rollout`, { query: { version: String(service.Version.Index), action } }),
  });
}

/** @param {any} service @returns {Action[]} */
export function serviceActions(service) {
  const count = service.Spec.Mode?.Replicated?.Replicas;
  const state = service.UpdateStatus?.State ?? "";
  const isPaused = state === "paused" || state === "rollback_paused";
  const goesOn = state === "updating" || state === "rollback_started";
  return [
    ...(isPaused ? [{ name: "Continue", needs: "operator", run: () => rollout(service, "continue", "Continue", "The update goes on. What has failed so far no longer counts.") }] : []),
    ...(goesOn ? [{ name: "Pause", needs: "operator", run: () => rollout(service, "pause", "Pause", "Tasks that were replaced already stay replaced.") }] : []),
    ...(isPaused || goesOn ? [{ name: "Abort", needs: "operator", run: () => rollout(service, "abort", "Abort", "The service returns to its previous specification.") }] : []),
    ...(count === undefined ? [] : [{ name: "Scale", needs: "operator", run: () => scale(service, count) }]),
    { name: "Update image", needs: "operator", run: () => updateImage(service) },
    { name: "Environment", needs: "operator", run: () => setVariable(service), off: me.value.Environment ? "" : "you are not shown what its variables are" },
    { name: "Roll back", needs: "operator", run: () => rollBack(service), off: service.PreviousSpec ? "" : "it has no previous specification" },
    { name: "Restart", needs: "operator", run: () => restart(service) },
    ...(count === undefined ? [] : [{ name: "Rebalance", needs: "operator", run: () => rebalance(service) }]),
    { name: "Remove", needs: "operator", danger: true, run: () => remove(service) },
  ];
}

/** @param {any} node @param {Record<string, unknown>} changes */
const updateNode = (node, changes) =>
  send("POST", `/nodes/${node.ID}/update`, { query: { version: String(node.Version.Index) }, body: { ...node.Spec, ...changes } });

/** @param {any} node @param {string} availability @param {string} title @param {string} text @param {string} verb @param {string[]} command */
function setAvailability(node, availability, title, text, verb, command) {
  ask({
    title,
    text,
    command: () => shell("swarm-manager", "node", ...command),
    name: availability === "drain" ? node.Description.Hostname : "",
    verb,
    act: () => updateNode(node, { Availability: availability }),
  });
}

/** @param {any} node @param {string} name @returns {Action} */
function roleAction(node, name) {
  const isManager = node.Spec.Role === "manager";
  const verb = isManager ? "Demote" : "Promote";
  const run = () => ask({
    title: `${verb} ${name}`,
    text: isManager ? "It is no longer a manager. Its worker and its tasks run on." : "It becomes a manager, too. Its tasks run on.",
    command: () => shell("swarm-manager", "node", verb.toLowerCase(), name),
    name: isManager ? name : "",
    verb,
    act: () => updateNode(node, { Role: isManager ? "worker" : "manager" }),
  });
  return { name: verb, needs: "admin", danger: isManager, run };
}

/** @param {any} node @param {string} name */
function setLabel(node, name) {
  const present = node.Spec.Labels ?? {};
  ask({
    title: `Label ${name}`,
    fields: [{ name: "label", label: "Label", value: "" }, { name: "value", label: "Value", value: "", optional: true }],
    text: `Without a value the label is removed. Tasks with constraints on it may move. Now it has ${Object.entries(present).map(([label, value]) => `${label}=${value}`).join(", ") || "none"}.`,
    command: ({ label, value }) => shell("swarm-manager", "node", "update", ...(value ? ["--label-add", `${label}=${value}`] : ["--label-rm", label]), name),
    verb: "Update",
    act: ({ label, value }) => {
      const { [label]: _, ...others } = present;
      return updateNode(node, { Labels: value ? { ...others, [label]: value } : others });
    },
  });
}

/** @param {any} node @param {number} tasks @returns {Action[]} */
export function nodeActions(node, tasks) {
  const name = node.Description?.Hostname ?? node.ID;
  const now = node.Spec.Availability;
  const off = (/** @type {string} */ wanted) => (now === wanted ? `it is ${wanted} already` : "");
  return [
    { name: "Drain", needs: "operator", off: off("drain"), danger: true, run: () =>
      setAvailability(node, "drain", `Drain ${name}`, `${plural(tasks, "task")} here move to other nodes; replacements start first.`, "Drain", ["drain", name]) },
    { name: "Pause", needs: "operator", off: off("pause"), run: () =>
      setAvailability(node, "pause", `Pause ${name}`, "It keeps its tasks and gets no new ones.", "Pause", ["update", "--availability", "pause", name]) },
    { name: "Activate", needs: "operator", off: off("active"), run: () =>
      setAvailability(node, "active", `Activate ${name}`, "It gets tasks again.", "Activate", ["update", "--availability", "active", name]) },
    { name: "Label", needs: "operator", run: () => setLabel(node, name) },
    roleAction(node, name),
    { name: "Remove", needs: "admin", danger: true, off: node.Status?.State === "ready" ? "it is there: drain it, and let its worker leave" : "", run: () =>
      ask({
        title: `Remove ${name}`,
        text: "Its record goes, and its certificate is worth nothing any more.",
        command: () => shell("swarm-manager", "node", "rm", name),
        name,
        verb: "Remove",
        act: () => send("DELETE", `/nodes/${node.ID}`),
      }) },
  ];
}
