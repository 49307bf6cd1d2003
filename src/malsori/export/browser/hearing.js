// The part of the page that listens: a file, the microphone, or what was just said.

import { loadRecognizer, record, samplesOf, SAMPLE_RATE } from "./listen.js";

const part = (name) => document.getElementById(name);
let recognizer, stop, busy = false;

function tell(text) {
  part("hearing").textContent = text;
}

function update() {
  part("sound-file").disabled = busy || Boolean(stop);
  part("record").disabled = busy;
  part("hear-said").disabled = busy || Boolean(stop) || part("sound").hidden;
  part("record").firstChild.textContent = stop ? "녹음 끝내기 " : "녹음 ";
  part("record").lastElementChild.textContent = stop ? "Stop" : "Record";
}

// Return the recognizer, which is loaded when it is first asked for.
async function loaded() {
  if (recognizer) return recognizer;
  tell("인식기를 부르는 중 · loading the recognizer");
  part("loading").hidden = false;
  try {
    recognizer = await loadRecognizer(({ loaded: count, bytes }) => {
      part("loading").value = count / bytes;
      if (count === bytes) tell("인식기를 여는 중 · opening the recognizer");
    });
  } finally {
    part("loading").hidden = true;
  }
  return recognizer;
}

// Write what is heard in a file that is there, or that is being fetched: meanwhile nothing else can be asked for.
async function hear(file) {
  busy = true;
  update();
  part("heard").textContent = "";
  try {
    const ear = await loaded();
    tell("듣는 중 · listening");
    const samples = await Promise.resolve(file).then(samplesOf).catch(() => {
      throw new Error("브라우저가 모르는 소리 파일 · the browser cannot read this sound");
    });
    const length = samples.length / SAMPLE_RATE;
    const { text, seconds } = await ear.transcribe(samples, (so) => {
      part("heard").textContent = so.text;
      if (so.seconds < length) tell(`듣는 중 · listening: ${so.seconds.toFixed(0)} / ${length.toFixed(0)} s`);
    });
    part("heard").textContent = text;
    const time = `${length.toFixed(2)}초 · ${(seconds / length).toFixed(2)} × real time`;
    tell(text ? time : `말소리가 들리지 않습니다 · no speech is heard (${time})`);
  } catch (error) {
    tell(`듣지 못했습니다 · failed: ${error.message}`);
  } finally {
    busy = false;
    update();
  }
}

async function toggleRecording() {
  if (stop) {
    const ended = stop;
    stop = undefined;
    await hear(ended());
    return;
  }
  try {
    stop = await record();
    tell("녹음하는 중. 다시 누르면 끝납니다 · recording; press again to stop");
  } catch (error) {
    tell(`마이크를 쓸 수 없습니다 · no microphone: ${error.message}`);
  }
  update();
}

part("sound-file").addEventListener("click", ({ target }) => (target.value = "")); // the same file may be heard again
part("sound-file").addEventListener("change", ({ target }) => {
  if (target.files.length) hear(target.files[0]);
});
part("record").addEventListener("click", toggleRecording);
part("hear-said").addEventListener("click", () => hear(fetch(part("file").href).then((answer) => answer.blob())));
part("sound").addEventListener("loadeddata", update);
update();
