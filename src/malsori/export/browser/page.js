// The page: what is typed goes to the voice, what it says to the player.

import { loadVoice, wavFile } from "./voice.js";

const part = (name) => document.getElementById(name);
const STEPS = { reading: "읽기 규칙을 부르는 중 · reading rules", voice: "목소리를 부르는 중 · voice", vocoder: "보코더를 부르는 중 · vocoder", "": "" };

function tell(text) {
  part("status").textContent = text;
}

function show(name, text) {
  part(name).textContent = text;
  part(name).hidden = !text;
}

async function say(voice) {
  part("say").disabled = true;
  tell("만드는 중 · synthesizing");
  try {
    const options = { speaker: part("speaker").value, speed: Number(part("speed").value) };
    const { wave, reading, seconds } = await voice.say(part("text").value, options);
    show("unread", reading.unread.length ? `읽지 못한 글자 · left out: ${reading.unread.join(" ")}` : "");
    if (!wave.length) {
      tell("읽을 한글이 없습니다 · there is no Hangul to read");
      return;
    }
    const length = wave.length / voice.sampleRate;
    URL.revokeObjectURL(part("sound").src);
    part("sound").src = part("file").href = URL.createObjectURL(wavFile(wave, voice.sampleRate));
    part("sound").hidden = part("file").hidden = part("reading").hidden = false;
    part("pronounced").textContent = reading.pronounced;
    tell(`${length.toFixed(2)}초 · ${(seconds / length).toFixed(2)} × real time`);
    part("sound").play().catch(() => undefined); // a browser may want a click first
  } catch (error) {
    tell(`말하지 못했습니다 · failed: ${error.message}`);
  } finally {
    part("say").disabled = false;
  }
}

try {
  const voice = await loadVoice((step) => tell(STEPS[step]));
  for (const speaker of voice.speakers) part("speaker").add(new Option(speaker, speaker));
  part("speaker").parentElement.hidden = voice.speakers.length < 2;
  part("speed").addEventListener("input", () => (part("pace").value = part("speed").value));
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    say(voice);
  });
  globalThis.malsori = voice;
  part("say").disabled = false;
} catch (error) {
  tell(`부르지 못했습니다 · could not be loaded: ${error.message}`);
}
