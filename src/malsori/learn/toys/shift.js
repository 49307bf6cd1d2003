"use strict";
/* Ground truth as rows under one wave; an alignment that is shifted, and the voice it teaches. */
(function (root, make) {
  const node = typeof module !== "undefined" && module.exports;
  const toy = make(node ? require("./board.js") : root.malsoriBoard);
  if (node) module.exports = toy;
  else (root.malsoriToys = root.malsoriToys || {}).shift = toy;
})(typeof self !== "undefined" ? self : this, function (tools) {
  /** Beginning, middle and end of a stretch of frames, each at least a frame. */
  function partsOf(begin, end, parts) {
    return Array.from({ length: parts }, (_, part) => {
      const first = begin + Math.floor(((end - begin) * part) / parts);
      return [first, Math.max(first + 1, begin + Math.floor(((end - begin) * (part + 1)) / parts))];
    });
  }

  /** Each phone's mean vectors, learnt with every boundary later by `shift` frames. */
  function taught(sentences, shift, parts) {
    const sums = {};
    for (const { phones, edges, mel } of sentences) phones.forEach((phone, index) => {
      partsOf(edges[index] + shift, edges[index + 1] + shift, parts).forEach(([first, last], part) => {
        const from = Math.max(0, Math.min(first, mel.length - 1)), to = Math.max(1, Math.min(last, mel.length));
        sums[phone] = sums[phone] || Array.from({ length: parts }, () => ({ total: new Float64Array(mel[0].length), count: 0 }));
        for (let t = from; t < to; t++) { mel[t].forEach((value, c) => { sums[phone][part].total[c] += value; }); sums[phone][part].count++; }
      });
    });
    return Object.fromEntries(Object.entries(sums).map(([phone, all]) => [phone, all.map(({ total, count }) => total.map((value) => value / Math.max(count, 1)))]));
  }

  /** The word as the voice says it that was taught so, and as it is: mels of one length. */
  function said(sentences, word, shift, parts) {
    const vectors = taught(sentences, shift, parts), ours = [];
    word.phones.forEach((phone, index) => {
      const cuts = [...partsOf(word.edges[index], word.edges[index + 1], parts).map(([first]) => first), word.edges[index + 1]];
      for (let part = 0; part < parts; part++) for (let t = cuts[part]; t < cuts[part + 1]; t++) ours.push(vectors[phone][part]);
    });
    return { ours, theirs: word.mel.slice(word.edges[0], word.edges[0] + ours.length) };
  }

  function l1(ours, theirs) {
    let sum = 0;
    ours.forEach((row, t) => row.forEach((value, c) => { sum += Math.abs(value - theirs[t][c]); }));
    return sum / (ours.length * ours[0].length);
  }

  const opened = (sentence) => ({ ...sentence, mel: tools.unpack(sentence.mel) });

  const WORDS = {
    ko: { shift: "경계를", late: "늦게", early: "일찍", right: "그대로", hear: "이렇게 배운 “사랑해” 듣기", hearTrue: "정답 듣기", error: "정답과의 L1", label: "한 녹음의 정답 줄: 파형, 어절, 음소와 길이, F0, 에너지, 멜",
      rows: ["파형", "글", "음소", "F0", "에너지", "멜"], ms: "옮김 (ms)" },
    en: { shift: "boundaries", late: "late", early: "early", right: "as they are", hear: "hear 사랑해, learnt so", hearTrue: "hear the truth", error: "L1 to the truth", label: "The rows of one recording's ground truth: wave, words, phones with durations, F0, energy, mel",
      rows: ["wave", "text", "phones", "F0", "energy", "mel"], ms: "moved (ms)" },
  };

  function mount(place, data, language) {
    const words = WORDS[language], sentences = data.sentences.map(opened), word = opened(data.word), mel = tools.unpack(data.rows.mel);
    const surface = tools.canvas(720, 330, words.label), { pen } = surface, left = 52, step = data.audio.hop_samples / data.audio.sample_rate;
    const shown = tools.numbers([["ms", words.ms], ["error", words.error]]);
    let shift = 0;
    const x = (seconds) => left + ((surface.width - left) * seconds) / data.rows.seconds;

    function line(values, top, height, low, high, color) {
      pen.strokeStyle = color; pen.lineWidth = 2; pen.beginPath();
      let down = false;
      values.forEach((value, t) => {
        if (value <= low) { down = false; return; }
        const at = [x(t * step), top + height - (height * (value - low)) / (high - low)];
        if (down) pen.lineTo(...at); else pen.moveTo(...at);
        down = true;
      });
      pen.stroke();
    }

    function spans(list, top, height, moved) {
      list.forEach((span) => {
        const from = x(Math.max(0, span.start + moved)), to = x(Math.min(data.rows.seconds, span.end + moved));
        pen.fillStyle = moved ? "#fde8d8" : "#e8f1fa"; pen.fillRect(from, top, to - from - 1, height);
        pen.fillStyle = "#222"; pen.font = "13px sans-serif"; pen.textAlign = "center";
        if (to - from > 7) pen.fillText(span.text.replace(/^-/, ""), (from + to) / 2, top + height / 2 + 5);
      });
      pen.textAlign = "left";
    }

    function draw() {
      const { rows } = data, moved = shift * step;
      pen.clearRect(0, 0, surface.width, surface.height);
      pen.fillStyle = "#0072b2";
      rows.wave.forEach((value, i) => pen.fillRect(x((i * rows.seconds) / rows.wave.length), 35 - 32 * value, 2, 64 * value + 1));
      spans(rows.words, 72, 24, 0);
      spans(rows.phones, 100, 24, moved);
      line(rows.pitch, 130, 44, 60, 320, "#009e73");
      line(rows.energy, 178, 36, Math.min(...rows.energy) - 1e-9, Math.max(...rows.energy), "#d55e00");
      const height = 108 / mel[0].length;
      mel.forEach((row, t) => row.forEach((value, c) => { pen.fillStyle = tools.melColor(value); pen.fillRect(x(t * step), 328 - (c + 1) * height, x(step) - left + 0.6, height + 0.6); }));
      pen.strokeStyle = "rgba(255,255,255,.8)"; pen.lineWidth = 1; pen.beginPath();
      rows.phones.forEach((span) => { pen.moveTo(x(span.start + moved), 220); pen.lineTo(x(span.start + moved), 328); });
      pen.stroke();
      pen.fillStyle = "#333"; pen.font = "13px sans-serif";
      words.rows.forEach((name, row) => pen.fillText(name, 2, [38, 88, 116, 156, 200, 276][row]));
      const { ours, theirs } = said(sentences, word, shift, data.parts);
      shown.show({ ms: (1000 * moved).toFixed(0), error: l1(ours, theirs).toFixed(3) });
    }

    let from = null;
    tools.drag(surface, (at, _, first) => {
      if (first) { from = at - (shift * step * (surface.width - left)) / data.rows.seconds; return; }
      const frames = Math.round((((at - from) / (surface.width - left)) * data.rows.seconds) / step);
      control.input.value = Math.max(-data.maxShift, Math.min(data.maxShift, frames));
      control.input.dispatchEvent(new Event("input"));
    });
    const control = tools.slider(words.shift, -data.maxShift, data.maxShift, 1, 0, (value) => {
      shift = value;
      draw();
      return value ? `${Math.abs(1000 * value * step).toFixed(0)} ms ${value > 0 ? words.late : words.early}` : words.right;
    });
    control.shown.textContent = words.right;
    place.append(surface.element, control, tools.make("p", {},
      tools.button("▶ " + words.hear, () => tools.play(tools.griffinLim(said(sentences, word, shift, data.parts).ours, data.audio), data.audio.sample_rate)), " ",
      tools.button("▶ " + words.hearTrue, () => tools.play(tools.griffinLim(word.mel, data.audio), data.audio.sample_rate))), shown.list);
    draw();
  }

  return { partsOf, taught, said, l1, opened, mount };
});
