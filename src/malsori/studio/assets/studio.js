"use strict";
const told = document.body.dataset;

// Tabs: by pointer, by arrow keys, by the address's part behind #.
const tabs = [...document.querySelectorAll("[role=tab]")];

function show(tab, focus) {
  for (const each of tabs) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  const name = tab.getAttribute("aria-controls");
  const language = document.getElementById("language");
  language.href = language.href.split("#")[0] + "#" + name;
  if (location.hash !== "#" + name) history.replaceState(null, "", "#" + name);
  if (focus) tab.focus();
}

for (const tab of tabs) {
  tab.addEventListener("click", () => show(tab));
  tab.addEventListener("keydown", (event) => {
    const place = tabs.indexOf(tab), last = tabs.length - 1;
    const next = { ArrowRight: (place + 1) % tabs.length, ArrowLeft: (place + last) % tabs.length, Home: 0, End: last }[event.key];
    if (next !== undefined) { event.preventDefault(); show(tabs[next], true); }
  });
}
const fromAddress = () => tabs.find((tab) => "#" + tab.getAttribute("aria-controls") === location.hash);
addEventListener("hashchange", () => fromAddress() && show(fromAddress()));
show(fromAddress() || tabs[0]);

// Forms: sent as they are filled in; what comes back is put below them.
for (const form of document.forms) {
  const result = form.nextElementSibling, [send, stop] = form.querySelectorAll(".send button");
  let going = null;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (going) going.abort();
    const mine = going = new AbortController(), body = new FormData(form);
    for (const name of (form.dataset.sound || "").split(" ").filter(Boolean)) {
      const sound = soundOf(form, name);
      if (!sound) { tell(result, told.noSound); going = null; return; }
      body.set(name, sound, sound.name || "recording.wav");
    }
    busy(form, true);
    try {
      const answer = await fetch(form.getAttribute("action") + "?lang=" + document.documentElement.lang, { method: "POST", body, signal: mine.signal });
      const text = await answer.text();
      if (!answer.ok) throw new Told(message(text));
      result.innerHTML = text;
      prepare(form, result);
      if ("scripts" in form.dataset) run(form, result);
    } catch (error) {
      if (error.name !== "AbortError") tell(result, error instanceof Told ? error.message : told.failed);
    } finally {
      if (going === mine) { going = null; busy(form, false); }
    }
  });
  stop.addEventListener("click", () => { if (going) going.abort(); });
  form.addEventListener("input", (event) => {
    const shown = event.target.closest("label")?.querySelector(".value");
    if (shown) shown.textContent = Number(event.target.value);
  });
  if ("respeak" in form.dataset) form.addEventListener("change", (event) => {
    const entry = event.target.closest(".entry");
    const whole = !entry || [...entry.querySelectorAll("input")].every((input) => input.value);
    if (result.querySelector("audio") && event.target.name !== "text" && whole) form.requestSubmit();
  });
}

class Told extends Error {}

function message(text) {
  try { return JSON.parse(text).error.message; } catch { return told.failed; }
}

function tell(result, text) {
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = text;
  result.replaceChildren(line);
}

function busy(form, is) {
  const [send, stop] = form.querySelectorAll(".send button");
  send.disabled = is;
  stop.hidden = form.querySelector(".busy").hidden = !is;
  form.setAttribute("aria-busy", is);
}

// Sounds: chosen, dropped, or recorded and sent as WAV, which every server can read.
const recordings = new WeakMap();

function soundOf(form, name) {
  const box = form.querySelector(`.sound[data-name=${name}]`);
  return recordings.get(box) || box.querySelector("input").files[0];
}

for (const box of document.querySelectorAll(".sound")) {
  const input = box.querySelector("input"), drop = box.querySelector(".drop"), chosen = box.querySelector(".chosen");
  input.addEventListener("change", () => {
    recordings.delete(box);
    chosen.textContent = input.files.length ? input.files[0].name : told.choose;
  });
  for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
  const button = box.querySelector(".record");
  if (button) record(box, button, chosen);
}

