"use strict";
/* What the toys have in common: packed matrices, sound from a mel, drawing, controls. No dependency, no network. */
(function (root, make) {
  const board = make();
  if (typeof module !== "undefined" && module.exports) module.exports = board;
  else root.malsoriBoard = board;
})(typeof self !== "undefined" ? self : this, function () {
  /* -- numbers (tested against the Python code) -------------------------------------------------------------- */

  /** A packed matrix as an array of Float64Array rows. */
  function unpack(packed) {
    const bytes = typeof atob === "function" ? Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0))
      : new Uint8Array(Buffer.from(packed.data, "base64"));
    const rows = [];
    for (let r = 0; r < packed.rows; r++) {
      const row = new Float64Array(packed.columns);
      for (let c = 0; c < packed.columns; c++) {
        const at = 2 * (r * packed.columns + c);
        row[c] = packed.low + ((bytes[at] + 256 * bytes[at + 1]) / 65535) * (packed.high - packed.low);
      }
      rows.push(row);
    }
    return rows;
  }

  function melToHz(mel) {
    return mel < 15 ? (mel * 200) / 3 : 1000 * Math.exp((Math.log(6.4) / 27) * (mel - 15));
  }

  function hzToMel(hz) {
    return hz < 1000 ? (3 * hz) / 200 : 15 + (27 * Math.log(hz / 1000)) / Math.log(6.4);
  }

  /** Slaney's triangles of equal area: mel_channels rows of fft / 2 + 1 bins. */
  function melFilters(audio) {
    const bins = audio.fft_samples / 2 + 1, low = hzToMel(audio.min_hz), high = hzToMel(audio.max_hz);
    const edges = Array.from({ length: audio.mel_channels + 2 }, (_, i) => melToHz(low + ((high - low) * i) / (audio.mel_channels + 1)));
    return Array.from({ length: audio.mel_channels }, (_, m) => Float64Array.from({ length: bins }, (_, b) => {
      const hz = (b * audio.sample_rate) / audio.fft_samples;
      const rising = (hz - edges[m]) / (edges[m + 1] - edges[m]), falling = (edges[m + 2] - hz) / (edges[m + 2] - edges[m + 1]);
      return (Math.max(0, Math.min(rising, falling)) * 2) / (edges[m + 2] - edges[m]);
    }));
  }

  /** The non-negative magnitudes whose mel bands fit best: 50 multiplicative updates (Lee and Seung 2000). */
  function linearMagnitude(logMel, audio) {
    const filters = melFilters(audio), bins = filters[0].length, channels = filters.length;
    const spans = filters.map((row) => [row.findIndex((v) => v > 0), row.length - [...row].reverse().findIndex((v) => v > 0)]);
    return logMel.map((frame) => {
      const wanted = new Float64Array(bins), magnitude = new Float64Array(bins);
      for (let m = 0; m < channels; m++) for (let b = spans[m][0]; b < spans[m][1]; b++) wanted[b] += Math.exp(frame[m]) * filters[m][b];
      magnitude.set(wanted);
      for (let step = 0; step < 50; step++) {
        const below = new Float64Array(bins);
        for (let m = 0; m < channels; m++) {
          let band = 0;
          for (let b = spans[m][0]; b < spans[m][1]; b++) band += magnitude[b] * filters[m][b];
          for (let b = spans[m][0]; b < spans[m][1]; b++) below[b] += band * filters[m][b];
        }
        for (let b = 0; b < bins; b++) magnitude[b] *= wanted[b] / Math.max(below[b], 1e-8);
      }
      return magnitude;
    });
  }

  /** In place; size a power of two. */
  function fft(re, im, inverse) {
    const n = re.length;
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
    }
    for (let size = 2; size <= n; size <<= 1) {
      const angle = ((inverse ? 2 : -2) * Math.PI) / size, half = size >> 1;
      for (let k = 0; k < half; k++) {
        const c = Math.cos(angle * k), s = Math.sin(angle * k);
        for (let i = k; i < n; i += size) {
          const j = i + half, a = re[j] * c - im[j] * s, b = re[j] * s + im[j] * c;
          re[j] = re[i] - a; im[j] = im[i] - b; re[i] += a; im[i] += b;
        }
      }
    }
    if (inverse) for (let i = 0; i < n; i++) { re[i] /= n; im[i] /= n; }
  }

  /** A wave whose log-mel is near the one given (Griffin and Lim 1984, with the momentum of Perraudin 2013). */
  function griffinLim(logMel, audio, iterations) {
    const size = audio.fft_samples, hop = audio.hop_samples, frames = logMel.length, bins = size / 2 + 1;
    const magnitude = linearMagnitude(logMel, audio);
    const window = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
    const total = size + hop * (frames - 1), weight = new Float64Array(total);
    for (let t = 0; t < frames; t++) for (let i = 0; i < size; i++) weight[t * hop + i] += window[i] * window[i];
    let seed = 1;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const cos = magnitude.map(() => new Float64Array(bins)), sin = magnitude.map(() => new Float64Array(bins));
    for (let t = 0; t < frames; t++) for (let b = 0; b < bins; b++) { const a = 2 * Math.PI * random(); cos[t][b] = Math.cos(a); sin[t][b] = Math.sin(a); }
    const lastRe = cos.map(() => new Float64Array(bins)), lastIm = cos.map(() => new Float64Array(bins));
    const re = new Float64Array(size), im = new Float64Array(size);
    const build = () => {
      const wave = new Float64Array(total);
      for (let t = 0; t < frames; t++) {
        for (let b = 0; b < bins; b++) { re[b] = magnitude[t][b] * cos[t][b]; im[b] = b % (bins - 1) ? magnitude[t][b] * sin[t][b] : 0; }
        for (let b = 1; b < bins - 1; b++) { re[size - b] = re[b]; im[size - b] = -im[b]; }
        fft(re, im, true);
        for (let i = 0; i < size; i++) wave[t * hop + i] += re[i] * window[i];
      }
      for (let i = 0; i < total; i++) wave[i] /= Math.max(weight[i], 1e-8);
      return wave;
    };
    for (let round = 0; round < (iterations || 30); round++) {
      const wave = build();
      for (let t = 0; t < frames; t++) {
        for (let i = 0; i < size; i++) { re[i] = wave[t * hop + i] * window[i]; im[i] = 0; }
        fft(re, im, false);
        for (let b = 0; b < bins; b++) {
          const x = re[b] + 0.99 * (re[b] - lastRe[t][b]), y = im[b] + 0.99 * (im[b] - lastIm[t][b]);
          const length = Math.max(Math.hypot(x, y), 1e-8);
          cos[t][b] = x / length; sin[t][b] = y / length; lastRe[t][b] = re[b]; lastIm[t][b] = im[b];
        }
      }
    }
    const begin = (size - hop) / 2;
    return Float32Array.from(build().subarray(begin, begin + frames * hop));
  }

  /* -- the page ---------------------------------------------------------------------------------------------- */

  let context = null;
  /** Play samples through the loudspeaker. */
  function play(wave, sampleRate) {
    context = context || new (window.AudioContext || window.webkitAudioContext)();
    const buffer = context.createBuffer(1, wave.length, sampleRate);
    const peak = wave.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
    buffer.copyToChannel(wave.map((value) => (0.8 * value) / Math.max(peak, 0.05)), 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    source.start();
  }

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  let controls = 0;
  /** A range with its label and a place for its value. */
  function slider(label, min, max, step, value, change) {
    const id = "toy-control-" + ++controls, shown = make("output", { for: id }, String(value));
    const input = make("input", { id, type: "range", min, max, step, value, oninput: () => { const text = change(Number(input.value)); shown.textContent = text === undefined ? input.value : text; } });
    return Object.assign(make("p", { class: "toy-control" }, make("label", { for: id }, label + " "), input, " ", shown), { input, shown });
  }

  function choice(label, names, change) {
    const id = "toy-control-" + ++controls;
    const select = make("select", { id, onchange: () => change(Number(select.value)) }, ...names.map((name, index) => make("option", { value: index }, name)));
    return Object.assign(make("p", { class: "toy-control" }, make("label", { for: id }, label + " "), select), { select });
  }

  function button(label, click) {
    return make("button", { type: "button", onclick: click }, label);
  }

  /** A canvas, sharp on dense screens: as wide as asked, or as a phone has room; it scales with the page. */
  function canvas(wanted, height, label) {
    const place = document.querySelector(".toy"), style = getComputedStyle(place);
    const room = place.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const width = Math.max(240, Math.min(wanted, room));
    const scale = (typeof devicePixelRatio === "number" && devicePixelRatio) || 1;
    const element = make("canvas", { width: width * scale, height: height * scale, role: "img", "aria-label": label });
    element.style.cssText = `width:100%;max-width:${width}px;aspect-ratio:${width}/${height};touch-action:none`;
    const pen = element.getContext("2d");
    pen.scale(scale, scale);
    const at = (event) => {
      const box = element.getBoundingClientRect();
      return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
    };
    return { element, pen, width, height, at };
  }

  /** Call back with positions while a pointer is down. */
  function drag(surface, move) {
    let down = false;
    surface.element.addEventListener("pointerdown", (event) => { down = true; surface.element.setPointerCapture(event.pointerId); move(...surface.at(event), true); });
    surface.element.addEventListener("pointermove", (event) => { if (down) move(...surface.at(event), false); });
    for (const end of ["pointerup", "pointercancel"]) surface.element.addEventListener(end, () => { down = false; });
  }

  /** White to blue for 0 to 1; red above blue for signed values. */
  function color(value, signed) {
    const v = Math.max(-1, Math.min(1, value)), part = Math.round(255 * (1 - Math.abs(v)));
    if (!signed) return `rgb(${part},${Math.round(255 - 141 * Math.abs(v))},${Math.round(255 - 77 * Math.abs(v))})`;
    return v > 0 ? `rgb(${Math.round(255 - 42 * v)},${Math.round(255 - 161 * v)},${part})` : `rgb(${part},${Math.round(255 + 141 * v)},${Math.round(255 + 77 * v)})`;
  }

  /** Dark to bright for log-mels of -11.5 to 2. */
  function melColor(value) {
    const x = Math.max(0, Math.min(1, (value + 11.5) / 13.5));
    return `rgb(${Math.round(255 * Math.min(1, 1.6 * x))},${Math.round(255 * Math.max(0, 1.8 * x - 0.8))},${Math.round(255 * (x < 0.5 ? 0.25 + 0.6 * x : Math.max(0.3, 1.1 - x + (x > 0.85 ? 2 * (x - 0.85) : 0))))})`;
  }

  /** A list of named numbers that a test can read. */
  function numbers(names) {
    const cells = names.map(([key, label]) => [key, make("output", { "data-value": key }, "-"), label]);
    const list = make("dl", { class: "toy-numbers", "aria-live": "polite" }, ...cells.map(([, cell, label]) => make("div", {}, make("dt", {}, label), make("dd", {}, cell))));
    return { list, show(values) { for (const [key, cell] of cells) if (key in values) cell.textContent = values[key]; } };
  }

  /** Put a toy into its place on the page, in the language of what is around it. */
  function begin(toy, data) {
    const place = document.querySelector(`.toy[data-toy=${toy}]:not([data-begun])`);
    if (!place) return; // the page has gone on to another lesson
    place.dataset.begun = "";
    malsoriToys[toy].mount(place, data, place.closest("[lang]").lang);
  }

  /** Let every question of the page be answered. */
  function questions() {
    for (const form of document.querySelectorAll("form.question")) {
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        const given = form.querySelector("input").value.trim(), right = form.dataset.answer, tolerance = Number(form.dataset.tolerance);
        const number = Number(given.replace("%", "").replace(",", ""));
        const ok = form.dataset.kind === "number" ? given !== "" && Math.abs(number - Number(right)) <= tolerance + 1e-9
          : given.replace(/\s/g, "").toLowerCase() === right.replace(/\s/g, "").toLowerCase();
        form.querySelector("output").textContent = ok ? form.dataset.yes : form.dataset.no;
        if (ok) form.parentElement.querySelector("details").open = true;
      });
    }
  }

  if (typeof document !== "undefined") {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", questions);
    else questions();
  }
  return { unpack, melFilters, linearMagnitude, griffinLim, fft, play, make, slider, choice, button, canvas, drag, color, melColor, numbers, begin, questions };
});
