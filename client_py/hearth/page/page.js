// Asks for the service's state every two seconds while the page is seen, and shows it. Names come
// from other programs: everything is set as text, never as HTML.

const PERIOD_MS = 2000;
const SPEEDS_KEPT = 60; // two minutes
const HUES = [24, 205, 150, 280, 50, 335, 180, 100];
const WORDS = {
  listening: ["engine is starting", "busy"],
  gpu_ok: ["ready", "good"],
  loaded: ["model loaded", "good"],
  warm: ["warm", "good"],
  failed: ["engine failed", "bad"],
};
const MODES = { draining: "draining", drained: "drained", suspended: "suspended", stopping: "stopping" };

const element = (id) => document.getElementById(id);
const speeds = [];
let updatedAt = 0;

function text(id, value) {
  const node = element(id);
  if (node.textContent !== value) node.textContent = value;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (bytes >= 1024 && step < units.length - 1) { bytes /= 1024; step += 1; }
  return `${step && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[step]}`;
}

function duration(ms) {
  const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (d) return `${d} d ${h % 24} h`;
  if (h) return `${h} h ${m % 60} min`;
  return m ? `${m} min ${s % 60} s` : `${s} s`;
}

function fill(id, rows) {
  const body = element(id).tBodies[0];
  const heads = [...element(id).tHead.rows[0].cells];
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((value, column) => {
      const cell = row.insertCell();
      cell.className = heads[column].className;
      cell.textContent = value;
    });
    return row;
  }));
}

// name, used parts [{name, bytes}], total bytes
function bar(name, parts, total) {
  const used = parts.reduce((sum, part) => sum + part.bytes, 0);
  const whole = Math.max(total, used, 1);
  const made = document.createElement("div");
  const heading = document.createElement("div");
  heading.className = "bar-name";
  const left = document.createElement("span"), right = document.createElement("span");
  left.textContent = name;
  right.className = "quiet";
  right.textContent = total ? `${size(used)} of ${size(total)}` : size(used);
  heading.append(left, right);
  const line = document.createElement("div");
  line.className = "bar";
  line.setAttribute("role", "img");
  line.setAttribute("aria-label", `${name}: ${right.textContent}`);
  const legend = document.createElement("div");
  legend.className = "legend";
  parts.forEach((part, number) => {
    const colour = part.other ? "var(--quiet)" : `hsl(${HUES[number % HUES.length]} 60% 52%)`;
    const piece = document.createElement("span");
    piece.style.width = `${(100 * part.bytes) / whole}%`;
    piece.style.background = colour;
    piece.title = `${part.name}: ${size(part.bytes)}`;
    const mark = document.createElement("i");
    mark.style.background = colour;
    const entry = document.createElement("span");
    entry.append(mark, piece.title);
    line.append(piece);
    legend.append(entry);
  });
  made.append(heading, line, legend);
  return made;
}

function bars(state) {
  const of = (field) => state.models.filter((m) => m[field]).map((m) => ({ name: m.name, bytes: m[field] }));
  const made = [];
  if (state.memory_budget_bytes || state.memory_bytes)
    made.push(bar("models on the device", of("resident_bytes"), state.memory_budget_bytes));
  const device = state.device_state;
  if (device && device.memory_total_bytes && device.memory_used_bytes) {
    const others = Math.max(device.memory_used_bytes - state.memory_bytes, 0);
    made.push(bar("the whole device", [{ name: "hearth", bytes: state.memory_bytes },
      { name: "other programs", bytes: others, other: true }], device.memory_total_bytes));
  }
  if (state.warm_bytes) made.push(bar("resting in pinned memory", of("image_bytes"), state.warm_budget_bytes));
  element("memory").hidden = made.length === 0;
  element("bars").replaceChildren(...made);
}

function stay(model) {
  if (model.pinned) return "pinned";
  return model.leaves_in_ms == null ? "" : `leaves in ${duration(model.leaves_in_ms)}`;
}

function speed(value) {
  speeds.push(value);
  if (speeds.length > SPEEDS_KEPT) speeds.shift();
  const most = Math.max(...speeds, 1);
  const points = speeds.map((v, i) => `${(120 * i) / (SPEEDS_KEPT - 1)},${(23 - (22 * v) / most).toFixed(1)}`);
  document.querySelector("#history polyline").setAttribute("points", points.join(" "));
  text("speed", value ? value.toFixed(value < 10 ? 1 : 0) : "–");
}

function badge(words, kind) {
  text("health", words);
  element("health").className = `badge ${kind}`;
}

function reasons(lines, kind) {
  element("reasons").hidden = lines.length === 0;
  element("reasons").className = kind;
  text("reasons", lines.join("\n"));
}

function show(state) {
  const [words, kind] = WORDS[state.health] ?? [state.health, "busy"];
  const mode = MODES[state.mode];
  badge(mode ?? words, mode ? "busy" : kind);
  reasons(state.health_reasons, kind);
  text("server", [state.server, ...state.devices].join(" · "));
  text("running", state.slots ? `${state.running} of ${state.slots}` : "–");
  text("queued", state.queued ? `${state.queued} waiting` : "");
  speed(state.tokens_per_second);
  text("served", String(state.served));
  text("failed", state.failed ? `${state.failed} failed` : "");
  text("uptime", duration(state.uptime_ms));
  const often = state.worker_restarts === 1 ? "once" : `${state.worker_restarts} times`;
  text("restarts", state.worker_restarts ? `engine restarted ${often}` : "");
  bars(state);
  fill("models", state.models.map((m) => [m.name, m.dtype, m.state,
    m.resident_bytes ? size(m.resident_bytes) : m.image_bytes ? size(m.image_bytes) : "", m.holders, stay(m)]));
  fill("clients", state.clients.map((c) => [c.client, c.pid, duration(c.connected_ms), c.open_requests,
    c.served, c.failed, c.generated_tokens, size(c.arena_bytes)]));
  fill("errors", state.last_errors.map((e) => [new Date(e.at_ms).toLocaleTimeString(), e.code, e.what, e.model]));
}

function lost(problem) {
  badge("not reachable", "bad");
  reasons([problem.what, problem.hint].filter(Boolean), "bad");
  document.body.classList.add("stale");
}

async function ask() {
  try {
    const answer = await fetch("hearth/status.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const state = await answer.json();
    if (!answer.ok) return lost(state);
    document.body.classList.remove("stale");
    updatedAt = Date.now();
    show(state);
  } catch (error) {
    lost({ what: "This ComfyUI does not answer.", hint: "The page goes on asking." });
  } finally {
    text("updated", updatedAt ? `as of ${new Date(updatedAt).toLocaleTimeString()}` : "");
  }
}

async function run() {
  for (;;) {
    if (!document.hidden) await ask();
    await new Promise((wake) => setTimeout(wake, PERIOD_MS));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
run();
