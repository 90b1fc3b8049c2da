/**
 * The studio's page: sends wishes to the server, follows them, and shows, compares and saves what was made.
 *
 * `studio/server.py` documents the interface, and `render/web/viewer.js` the viewer. Every text that comes from outside
 * becomes text on the page, never markup.
 */

import { Viewer } from "/viewer/viewer.js";

const PAUSE = 300; // milliseconds between two questions about a job
const MOST_SHOWN = 4; // motions beside each other
const EXAMPLES = 4; // in the form
const OVER = ["done", "failed", "cancelled"];
const TASKS = {
  t2m: { label: "What does the person do?", submit: "Make the motion", verb: "Making" },
  edit: { label: "What should change?", submit: "Change it", verb: "Changing", made: "changed from" },
  predict: { label: "What comes next?", submit: "Continue it", verb: "Continuing", made: "continued from" },
  m2t: { label: "", submit: "Describe it", verb: "Describing" },
};
const FIELDS = ["task", "text", "seconds", "seed", "participant", "samples"];

const $ = (id) => document.getElementById(id);
const state = { run: null, motions: [], shown: [], viewer: null, scenes: new Map(), mostRecentShow: 0 };

/** A refusal of the server, with the field of the page that it is about. */
class Refusal extends Error {
  constructor(message, field = "") {
    super(message);
    this.field = field;
  }
}

function make(tag, parent, values = {}) {
  const element = Object.assign(document.createElement(tag), values);
  parent?.append(element);
  return element;
}

// 1) The server.

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal("The studio does not answer. Does it still run in its terminal?");
  }
  if (response.ok) return response;
  const { error, field } = await response.json().catch(() => ({ error: `status ${response.status}` }));
  throw new Refusal(error, field);
}

const read = async (path, options) => (await ask(path, options)).json();

async function refresh() {
  const { run, motions, jobs } = await read("/api/state");
  Object.assign(state, { run, motions });
  for (const id of state.scenes.keys()) if (!motions.some((one) => one.id === id)) state.scenes.delete(id);
  state.shown = state.shown.filter((id) => motions.some((one) => one.id === id));
  showHistory();
  showDetails();
  return jobs;
}

// 2) The form.

const onTouch = () => matchMedia("(pointer: coarse)").matches; // there Enter is the only way to start a line
const task = () => document.querySelector("[name=task]:checked").value;
const motionOf = (id) => state.motions.find((one) => one.id === id);
const current = () => motionOf(state.shown[0]);

function chooseTask(name) {
  document.querySelector(`[name=task][value=${name}]`).checked = true;
  showForm();
}

function showForm() {
  const about = current();
  for (const input of document.querySelectorAll("[name=task]")) {
    input.disabled = !state.run?.tasks.includes(input.value) || (input.value !== "t2m" && !about);
  }
  if (document.querySelector("[name=task]:checked").disabled) return chooseTask("t2m");
  const name = task();
  const [isNew, isWords] = [name === "t2m", name === "m2t"];
  const several = isNew ? ` One sentence a line: several follow each other.` : "";
  const keys = onTouch() ? "" : " Enter makes it, Shift+Enter starts a line.";
  $("about").textContent = isNew ? "" : `Motion ${nameOf(about)}`;
  $("text-label").textContent = TASKS[name].label;
  $("text").placeholder = name === "predict" && state.run.wordless ? "May stay empty" : "";
  $("text-hint").textContent = (several + (isNew ? keys : "")).trim();
  $("submit").textContent = TASKS[name].submit;
  $("words").hidden = $("options").hidden = isWords;
  $("as-written-field").hidden = isWords || name === "edit" || !state.run?.reads;
  const examples = about ? state.run.examples[name].slice(0, EXAMPLES) : []; // before there are those of the stage
  showExamples($("examples"), examples, (text) => {
    $("text").value = text;
    $("text").focus();
  });
}

function showExamples(place, texts, use) {
  place.replaceChildren();
  for (const text of texts) {
    make("button", place, { type: "button", textContent: text }).addEventListener("click", () => use(text));
  }
}

function showError(message, field = "") {
  const name = FIELDS.includes(field) ? field : "form";
  const sentence = message && message[0].toUpperCase() + message.slice(1);
  $(`${name}-error`).textContent = sentence && !/[.!?)]$/.test(sentence) ? `${sentence}.` : sentence;
  $(name)?.setAttribute("aria-invalid", "true");
  if (field === "text" && !$("words").hidden) $("text").focus();
}

function clearErrors() {
  for (const name of [...FIELDS, "form"]) {
    $(`${name}-error`).textContent = "";
    $(name)?.removeAttribute("aria-invalid");
  }
}

/** The number of a field, null if it is empty. Throws a Refusal for what is no number. */
function numberOf(name) {
  const input = $(name);
  if (input.validity.badInput) throw new Refusal(`${name} must be a number`, name);
  return input.value === "" ? null : Number(input.value);
}

