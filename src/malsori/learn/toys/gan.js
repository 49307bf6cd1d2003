"use strict";
/* A GAN as two boards that take turns. */
(function (root, make) {
  const node = typeof module !== "undefined" && module.exports;
  const toy = make(node ? require("./board.js") : root.malsoriBoard);
  if (node) module.exports = toy;
  else (root.malsoriToys = root.malsoriToys || {}).gan = toy;
})(typeof self !== "undefined" ? self : this, function (tools) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

  /** Both players; steps of plain gradient descent, their gradients worked out by hand. */
  class Game {
    constructor(data) {
      this.data = data;
      this.judge = data.centers.map(() => 0);
      [this.shift, this.scale] = data.start;
    }
    bumps(x) { return this.data.centers.map((center) => Math.exp(-((x - center) ** 2) / (2 * this.data.width ** 2))); }
    score(x) { return this.bumps(x).reduce((sum, bump, i) => sum + bump * this.judge[i], 0); }
    slope(x) { return this.bumps(x).reduce((sum, bump, i) => sum - (bump * this.judge[i] * (x - this.data.centers[i])) / this.data.width ** 2, 0); }
    fake() { return this.data.noise.map((z) => this.shift + this.scale * z); }
    losses() {
      const fake = this.fake().map((x) => this.score(x));
      return { judge: mean(this.data.real.map((x) => (this.score(x) - 1) ** 2)) + mean(fake.map((s) => s ** 2)), generator: mean(fake.map((s) => (s - 1) ** 2)) };
    }
    turn(player) {
      const { real, noise, judgeRate, generatorRate } = this.data, fake = this.fake();
      if (player === "judge") {
        const slope = this.judge.map(() => 0);
        for (const x of real) { const s = this.score(x); this.bumps(x).forEach((bump, i) => { slope[i] += (2 * (s - 1) * bump) / real.length; }); }
        for (const x of fake) { const s = this.score(x); this.bumps(x).forEach((bump, i) => { slope[i] += (2 * s * bump) / fake.length; }); }
        this.judge = this.judge.map((value, i) => value - judgeRate * slope[i]);
      } else {
        let shift = 0, scale = 0;
        fake.forEach((x, i) => { const pull = (2 * (this.score(x) - 1) * this.slope(x)) / fake.length; shift += pull; scale += pull * noise[i]; });
        this.shift -= generatorRate * shift;
        this.scale -= generatorRate * scale;
      }
    }
  }

  const WORDS = {
    ko: { judge: "판별기 차례", generator: "생성기 차례", ten: "번갈아 열 라운드", reset: "처음으로", shift: "G의 위치", scale: "G의 폭", judgeLoss: "D의 손실", generatorLoss: "G의 손실", round: "둔 수 (D, G)",
      boards: ["판별기의 판: 곡선은 D(x), 1이면 진짜", "생성기의 판: 파랑은 진짜, 주황은 G가 만든 것"] },
    en: { judge: "discriminator's turn", generator: "generator's turn", ten: "ten rounds", reset: "start again", shift: "G's place", scale: "G's width", judgeLoss: "D's loss", generatorLoss: "G's loss", round: "moves (D, G)",
      boards: ["The discriminator's board: the curve is D(x), 1 is real", "The generator's board: blue is real, orange is what G makes"] },
  };

  function mount(place, data, language) {
    const words = WORDS[language], left = tools.canvas(350, 240, words.boards[0]), right = tools.canvas(350, 240, words.boards[1]);
    const shown = tools.numbers([["judge", words.judgeLoss], ["generator", words.generatorLoss], ["shift", words.shift], ["scale", words.scale], ["moves", words.round]]);
    let game = new Game(data), moves = [0, 0];
    const { width } = left, unit = width / 6.25, x = (value) => width / 2 + value * unit, y = (score) => 180 - score * 110;

    function dots(pen, values, row, color) {
      pen.fillStyle = color;
      values.forEach((value) => { pen.beginPath(); pen.arc(x(value), row, 4, 0, 7); pen.fill(); });
    }

    function draw() {
      for (const board of [left, right]) { board.pen.clearRect(0, 0, width, 240); board.pen.strokeStyle = "#bbb"; board.pen.lineWidth = 1; board.pen.strokeRect(0.5, 0.5, width - 1, 239); }
      const { pen } = left;
      pen.fillStyle = "#666"; pen.font = "12px sans-serif";
      for (const score of [0, 1]) { pen.beginPath(); pen.moveTo(0, y(score)); pen.lineTo(width, y(score)); pen.stroke(); pen.fillText(String(score), 4, y(score) - 4); }
      pen.strokeStyle = "#009e73"; pen.lineWidth = 3; pen.beginPath();
      for (let value = -3; value <= 3.01; value += 0.05) pen.lineTo(x(value), y(game.score(value)));
      pen.stroke();
      dots(pen, data.real, 215, "rgba(0,114,178,.6)");
      dots(pen, game.fake(), 228, "rgba(213,94,0,.6)");
      const bins = (values) => { const counts = new Array(30).fill(0); values.forEach((v) => { const k = Math.floor((v + 3) * 5); if (k >= 0 && k < 30) counts[k]++; }); return counts; };
      const heaps = [[bins(data.real), "rgba(0,114,178,.55)"], [bins(game.fake()), "rgba(213,94,0,.55)"]];
      const tall = 210 / Math.max(...heaps.flatMap(([counts]) => counts), 1);
      heaps.forEach(([counts, color]) => {
        right.pen.fillStyle = color;
        counts.forEach((count, k) => right.pen.fillRect(x(-3 + k / 5), 230 - count * tall, unit / 5 - 1, count * tall));
      });
      const losses = game.losses();
      shown.show({ judge: losses.judge.toFixed(3), generator: losses.generator.toFixed(3), shift: game.shift.toFixed(2), scale: game.scale.toFixed(2), moves: moves.join(", ") });
      shift.input.value = game.shift; shift.shown.textContent = game.shift.toFixed(2);
      scale.input.value = game.scale; scale.shown.textContent = game.scale.toFixed(2);
    }

    function go(player) { game.turn(player); moves[player === "judge" ? 0 : 1]++; }
    const shift = tools.slider(words.shift, -2.5, 2.5, 0.01, data.start[0], (value) => { game.shift = value; draw(); return value.toFixed(2); });
    const scale = tools.slider(words.scale, -1.5, 1.5, 0.01, data.start[1], (value) => { game.scale = value; draw(); return value.toFixed(2); });
    tools.drag(right, (at) => { game.shift = Math.max(-2.5, Math.min(2.5, (at - width / 2) / unit)); draw(); });
    place.append(
      tools.make("div", { class: "toy-row" }, tools.make("figure", {}, left.element, tools.make("figcaption", {}, words.boards[0])), tools.make("figure", {}, right.element, tools.make("figcaption", {}, words.boards[1]))),
      tools.make("p", {}, tools.button(words.judge, () => { go("judge"); draw(); }), " ", tools.button(words.generator, () => { go("generator"); draw(); }), " ",
        tools.button(words.ten, () => { for (let i = 0; i < 10; i++) { go("judge"); go("generator"); } draw(); }), " ", tools.button(words.reset, () => { game = new Game(data); moves = [0, 0]; draw(); })),
      shift, scale, shown.list,
    );
    draw();
  }

  return { Game, mount };
});
