"use strict";
/* How a system's losses combine: weights that move, shares that follow. */
(function (root, make) {
  const node = typeof module !== "undefined" && module.exports;
  const toy = make(node ? require("./board.js") : root.malsoriBoard);
  if (node) module.exports = toy;
  else (root.malsoriToys = root.malsoriToys || {}).losses = toy;
})(typeof self !== "undefined" ? self : this, function (tools) {
  /** Each loss's share of the weighted total. */
  function shares(values, weights) {
    const weighted = values.map((value, i) => Math.abs(value * weights[i])), total = weighted.reduce((a, b) => a + b, 0);
    return weighted.map((part) => (total ? part / total : 0));
  }

  /** A weight from 0 to 100 on a slider from 0 to 100 that is fine near 0. */
  const weightAt = (place) => (place <= 0 ? 0 : Math.pow(10, place / 25 - 2));
  const placeOf = (weight) => (weight <= 0 ? 0 : 25 * (Math.log10(weight) + 2));
  const COLORS = ["#0072b2", "#b34e00", "#007a59", "#a3478a", "#856600", "#2b7fae", "#7f3fbf"];

  const WORDS = {
    ko: { system: "시스템", turn: "차례", value: "잰 값", share: "몫", gradient: "기울기", weight: "가중치", reset: "레시피의 가중치로", equal: "모두 1로", total: "전체", label: "손실이 전체로 모이는 그림: 선이 굵을수록 몫이 큽니다" },
    en: { system: "system", turn: "turn", value: "measured", share: "share", gradient: "gradient", weight: "weight", reset: "the recipe's weights", equal: "all 1", total: "total", label: "Losses flow into the total: the thicker the line, the larger the share" },
  };

  function mount(place, data, language) {
    const words = WORDS[language], panel = tools.make("div", {});
    let weights = [], turn = null;

    function draw(surface, cells) {
      const found = shares(turn.losses.map((loss) => loss.value), weights), { pen } = surface, rows = found.length;
      pen.clearRect(0, 0, surface.width, surface.height);
      pen.font = "15px sans-serif";
      const from = Math.max(0.26 * surface.width, ...turn.losses.map((loss) => pen.measureText(loss.name[language]).width + 12)), to = surface.width - 100;
      found.forEach((share, i) => {
        const y = (surface.height * (i + 0.5)) / rows;
        pen.strokeStyle = COLORS[i % COLORS.length]; pen.lineWidth = 1 + 34 * share; pen.globalAlpha = 0.75;
        pen.beginPath(); pen.moveTo(from, y); pen.bezierCurveTo((from + to) / 2, y, (from + to) / 2, surface.height / 2, to, surface.height / 2); pen.stroke();
        pen.globalAlpha = 1; pen.fillStyle = COLORS[i % COLORS.length]; pen.font = "15px sans-serif"; pen.textAlign = "right";
        pen.fillText(turn.losses[i].name[language], from - 8, y + 5);
        cells[i].textContent = `${(100 * share).toFixed(1)} %`;
      });
      const total = turn.losses.reduce((sum, loss, i) => sum + loss.value * weights[i], 0);
      pen.textAlign = "left"; pen.fillStyle = "#222"; pen.font = "bold 15px sans-serif";
      pen.fillText(`Σ ${total.toFixed(2)}`, to + 8, surface.height / 2 + 5);
    }

    function show(chosen) {
      turn = chosen;
      weights = turn.losses.map((loss) => loss.weight);
      const surface = tools.canvas(720, Math.max(120, 56 * turn.losses.length), words.label);
      const cells = turn.losses.map((_, i) => tools.make("output", { "data-value": `share${i}` }));
      const sliders = turn.losses.map((loss, i) => tools.slider(`${words.weight}: ${loss.name[language]}`, 0, 100, 0.5, placeOf(loss.weight), (at) => { weights[i] = weightAt(at); draw(surface, cells); return weights[i].toPrecision(3); }));
      sliders.forEach((control, i) => { control.shown.textContent = String(turn.losses[i].weight); });
      const rows = turn.losses.map((loss, i) => tools.make("tr", {}, tools.make("th", { scope: "row" }, loss.name[language]), tools.make("td", {}, loss.value.toFixed(3)), tools.make("td", {}, loss.gradient.toPrecision(2)), tools.make("td", {}, cells[i])));
      const set = (of) => () => { weights = turn.losses.map(of); sliders.forEach((control, i) => { control.input.value = placeOf(weights[i]); control.shown.textContent = String(weights[i]); }); draw(surface, cells); };
      panel.replaceChildren(surface.element,
        tools.make("table", {}, tools.make("thead", {}, tools.make("tr", {}, ...["", words.value, words.gradient, words.share].map((head) => tools.make(head ? "th" : "td", head ? { scope: "col" } : {}, head)))), tools.make("tbody", {}, ...rows)),
        ...sliders, tools.make("p", {}, tools.button(words.reset, set((loss) => loss.weight)), " ", tools.button(words.equal, set(() => 1))));
      draw(surface, cells);
    }

    function open(number) {
      const { turns } = data.systems[number];
      turnChoice.select.replaceChildren(...turns.map((one, index) => tools.make("option", { value: index }, one.name[language])));
      system = number;
      show(turns[0]);
    }

    let system = 0;
    const turnChoice = tools.choice(words.turn, [], (index) => show(data.systems[system].turns[index]));
    const systemChoice = tools.choice(words.system, data.systems.map((one) => one.name), open);
    place.append(tools.make("div", { class: "toy-row" }, systemChoice, turnChoice), panel);
    const first = Math.max(0, data.systems.findIndex((one) => one.name === "hifigan"));
    systemChoice.select.value = first;
    open(first);
    const longest = data.systems[first].turns.findIndex((one) => one.losses.length > 1);
    if (longest > 0) { turnChoice.select.value = longest; show(data.systems[first].turns[longest]); }
  }

  return { shares, weightAt, placeOf, mount };
});
