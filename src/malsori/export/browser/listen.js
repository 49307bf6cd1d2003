// Listening in the browser: sounds as samples, the microphone, and a recognizer that computes in a worker.

export const SAMPLE_RATE = 16000;

// Return the recognizer of a page's folder once it is loaded; told is called with {loaded, bytes} as it comes.
export async function loadRecognizer(told) {
  const worker = new Worker(new URL("./recognizer.js", import.meta.url), { type: "module" });
  const listener = new Listener(worker);
  try {
    await listener.answer(0, told);
  } catch (error) {
    worker.terminate();
    throw error;
  }
  return listener;
}

class Listener {
  constructor(worker) {
    Object.assign(this, { worker, asked: 0, waiting: new Map() });
    worker.addEventListener("message", ({ data }) => this.receive(data));
    worker.addEventListener("error", (event) => this.fail(event.message || "the worker did not start"));
  }

  // Return {text, seconds}: what is said in samples at SAMPLE_RATE, and how long it took; told is called with
  // {text, seconds} of the sound so far.
  async transcribe(samples, told) {
    const began = performance.now(), number = (this.asked += 1);
    this.worker.postMessage({ number, samples });
    return { text: await this.answer(number, told), seconds: (performance.now() - began) / 1000 };
  }

  answer(number, told = () => {}) {
    return new Promise((resolve, reject) => this.waiting.set(number, { told, resolve, reject }));
  }

  receive({ number, told, text, error }) {
    const asker = this.waiting.get(number);
    if (!asker) return;
    if (told) {
      asker.told(told);
      return;
    }
    this.waiting.delete(number);
    if (error === undefined) asker.resolve(text);
    else asker.reject(new Error(error));
  }

  fail(message) {
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }
}

// Return a sound file's samples at SAMPLE_RATE, its channels mixed.
export async function samplesOf(file) {
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE); // decodes to its own rate
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mixed = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++)
    sound.getChannelData(channel).forEach((sample, place) => (mixed[place] += sample / sound.numberOfChannels));
  return mixed;
}

// Begin to record; return what ends it and gives the sound as a file.
export async function record() {
  if (!navigator.mediaDevices) throw new Error("a page gets the microphone by https or on localhost alone");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream), parts = [];
  recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
  const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
  recorder.start();
  return async () => {
    if (recorder.state !== "inactive") recorder.stop();
    await stopped;
    stream.getTracks().forEach((track) => track.stop());
    return new Blob(parts, { type: recorder.mimeType });
  };
}
