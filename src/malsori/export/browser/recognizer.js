// A recognizer that computes in a worker: samples at the model's rate → text, by the graphs in recognizer/.
//
// It decodes greedily, and gives out a text only where the sound speaks for it, as malsori does ('decode.seq2seq').

import * as ort from "./onnxruntime/ort.wasm.min.mjs";

const FRAME = 512, QUIET_FRAMES = 9; // a place to cut at is 0.3 s long

ort.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

// Return the recognizer of a page's folder; told is called with {loaded, bytes} as it comes.
export async function openRecognizer(told = () => {}) {
  const facts = await (await fetched("recognizer.json")).json();
  const [pieces, references, weights] = await Promise.all([
    fetched("tokens.json").then((answer) => answer.json()),
    fetched("without_speech.bin").then((answer) => answer.arrayBuffer()),
    read(await fetched("model.safetensors"), facts.bytes, told),
  ]);
  const graph = async (name) => ort.InferenceSession.create(
    new Uint8Array(await (await fetched(`${name}.onnx`)).arrayBuffer()),
    { externalData: [{ path: "model.safetensors", data: weights }] });
  const recognizer = new Recognizer(facts, pieces, await graph("encoder"), await graph("decoder"));
  await recognizer.learnReferences(new Float32Array(references));
  return recognizer;
}

export class Recognizer {
  constructor(facts, pieces, encoder, decoder) {
    Object.assign(this, { facts, encoder, decoder });
    this.pieces = pieces.map((piece) => Uint8Array.from(piece, (byte) => byte.charCodeAt(0)));
    this.names = decoder.outputNames.filter((name) => name !== "attention");
    this.forbidden = new Set(facts.suppressed);
    this.forbiddenFirst = new Set([...facts.suppressed, ...facts.suppressed_first]);
  }

  // Keep what the decoder attends to in sounds without speech: three in one, as long as each other.
  async learnReferences(samples) {
    const length = samples.length / 3, starts = [0, length, 2 * length];
    this.references = [];
    for (const start of starts) this.references.push(await this.attend(samples.subarray(start, start + length)));
  }

  // Return what is said in a sound of any length; told is called with {text, seconds} after each window.
  async transcribe(samples, told = () => {}) {
    const { sample_rate, window_samples } = this.facts, texts = [];
    if (samples.length < 0.1 * sample_rate) throw new Error("shorter than 0.1 s");
    let done = 0;
    for (const window of windows(samples, window_samples)) {
      texts.push(await this.hear(window));
      done += window.length;
      told({ text: texts.filter(Boolean).join(" "), seconds: done / sample_rate });
    }
    return texts.filter(Boolean).join(" ");
  }

  // Return what is said in one window, "" where nobody speaks.
  async hear(samples) {
    const { max_tokens, tokens_per_second, sample_rate } = this.facts, cross = await this.attend(samples);
    const most = Math.min(max_tokens, Math.round(tokens_per_second * (1 + samples.length / sample_rate)));
    const found = await this.search(cross, most), text = this.text(found.ids);
    return (await this.accepts(found, text)) ? text.split(/\s+/u).filter(Boolean).join(" ") : "";
  }

  // Return what the decoder attends to in a sound that silence follows to the end of the window.
  async attend(samples) {
    const { window_samples, margin_samples, step_samples, grid_steps } = this.facts;
    const grid = Math.ceil(Math.ceil((samples.length + margin_samples) / step_samples) / grid_steps) * grid_steps;
    const steps = Math.min(window_samples / step_samples, grid);
    const wave = new Float32Array(Math.min(window_samples, (steps + 1) * step_samples));
    wave.set(samples);
    return this.encoder.run({
      wave: new ort.Tensor("float32", wave, [1, wave.length]),
      steps: new ort.Tensor("int64", BigInt64Array.of(BigInt(steps)), []),
    });
  }

  // Return the logits behind each of some tokens, and the keys and values of all so far.
  async step(ids, cross, past = this.nothing()) {
    const token_ids = new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
    const { logits, ...present } = await this.decoder.run({ token_ids, ...cross, ...past }, this.names);
    const size = logits.dims[2], rows = ids.map((_, place) => logits.data.subarray(place * size, (place + 1) * size));
    const names = Object.entries(present).map(([name, tensor]) => [name.replace("present", "past"), tensor]);
    return { rows, past: Object.fromEntries(names) };
  }

  nothing() {
    const { blocks, heads, head_size } = this.facts, past = {};
    for (let block = 0; block < blocks; block++)
      for (const kind of ["keys", "values"])
        past[`past_${kind}_${block}`] = new ort.Tensor("float32", new Float32Array(0), [1, heads, 0, head_size]);
    return past;
  }