function record(box, button, chosen) {
  let recorder = null;
  button.addEventListener("click", async () => {
    if (recorder) { recorder.stop(); return; }
    try {
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      const parts = [];
      recorder = new MediaRecorder(microphone);
      recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
      recorder.addEventListener("stop", async () => {
        for (const track of microphone.getTracks()) track.stop();
        recorder = null;
        pressed(false);
        const sound = await wav(new Blob(parts));
        recordings.set(box, sound.blob);
        chosen.textContent = `${told.recorded} (${sound.seconds.toFixed(1)} s)`;
      });
      recorder.start();
      pressed(true);
    } catch {
      recorder = null;
      tell(box.closest("form").nextElementSibling, told.noMicrophone);
    }
  });
  function pressed(is) {
    button.setAttribute("aria-pressed", is);
    button.textContent = is ? told.recordStop : told.record;
  }
}

async function wav(blob) {
  const context = new AudioContext();
  const sound = await context.decodeAudioData(await blob.arrayBuffer());
  context.close();
  const samples = sound.getChannelData(0), view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const letters = (at, text) => [...text].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
  letters(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); letters(8, "WAVEfmt ");
  [[16, 16, 32], [20, 1, 16], [22, 1, 16], [24, sound.sampleRate, 32], [28, 2 * sound.sampleRate, 32], [32, 2, 16], [34, 16, 16]]
    .forEach(([at, value, bits]) => view["setUint" + bits](at, value, true));
  letters(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, place) => view.setInt16(44 + 2 * place, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return { blob: new Blob([view], { type: "audio/wav" }), seconds: sound.duration };
}

// Results: the sound that was sent is played; what is pressed sounds; what sounds is marked.
function prepare(form, result) {
  const audio = result.querySelector("audio");
  if (!audio) return;
  if (audio.classList.contains("own")) {
    if (form.played) URL.revokeObjectURL(form.played);
    audio.src = form.played = URL.createObjectURL(soundOf(form, form.dataset.sound));
  }
  const link = result.querySelector("a.download");
  if (link) link.href = audio.src;
  const spans = [...result.querySelectorAll("[data-start]")];
  let end = null;
  const mark = () => {
    for (const span of spans) span.classList.toggle("now", !audio.paused && audio.currentTime >= span.dataset.start && audio.currentTime < span.dataset.end);
    if (end !== null && audio.currentTime >= end) { end = null; audio.pause(); }
    if (!audio.paused) requestAnimationFrame(mark);
  };
  audio.addEventListener("play", mark);
  audio.addEventListener("pause", mark);
  result.onclick = (event) => {
    const span = event.target.closest("[data-start]");
    if (!span) return;
    audio.currentTime = Number(span.dataset.start);
    end = Number(span.dataset.end);
    audio.play().catch(() => {}); // pressed again before it began
  };
}

// Lessons: their scripts, which come from this server, run one after the other; a button leads on to the next lesson.
function run(form, result) {
  for (const script of result.querySelectorAll("script")) {
    const copy = document.createElement("script");
    copy.src = script.src;
    copy.async = false;
    script.replaceWith(copy);
  }
  const next = result.querySelector("[data-next]");
  if (next) next.addEventListener("click", () => {
    form.elements.name.value = next.dataset.next;
    form.scrollIntoView();
    form.elements.name.focus();
    form.requestSubmit();
  });
}

// Lexicon: rows of a word and its reading.
for (const lexicon of document.querySelectorAll(".lexicon")) {
  const entries = lexicon.querySelector(".entries");
  lexicon.querySelector(".add").addEventListener("click", () => {
    entries.append(lexicon.querySelector("template").content.cloneNode(true));
    entries.lastElementChild.querySelector("input").focus();
  });
  entries.addEventListener("click", (event) => {
    if (!event.target.closest(".remove")) return;
    event.target.closest(".entry").remove();
    lexicon.querySelector(".add").focus();
    lexicon.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