function wish() {
  const name = task();
  const about = name === "t2m" ? null : (current()?.id ?? null); // the oldest motions go
  if (name === "m2t") return { task: name, motion: about, participant: $("participant").value || null };
  return {
    task: name,
    text: $("text").value,
    seconds: numberOf("seconds"),
    seed: numberOf("seed") ?? 0,
    participant: $("participant").value || null,
    samples: Number($("samples").value),
    motion: about,
    as_written: !$("as-written-field").hidden && $("as-written").checked,
  };
}

async function submit() {
  clearErrors();
  try {
    const body = JSON.stringify(wish());
    const job = await read("/api/jobs", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    await follow(job);
  } catch (error) {
    showError(error.message, error.field);
    if (!(error instanceof Refusal)) throw error;
  }
}

// 3) Jobs on the way.

async function follow(job) {
  const item = make("li", $("jobs"));
  const what = make("span", item, { className: "what" });
  what.textContent = [TASKS[job.task].verb, job.text.replaceAll("\n", ", then ")].filter(Boolean).join(": ");
  const cancel = make("button", item, { type: "button", textContent: "Cancel" });
  const hint = make("span", item, { className: "hint" });
  const bar = make("progress", item, { max: 1 });
  bar.setAttribute("aria-label", what.textContent);
  cancel.addEventListener("click", () => {
    cancel.disabled = true;
    read(`/api/jobs/${job.id}`, { method: "DELETE" }).catch((error) => showError(error.message));
  });
  try {
    while (!OVER.includes(job.state)) {
      showProgress(job, hint, bar);
      await new Promise((done) => setTimeout(done, PAUSE));
      job = await read(`/api/jobs/${job.id}`);
    }
  } finally {
    item.remove();
  }
  await finish(job);
}

function showProgress({ state: now, position, progress, understood }, hint, bar) {
  const before = position === 1 ? "1 before it" : `${position} before it`;
  hint.textContent = now === "waiting" ? (position ? `Waiting, ${before}` : "Waiting") : understood.join("; ");
  if (now === "running" && progress > 0) bar.value = progress;
  else bar.removeAttribute("value");
}

async function finish(job) {
  if (job.state === "failed") throw new Refusal(job.error, job.field);
  await refresh();
  $("status").textContent = job.state === "done" ? `Done: ${job.text || job.said}` : "Cancelled";
  const made = job.motions.map(({ id }) => id).filter(motionOf);
  if (made.length) await show(made);
}

// 4) The motions.

async function show(ids) {
  const turn = ++state.mostRecentShow; // a later click must not be overtaken by an earlier one
  try {
    const scenes = await Promise.all(ids.map(sceneOf));
    if (turn !== state.mostRecentShow) return;
    state.shown = ids;
    showHistory();
    showDetails();
    showForm();
    const drawn = scenes.filter(Boolean);
    $("empty").hidden = true;
    $("no-joints").hidden = drawn.length > 0;
    $("viewer").hidden = !drawn.length;
    if (matchMedia("(max-width: 820px)").matches) document.querySelector(".stage").scrollIntoView();
    if (drawn.length) await draw(drawn);
  } catch (error) {
    showError(error.message);
    if (!(error instanceof Refusal)) throw error;
    await refresh();
  }
}

/** Scenes of one motion each as one scene, in the look that was chosen last. */
async function draw(scenes) {
  const look = state.viewer ? { look: state.viewer.lookInput.value } : {};
  state.viewer ??= window.viewer = new Viewer($("viewer"));
  await state.viewer.show({ ...scenes[0], ...look, motions: scenes.flatMap(({ motions }) => motions) });
}

/** What the viewer shows of a motion, under the name that it has in the list; null without joints. */
async function sceneOf(id) {
  if (!state.scenes.has(id)) {
    const scene = await read(`/api/motions/${id}`);
    if (scene) scene.motions[0].text = nameOf(motionOf(id));
    state.scenes.set(id, scene);
  }
  return state.scenes.get(id);
}

const nameOf = ({ number, text }) => `#${number} ${text || "(no sentence)"}`;

function showHistory() {
  const kept = "They are gone when the studio ends: download what should stay.";
  $("history-hint").textContent = state.motions.length ? kept : "None yet.";
  const focus = document.activeElement?.dataset.key;
  $("history").replaceChildren();
  for (const motion of [...state.motions].reverse()) {
    const item = make("li", $("history"));
    const isCurrent = motion.id === state.shown[0];
    const button = make("button", item, { type: "button", className: "show" });
    button.setAttribute("aria-current", String(isCurrent));
    button.dataset.key = `show ${motion.id}`;
    make("span", button, { className: "what", textContent: nameOf(motion) });
    make("span", button, { className: "hint", textContent: factsOf(motion) });
    button.addEventListener("click", () => show([motion.id]));
    if (isCurrent || !state.shown.length) continue;
    const beside = state.shown.includes(motion.id);
    const compare = make("button", item, { type: "button", className: "compare", textContent: "Compare" });
    compare.setAttribute("aria-pressed", String(beside));
    compare.setAttribute("aria-label", `Compare with #${motion.number}`);
    compare.dataset.key = `compare ${motion.id}`;
    compare.disabled = !beside && state.shown.length >= MOST_SHOWN;
    compare.addEventListener("click", () =>
      show(beside ? state.shown.filter((id) => id !== motion.id) : [...state.shown, motion.id]));
  }
  if (focus) document.querySelector(`[data-key="${focus}"]`)?.focus();
}

function factsOf({ task: name, source, seconds, seed, participant }) {
  const from = source ? `${TASKS[name].made} #${source}` : "";
  return [from, seconds ? `${seconds.toFixed(1)} s` : "", `seed ${seed}`, participant].filter(Boolean).join(" · ");
}

function showDetails() {
  const motion = current();
  $("details").hidden = !motion;
  if (!motion) return;
  $("facts").textContent = `#${motion.number} · ${factsOf(motion)}`;
  $("notes").replaceChildren();
  for (const note of motion.notes) make("li", $("notes"), { textContent: note });
  for (const words of motion.described) make("li", $("notes"), { textContent: `described as: ${words}` });
  for (const button of $("next").children) button.hidden = !state.run.tasks.includes(button.dataset.task);
  $("download-status").textContent = $("download-error").textContent = "";
  $("downloads").replaceChildren();
  for (const suffix of motion.formats) {
    const button = make("button", $("downloads"), { type: "button", textContent: suffix });
    button.setAttribute("aria-label", `Download .${suffix}`);
    button.addEventListener("click", () => download(motion, suffix, button));
  }
}

async function download(motion, suffix, button) {
  const started = Date.now();
  const count = () => {
    $("download-status").textContent = `Writing .${suffix}, ${Math.round((Date.now() - started) / 1000)} s`;
  };
  $("download-error").textContent = "";
  button.disabled = true;
  const clock = setInterval(count, 1000);
  try {
    const content = await (await ask(`/api/motions/${motion.id}/motion.${suffix}`)).blob();
    const name = motion.text.toLowerCase().replace(/[^a-z0-9]+/g, "_").slice(0, 48).replace(/^_+|_+$/g, "") || "motion";
    const link = make("a", null, { href: URL.createObjectURL(content), download: `${name}_${motion.seed}.${suffix}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    $("download-status").textContent = `${link.download}: ${Math.ceil(content.size / 1024)} KB`;
  } catch (error) {
    $("download-status").textContent = "";
    $("download-error").textContent = error.message;
  } finally {
    clearInterval(clock);
    button.disabled = false;
  }
}

async function copyCodes() {
  try {
    await navigator.clipboard.writeText(current().codes);
    $("download-status").textContent = "The codes are copied.";
  } catch {
    $("download-error").textContent = "The browser does not let pages copy; download the .txt instead.";
  }
}

// 5) The start.

function fillForm({ participants, samples, seconds, largest_seed: largest }) {
  Object.assign($("seconds"), { min: seconds[0], max: seconds[1] });
  $("seed").max = largest;
  make("option", $("participant"), { value: "", textContent: "any" });
  for (const { id, style } of participants) {
    make("option", $("participant"), { value: id, textContent: style ? `${id}: ${style}` : id });
  }
  $("participant-field").hidden = !participants.length;
  for (let count = 1; count <= samples; count++) make("option", $("samples"), { value: count, textContent: count });
}

function listen() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  $("text").addEventListener("keydown", (event) => {
    const sends = event.ctrlKey || event.metaKey || (!event.shiftKey && !onTouch());
    if (event.key !== "Enter" || event.isComposing || !sends) return;
    event.preventDefault();
    submit();
  });
  $("tasks").addEventListener("change", showForm);
  $("dice").addEventListener("click", () => ($("seed").value = Math.floor(Math.random() * 10_000)));
  $("copy").addEventListener("click", copyCodes);
  for (const button of $("next").children) {
    button.addEventListener("click", () => {
      chooseTask(button.dataset.task);
      if (button.dataset.task === "m2t") submit();
      else $("text").select();
    });
  }
}

async function start() {
  listen();
  try {
    const jobs = await refresh();
    $("run").textContent = state.run.name;
    fillForm(state.run);
    showForm();
    showExamples($("tries"), state.run.examples.t2m, (text) => {
      $("text").value = text;
      submit();
    });
    if (state.motions.length) await show([state.motions.at(-1).id]);
    for (const job of jobs) follow(job).catch((error) => showError(error.message, error.field));
  } catch (error) {
    showError(error.message);
    if (!(error instanceof Refusal)) throw error;
  }
}

start();