  // Return the likeliest token each time, with what accepting them asks for.
  async search(cross, most) {
    const { prefix, end, no_speech } = this.facts, ids = [];
    let { rows, past } = await this.step(prefix, cross);
    const noSpeech = no_speech === null ? 0 : Math.exp(logProbability(rows[0], no_speech));
    let sum = 0, likelihood = 0, count = 0, token;
    while (count < most) {
      const last = rows.at(-1), forbidden = ids.length ? this.forbidden : this.forbiddenFirst;
      token = likeliest(last, forbidden);
      sum += logProbability(last, token, forbidden);
      likelihood += logProbability(last, token);
      count += 1;
      if (token === end) break;
      ids.push(token);
      ({ rows, past } = await this.step([token], cross, past));
    }
    if (token !== end) likelihood += logProbability(rows.at(-1), end);
    return { ids, noSpeech, meanLogProb: sum / Math.max(1, count), likelihood };
  }

  async accepts({ ids, noSpeech, meanLogProb, likelihood }, text) {
    const { no_speech_threshold, logprob_threshold, compression_ratio_threshold, min_log_likelihood_ratio } = this.facts;
    if (!text.trim() || (noSpeech > no_speech_threshold && meanLogProb < logprob_threshold)) return false;
    if ((await compressionRatio(text.trim())) > compression_ratio_threshold) return false;
    const others = [];
    for (const cross of this.references) others.push(await this.likelihood(ids, cross));
    return (likelihood - Math.max(...others)) / (ids.length + 1) >= min_log_likelihood_ratio;
  }

  // Return the log-probability of tokens and their end.
  async likelihood(ids, cross) {
    const { prefix, end } = this.facts, { rows } = await this.step([...prefix, ...ids], cross);
    return [...ids, end].reduce((sum, id, place) => sum + logProbability(rows[prefix.length - 1 + place], id), 0);
  }

  // Return the text of tokens; a character may lie in several.
  text(ids) {
    const bytes = ids.flatMap((id) => [...(this.pieces[id] ?? [])]);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes)).normalize("NFC");
  }
}

// Return a sound in parts no longer than a window, cut in a window's second half where 0.3 s are quietest.
export function windows(samples, longest) {
  const most = Math.floor(longest / FRAME), half = QUIET_FRAMES >> 1, parts = [];
  const levels = Array.from({ length: Math.ceil(samples.length / FRAME) }, (_, frame) => level(samples, frame));
  let start = 0;
  while (levels.length - start > most) {
    const around = (place) => {
      let sum = 0;
      for (let at = place - half; at <= place + half; at++) sum += levels[start + Math.min(Math.max(at, 0), most)];
      return sum;
    };
    let best = most >> 1;
    for (let place = best; place < most - QUIET_FRAMES; place++) if (around(place) < around(best) - 1e-9) best = place;
    parts.push(samples.subarray(start * FRAME, (start + best) * FRAME));
    start += best;
  }
  parts.push(samples.subarray(start * FRAME));
  return parts;
}

// Return how loud a frame is, in dB to two places.
function level(samples, frame) {
  let power = 0;
  for (const sample of samples.subarray(frame * FRAME, (frame + 1) * FRAME)) power += sample * sample;
  return Math.round(1000 * Math.log10(power / FRAME + 1e-10)) / 100;
}

function likeliest(logits, forbidden) {
  let best = -1;
  for (let id = 0; id < logits.length; id++)
    if (!forbidden.has(id) && (best < 0 || logits[id] > logits[best])) best = id;
  return best;
}

const NONE = new Set();

function logProbability(logits, id, forbidden = NONE) {
  let most = -Infinity, sum = 0;
  for (const logit of logits) most = Math.max(most, logit);
  for (let other = 0; other < logits.length; other++)
    if (!forbidden.has(other)) sum += Math.exp(logits[other] - most);
  return logits[id] - most - Math.log(sum);
}

// Return how many times shorter a text's bytes become when zlib packs them.
async function compressionRatio(text) {
  const bytes = new TextEncoder().encode(text);
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return bytes.length / (await new Response(packed).arrayBuffer()).byteLength;
}

async function fetched(name) {
  const answer = await fetch(new URL(`./recognizer/${name}`, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer;
}

// Return the bytes of an answer, telling how many have come.
async function read(answer, bytes, told) {
  const whole = new Uint8Array(bytes), reader = answer.body.getReader();
  let loaded = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    whole.set(part.value, loaded);
    loaded += part.value.length;
    told({ loaded, bytes });
  }
  if (loaded !== bytes) throw new Error(`${loaded} of ${bytes} bytes have come`);
  return whole;
}

// As a worker: asked {number, samples}, and answers {number, told | text | error}; number 0 is the loading.
if (typeof WorkerGlobalScope !== "undefined" && globalThis instanceof WorkerGlobalScope) {
  const teller = (number) => (told) => postMessage({ number, told });
  const opened = openRecognizer(teller(0));
  const answer = (number, text) => text.then(
    (found) => postMessage({ number, text: found }), (error) => postMessage({ number, error: error.message }));
  answer(0, opened.then(() => ""));
  let last = opened;
  addEventListener("message", ({ data: { number, samples } }) => {
    last = last.catch(() => undefined).then(async () => (await opened).transcribe(samples, teller(number)));
    answer(number, last);
  });
}
