"use strict";
/* The CTC board: paint a frame's probabilities, see paths, sums and the gradient. */
(function (root, make) {
  const node = typeof module !== "undefined" && module.exports;
  const toy = make(node ? require("./board.js") : root.malsoriBoard);
  if (node) module.exports = toy;
  else (root.malsoriToys = root.malsoriToys || {}).ctc = toy;
})(typeof self !== "undefined" ? self : this, function (tools) {
  const BLANK = 0;

  /** The targets with a blank before, between and after them. */
  const statesOf = (targets) => [BLANK, ...targets.flatMap((target) => [target, BLANK])];
  const skips = (states, s) => s >= 2 && states[s] !== BLANK && states[s] !== states[s - 2];

  function collapse(path) {
    return path.filter((symbol, index) => symbol !== BLANK && symbol !== path[index - 1]);
  }

  /** How many paths of so many frames collapse to the targets. */
  function countPaths(targets, frames) {
    const states = statesOf(targets);
    let ways = states.map((_, s) => (s < 2 ? 1 : 0));
    for (let t = 1; t < frames; t++) ways = ways.map((way, s) => way + (s ? ways[s - 1] : 0) + (skips(states, s) ? ways[s - 2] : 0));
    return ways[ways.length - 1] + ways[ways.length - 2];
  }

  /** α, β (without its own frame's probability) and P(targets). */
  function forwardBackward(board, targets) {
    const states = statesOf(targets), frames = board.length, last = states.length - 1;
    const ahead = board.map(() => new Float64Array(states.length)), behind = board.map(() => new Float64Array(states.length));
    for (let s = 0; s < 2; s++) ahead[0][s] = board[0][states[s]];
    for (let t = 1; t < frames; t++) for (let s = 0; s <= last; s++) {
      ahead[t][s] = (ahead[t - 1][s] + (s ? ahead[t - 1][s - 1] : 0) + (skips(states, s) ? ahead[t - 1][s - 2] : 0)) * board[t][states[s]];
    }
    behind[frames - 1][last] = behind[frames - 1][last - 1] = 1;
    for (let t = frames - 2; t >= 0; t--) for (let s = 0; s <= last; s++) {
      const onward = (n) => (n <= last ? behind[t + 1][n] * board[t + 1][states[n]] : 0);
      behind[t][s] = onward(s) + onward(s + 1) + (s + 2 <= last && skips(states, s + 2) ? onward(s + 2) : 0);
    }
    return { ahead, behind, probability: ahead[frames - 1][last] + ahead[frames - 1][last - 1] };
  }

  /** γ: how much of the paths to the targets runs through each cell. */
  function occupancy(board, targets) {
    const { ahead, behind, probability } = forwardBackward(board, targets), states = statesOf(targets);
    return board.map((row, t) => {
      const shares = new Float64Array(row.length);
      if (probability > 0) states.forEach((symbol, s) => { shares[symbol] += (ahead[t][s] * behind[t][s]) / probability; });
      return shares;
    });
  }

  /** d(-ln P)/d(logits). */
  function gradient(board, targets) {
    const shares = occupancy(board, targets);
    return board.map((row, t) => Float64Array.from(row, (value, k) => value - shares[t][k]));
  }

  function softmax(logits) {
    const top = Math.max(...logits), parts = logits.map((value) => Math.exp(value - top)), sum = parts.reduce((a, b) => a + b, 0);
    return parts.map((value) => value / sum);
  }

  /** The board with one cell's logit raised, its frame's probabilities made to sum to 1 again. */
  function paint(board, frame, symbol, amount) {
    return board.map((row, t) => (t !== frame ? row : softmax(Array.from(row, (value, k) => Math.log(Math.max(value, 1e-6)) + (k === symbol ? amount : 0)))));
  }

  /** The board one step of gradient descent on its logits later. */
  function step(board, targets, rate) {
    const slope = gradient(board, targets);
    return board.map((row, t) => softmax(Array.from(row, (value, k) => Math.log(Math.max(value, 1e-6)) - rate * slope[t][k])));
  }

  const WORDS = {
    ko: { board: "판", boards: ["사랑해를 칠한 판", "_ _ h e _ l l o _ _", "진짜 녹음: 모델"], word: "목표", view: "보기", views: ["y: 칠한 확률", "γ: 모든 길의 몫", "y − γ: 기울기", "α: 앞에서부터 더한 값", "β: 뒤에서부터 더한 값"],
      brush: "붓", brushes: ["칠하기", "지우기"], step: "기울기로 한 걸음", reset: "처음으로", greedy: "가장 높은 칸", read: "읽으면", paths: "길의 수", probability: "P(목표)", loss: "−ln P",
      help: "칸을 누르거나 끌어서 칠하세요. 키보드로는 화살표로 옮기고 스페이스로 칠합니다.", label: "CTC 판: 가로는 프레임, 세로는 글자" },
    en: { board: "board", boards: ["사랑해, painted", "_ _ h e _ l l o _ _", "a real recording: 모델"], word: "target", view: "view", views: ["y: painted", "γ: share of all paths", "y − γ: gradient", "α: summed from the front", "β: summed from the back"],
      brush: "brush", brushes: ["paint", "rub out"], step: "a step down the gradient", reset: "start again", greedy: "best cells", read: "read as", paths: "paths", probability: "P(target)", loss: "−ln P",
      help: "Press or drag over cells. By keyboard: arrows move, space paints.", label: "CTC board: frames across, symbols down" },
  };

  function mount(place, data, language) {
    const words = WORDS[language], state = { number: 0, word: 0, view: 0, amount: 1, cursor: [0, 1] };
    const surface = tools.canvas(720, 300, words.label), { pen } = surface;
    surface.element.tabIndex = 0;
    const shown = tools.numbers([["greedy", words.greedy], ["read", words.read], ["paths", words.paths], ["probability", words.probability], ["loss", words.loss]]);
    const current = () => data.boards[state.number], targets = () => current().words[state.word].targets;
    /** The symbol of each row: of the board, or, for α and β, of the target with its blanks. */
    const rows = () => (state.view < 3 ? current().symbols.map((_, k) => k) : statesOf(targets()));
    const cell = () => [(surface.width - 30) / state.board.length, surface.height / rows().length];
    const views = [() => state.board, () => occupancy(state.board, targets()), () => gradient(state.board, targets()),
      () => forwardBackward(state.board, targets()).ahead, () => forwardBackward(state.board, targets()).behind];
    /** Written small: sums over many paths may be tiny. */
    const written = (value) => (state.view < 3 || value === 0 ? value.toFixed(2) : value < 0.001 ? value.toExponential(0) : value.toPrecision(2));

    function draw() {
      const { symbols } = current(), values = views[state.view]();
      const [width, height] = cell();
      pen.clearRect(0, 0, surface.width, surface.height);
      values.forEach((row, t) => row.forEach((value, k) => {
        const seen = state.view < 3 ? value : value / Math.max(...row, 1e-300); // of α and β each frame's largest is darkest
        pen.fillStyle = tools.color(seen, state.view === 2);
        pen.fillRect(30 + t * width, k * height, width - 1, height - 1);
        if (width > (state.view < 3 ? 30 : 44)) { pen.fillStyle = Math.abs(seen) > 0.6 ? "#fff" : "#333"; pen.font = "12px sans-serif"; pen.fillText(written(value), 30 + t * width + Math.min(5, width / 2 - 13), k * height + height / 2 + 4); }
      }));
      pen.fillStyle = "#333"; pen.font = "15px sans-serif";
      rows().forEach((symbol, k) => pen.fillText(symbols[symbol].replace(/^-/, ""), 6, k * height + height / 2 + 5));
      pen.strokeStyle = "#d55e00"; pen.lineWidth = 2;
      pen.strokeRect(30 + state.cursor[0] * width, state.cursor[1] * height, width - 1, height - 1);
      const best = state.board.map((row) => row.indexOf(Math.max(...row))), { probability } = forwardBackward(state.board, targets());
      const spell = (path) => path.map((k) => symbols[k].replace(/^-/, "")).join("");
      shown.show({ greedy: spell(best), read: spell(collapse(best)), paths: countPaths(targets(), state.board.length).toLocaleString("en"), probability: probability.toPrecision(4), loss: probability > 0 ? (-Math.log(probability)).toFixed(3) : "∞" });
    }

    function begin() {
      state.board = current().board.map((row) => Array.from(row));
      state.cursor = [0, 1];
      wordChoice.select.replaceChildren(...current().words.map((one, index) => tools.make("option", { value: index }, one.word)));
      state.word = 0;
      draw();
    }

    function touch(frame, row) {
      if (frame < 0 || row < 0 || frame >= state.board.length || row >= rows().length) return;
      state.cursor = [frame, row];
      state.board = paint(state.board, frame, rows()[row], state.amount);
      draw();
    }

    let last = "";
    tools.drag(surface, (x, y, first) => {
      const [width, height] = cell(), at = [Math.floor((x - 30) / width), Math.floor(y / height)];
      if (first || at.join() !== last) touch(...at);
      last = at.join();
    });
    surface.element.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (move) state.cursor = [Math.min(Math.max(state.cursor[0] + move[0], 0), state.board.length - 1), Math.min(Math.max(state.cursor[1] + move[1], 0), rows().length - 1)];
      else if (event.key === " " || event.key === "Enter") touch(...state.cursor);
      else return;
      event.preventDefault();
      draw();
    });
    const boardChoice = tools.choice(words.board, words.boards, (number) => { state.number = number; begin(); });
    const wordChoice = tools.choice(words.word, [], (word) => { state.word = word; state.cursor = [0, 1]; draw(); });
    const viewChoice = tools.choice(words.view, words.views, (view) => { state.view = view; state.cursor = [0, 1]; draw(); });
    const brushChoice = tools.choice(words.brush, words.brushes, (kind) => { state.amount = kind ? -1 : 1; });
    place.append(
      tools.make("div", { class: "toy-row" }, boardChoice, wordChoice, viewChoice, brushChoice), surface.element, tools.make("p", { class: "toy-help" }, words.help),
      tools.make("p", {}, tools.button(words.step, () => { state.board = step(state.board, targets(), 1); draw(); }), " ", tools.button(words.reset, begin)), shown.list,
    );
    begin();
  }

  return { collapse, countPaths, forwardBackward, occupancy, gradient, paint, step, mount };
});
