"use strict";
/* The mel that is rubbed: L1, L2, features, adversarial; and what it sounds like. */
(function (root, make) {
  const node = typeof module !== "undefined" && module.exports;
  const toy = make(node ? require("./board.js") : root.malsoriBoard);
  if (node) module.exports = toy;
  else (root.malsoriToys = root.malsoriToys || {}).mel = toy;
})(typeof self !== "undefined" ? self : this, function (tools) {
  /** The toy discriminator: a score and 8 features a frame. */
  function judged(mel, judge) {
    const frames = mel.length, channels = mel[0].length, { width, kernel, slope } = judge, half = (kernel - 1) / 2;
    const maps = Array.from({ length: width }, () => new Float64Array(frames));
    for (let f = 0; f < width; f++) for (let t = 0; t < frames; t++) {
      let sum = judge.featuresBias[f];
      for (let k = 0; k < kernel; k++) {
        const row = mel[t + k - half];
        if (row) for (let c = 0; c < channels; c++) sum += judge.features[(f * channels + c) * kernel + k] * (row[c] / 4 + 1);
      }
      maps[f][t] = sum > 0 ? sum : slope * sum;
    }
    const scores = Float64Array.from({ length: frames }, (_, t) => {
      let sum = judge.scoreBias[0];
      for (let f = 0; f < width; f++) for (let k = 0; k < kernel; k++) {
        const value = maps[f][t + k - half];
        if (value !== undefined) sum += judge.score[f * kernel + k] * value;
      }
      return sum;
    });
    return { scores, maps };
  }

  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

  /** The four terms of a changed mel against the true one. */
  function terms(changed, target, judge) {
    let l1 = 0, l2 = 0;
    changed.forEach((row, t) => row.forEach((value, c) => { const d = value - target[t][c]; l1 += Math.abs(d); l2 += d * d; }));
    const count = target.length * target[0].length, real = judged(target, judge), fake = judged(changed, judge);
    const features = mean(fake.maps.map((map, f) => mean(Array.from(map, (value, t) => Math.abs(value - real.maps[f][t])))));
    return { l1: l1 / count, l2: l2 / count, features, adversarial: mean(Array.from(fake.scores, (score) => (score - 1) ** 2)) };
  }

  /** A cell's mean over a square, as much of it as there is. */
  function around(mel, t, c, half) {
    let sum = 0, count = 0;
    for (let i = Math.max(0, t - half); i <= Math.min(mel.length - 1, t + half); i++)
      for (let j = Math.max(0, c - half); j <= Math.min(mel[0].length - 1, c + half); j++) { sum += mel[i][j]; count++; }
    return sum / count;
  }

  const blurred = (mel, half) => mel.map((row, t) => Float64Array.from(row, (_, c) => around(mel, t, c, half)));
  const late = (mel) => [mel[0], ...mel.slice(0, -1)].map((row) => Float64Array.from(row));
  const quiet = (mel) => mel.map((row) => Float64Array.from(row, (value) => value - Math.log(2)));

  const WORDS = {
    ko: { brush: "붓", brushes: ["문지르기 (흐려짐)", "지우기 (조용해짐)", "키우기 (+3 dB)", "되돌리기"], blur: "전체 흐리게", late: "한 프레임 늦게", quiet: "6 dB 작게", reset: "처음으로", hear: "결과 듣기", hearTrue: "정답 듣기",
      l1: "L1", l2: "L2", features: "특징", adversarial: "적대적", label: "사랑해의 멜: 가로는 시간, 세로는 주파수. 끌어서 문지릅니다", help: "멜을 끌어 보세요. 아래 네 수가 함께 움직입니다." },
    en: { brush: "brush", brushes: ["rub (blur)", "erase (silence)", "louder (+3 dB)", "restore"], blur: "blur all", late: "a frame late", quiet: "6 dB down", reset: "start again", hear: "hear the result", hearTrue: "hear the truth",
      l1: "L1", l2: "L2", features: "features", adversarial: "adversarial", label: "The mel of 사랑해: time across, frequency up. Drag to rub it", help: "Drag over the mel: the four numbers move with it." },
  };

  function mount(place, data, language) {
    const words = WORDS[language], target = tools.unpack(data.mel);
    let mel = target.map((row) => Float64Array.from(row)), kind = 0;
    const surface = tools.canvas(700, 240, words.label), shown = tools.numbers(["l1", "l2", "features", "adversarial"].map((key) => [key, words[key]]));
    const cell = [surface.width / target.length, surface.height / target[0].length];

    function draw() {
      mel.forEach((row, t) => row.forEach((value, c) => {
        surface.pen.fillStyle = tools.melColor(value);
        surface.pen.fillRect(t * cell[0], surface.height - (c + 1) * cell[1], cell[0] + 0.5, cell[1] + 0.5);
      }));
      const found = terms(mel, target, data.judge);
      shown.show(Object.fromEntries(Object.entries(found).map(([key, value]) => [key, value.toFixed(3)])));
    }

    function touch(x, y) {
      const t0 = Math.floor(x / cell[0]), c0 = Math.floor((surface.height - y) / cell[1]), before = mel.map((row) => Float64Array.from(row));
      for (let t = t0 - 2; t <= t0 + 2; t++) for (let c = c0 - 5; c <= c0 + 5; c++) {
        if (!mel[t] || mel[t][c] === undefined) continue;
        mel[t][c] = [() => around(before, t, c, 2), () => -11.5, () => Math.min(2, before[t][c] + 0.345), () => target[t][c]][kind]();
      }
      draw();
    }

    const change = (make) => () => { mel = make(mel); draw(); };
    tools.drag(surface, touch);
    place.append(
      tools.make("div", { class: "toy-row" }, tools.choice(words.brush, words.brushes, (number) => { kind = number; })), surface.element, tools.make("p", { class: "toy-help" }, words.help),
      tools.make("p", {}, tools.button(words.blur, change((now) => blurred(now, 2))), " ", tools.button(words.late, change(late)), " ", tools.button(words.quiet, change(quiet)), " ",
        tools.button(words.reset, change(() => target.map((row) => Float64Array.from(row))))),
      tools.make("p", {}, tools.button("▶ " + words.hear, () => tools.play(tools.griffinLim(mel, data.audio), data.audio.sample_rate)), " ",
        tools.button("▶ " + words.hearTrue, () => tools.play(tools.griffinLim(target, data.audio), data.audio.sample_rate))),
      shown.list,
    );
    draw();
  }

  return { judged, terms, blurred, late, quiet, mount };
});
