// A voice in the browser: the graphs of a folder that 'malsori export' wrote, computed by onnxruntime-web.

import * as ort from "./onnxruntime/ort.wasm.min.mjs";
import { Reader } from "./reading.js";

ort.env.wasm.wasmPaths = new URL("./onnxruntime/", import.meta.url).href;
ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

// Return the voice of a page's folder; told is called with each step's name.
export async function loadVoice(told = () => {}) {
  told("reading");
  const [facts, config, symbols, manifest, junctions] = await Promise.all([
    json("reading.json"), json("voice/config.json"), json("voice/symbols.json"), json("voice/onnx.json"),
    fetched("junctions.bin").then((answer) => answer.arrayBuffer()),
  ]);
  told("voice");
  const graph = async (name) => ort.InferenceSession.create(
    new Uint8Array(await (await fetched(`voice/${manifest.graphs[name].file}`)).arrayBuffer()));
  const acoustic = await graph("acoustic");
  told("vocoder");
  const vocoder = await graph("vocoder");
  const excitation = manifest.graphs.excitation && await graph("excitation");
  told("");
  const reader = new Reader(facts, new Uint16Array(junctions), symbols.phonemes.symbols);
  return new Voice(reader, config, { acoustic, vocoder, excitation }, facts.between_sentences_seconds);
}

export class Voice {
  constructor(reader, config, graphs, gapSeconds) {
    Object.assign(this, { reader, ...graphs });
    this.speakers = config.speakers;
    this.sampleRate = config.audio.sample_rate;
    const hop = config.audio.hop_samples;
    this.gap = new Float32Array(Math.round((gapSeconds * this.sampleRate) / hop) * hop);
  }

  // Yield the samples of each sentence of a reading, silence between them included.
  async *speak({ sentences }, { speaker = this.speakers[0], speed = 1, energy = 0 } = {}) {
    for (const [number, ids] of sentences.entries()) {
      const asked = {
        token_ids: new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]),
        speaker: new ort.Tensor("int64", BigInt64Array.of(BigInt(Math.max(0, this.speakers.indexOf(speaker)))), [1]),
        speed: new ort.Tensor("float32", Float32Array.of(speed), []),
        energy_shift: new ort.Tensor("float32", Float32Array.of(energy), []),
      };
      const inputs = Object.fromEntries(this.acoustic.inputNames.map((name) => [name, asked[name]]));
      const { mel } = await this.acoustic.run(inputs);
      const source = this.excitation ? await this.excitation.run({ mel }) : {};
      const { wave } = await this.vocoder.run({ mel, ...source });
      yield limited(number ? joined([this.gap, wave.data]) : wave.data);
    }
  }

  // Return all samples of a text, its reading, and how many seconds it took.
  async say(text, options) {
    const began = performance.now(), reading = this.reader.read(text), parts = [];
    for await (const part of this.speak(reading, options)) parts.push(part);
    return { wave: joined(parts), reading, seconds: (performance.now() - began) / 1000 };
  }
}

// Return samples as a WAV file of 16 bits.
export function wavFile(wave, sampleRate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * wave.length));
  const ascii = (at, text) => [...text].forEach((sign, place) => view.setUint8(at + place, sign.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, 36 + 2 * wave.length, true);
  ascii(8, "WAVEfmt ");
  [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, sampleRate, 4], [28, 2 * sampleRate, 4], [32, 2, 2], [34, 16, 2]].forEach(
    ([at, value, bytes]) => (bytes === 4 ? view.setUint32(at, value, true) : view.setUint16(at, value, true)));
  ascii(36, "data");
  view.setUint32(40, 2 * wave.length, true);
  const whole = (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767);
  wave.forEach((sample, place) => view.setInt16(44 + 2 * place, whole(sample), true));
  return new Blob([view], { type: "audio/wav" });
}

function joined(parts) {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

// Return samples that no file clips: those above the knee are bent to stay below 1, as malsori's own voice has them.
function limited(wave) {
  const knee = 0.9, room = 1 - knee;
  const bent = (size) => knee + room * Math.tanh((size - knee) / room);
  return wave.map((sample) => (Math.abs(sample) > knee ? Math.sign(sample) * bent(Math.abs(sample)) : sample));
}

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer;
}

const json = async (name) => (await fetched(name)).json();
