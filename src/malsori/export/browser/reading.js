// Korean text → phonemes, as malsori's front-end has them, from the table of what every two syllables make of each other.

const FIRST = 0xac00, LAST = 0xd7a3;
const MARKS = ["?", "!", "…", "."];

export class Reader {
  // facts: reading.json; junctions: junctions.bin as Uint16Array; symbols: the voice's phonemes in the order of their ids.
  constructor(facts, junctions, symbols) {
    this.facts = facts;
    this.junctions = junctions;
    this.ids = new Map(symbols.map((symbol, id) => [symbol, id]));
    this.kinds = new Map(facts.kinds.map((kind, place) => [kind, place]));
    const { tail, stem, kept, adnominal } = facts.patterns;
    this.tail = new RegExp(tail, "uy");
    [this.stem, this.kept, this.adnominal] = [stem, kept, adnominal].map((pattern) => new RegExp(pattern, "gu"));
    this.words = new Map(Object.entries(facts.words));
    this.contentWords = new Set(facts.content_words);
    this.longest = Math.max(...[...this.words.keys()].map((word) => word.length));
  }

  // Return {sentences: [[id, ...], ...], pronounced, unread}: what each sentence gives the voice, how the text sounds,
  // and the signs that are left out.
  read(text) {
    const clean = text.normalize("NFC").replace(/\.{2,}/g, "…");
    const words = eojeols(clean);
    const unread = [...new Set(clean.match(/[^가-힣\s,.?!…"'“”‘’()[\]{}<>~·:;/\\-]/gu) ?? [])];
    if (!words.length) return { sentences: [], pronounced: "", unread };
    const sounds = this.pronounce(words);
    const phonemes = this.sentences(words, sounds);
    const ids = phonemes.map((sentence) => sentence.map((symbol) => this.ids.get(symbol)));
    return { sentences: ids, phonemes, pronounced: this.written(words, sounds), unread };
  }

  // Return the text with its words respelled, and the mark on the junction after each syllable, by offset.
  plan(words) {
    const text = words.map((word) => word.text + word.marks).join(" "), spelled = [...text], marks = new Map();
    for (const found of text.matchAll(this.adnominal)) marks.set(found.index, "A");
    for (const found of text.matchAll(this.stem)) marks.set(found.index, "S");
    for (const found of text.matchAll(this.kept)) spelled[found.index] = found[0] === "밟" ? "밥" : "넙";
    for (const found of text.matchAll(/[가-힣]+/gu)) {
      const word = this.wordAt(text, found.index, found.index + found[0].length);
      const spoken = this.words.get(word) || word;
      for (let place = 0; place < word.length; place++) {
        const at = found.index + place;
        if (place < word.length - 1) marks.delete(at);
        if (!this.contentWords.has(word)) spelled[at] = spoken[place];
        else if (word[place] !== spoken[place]) marks.set(at, "C");
      }
    }
    return { text, spelled, marks };
  }

  // Return the longest word of the lexicon that begins an eojeol and ends with it or before what may be a particle.
  wordAt(text, start, end) {
    for (let length = Math.min(this.longest, end - start); length > 0; length--) {
      this.tail.lastIndex = start + length;
      const word = text.slice(start, start + length);
      if (this.words.has(word) && (start + length === end || this.tail.test(text))) return word;
    }
    return "";
  }

  // Return each syllable's onset, nucleus and coda as it sounds, places in the alphabets.
  pronounce(words) {
    const { text, spelled, marks } = this.plan(words);
    const offsets = [...text].flatMap((sign, offset) => (/[가-힣]/u.test(sign) ? [offset] : []));
    const syllables = offsets.map((offset) => decompose(spelled[offset]));
    const kinds = offsets.map((offset, place) => {
      const between = text.slice(offset + 1, offsets[place + 1]);
      const stops = place === offsets.length - 1 || /[,.?!…]/u.test(between);
      return stops ? "|" : between + (marks.get(offset) ?? "");
    });
    const sounds = syllables.map((parts) => [...parts]);
    sounds[0][1] = this.junction("|", 0, syllables[0])[2];
    kinds.forEach((kind, place) => {
      const after = syllables[place + 1] ?? [this.facts.onsets.indexOf("ㅇ"), 0, 0];
      const [coda, onset, nucleus] = this.junction(kind, syllables[place][2], after);
      sounds[place][2] = coda;
      if (place + 1 < sounds.length) [sounds[place + 1][0], sounds[place + 1][1]] = [onset, nucleus];
    });
    return sounds;
  }

  // Return the coda, and the onset and nucleus of the syllable after it, as they sound.
  junction(kind, coda, [onset, nucleus, tail]) {
    const { onsets, nuclei, codas, open_tails } = this.facts;
    const closed = open_tails.includes(codas[tail]) ? 0 : 1;
    const place = (((this.kinds.get(kind) * 2 + closed) * codas.length + coda) * onsets.length + onset) * nuclei.length + nucleus;
    const packed = this.junctions[place];
    const rest = Math.floor(packed / nuclei.length);
    return [Math.floor(rest / onsets.length), rest % onsets.length, packed % nuclei.length];
  }

  // Return the phonemes of each sentence, a boundary between words, its closing mark last.
  sentences(words, sounds) {
    const { onsets, nuclei, codas, start, space, pause, ends, max_phonemes } = this.facts;
    const found = [];
    let open = [start], at = 0;
    const close = (mark) => {
      found.push([...open, mark]);
      open = [start];
    };
    words.forEach((word, number) => {
      const own = sounds.slice(at, at + word.text.length).flatMap(([onset, nucleus, coda]) => [
        ...(onsets[onset] === "ㅇ" ? [] : [onsets[onset]]), nuclei[nucleus], ...(coda ? [`-${codas[coda]}`] : []),
      ]);
      at += word.text.length;
      if (open.length + own.length > max_phonemes && open.length > 1) {
        open.pop();
        close(ends[0]);
      }
      open.push(...own);
      const mark = MARKS.find((one) => word.marks.includes(one));
      if (number === words.length - 1) close(mark ?? ends[0]);
      else if (mark) close(mark);
      else open.push(word.marks ? pause : space);
    });
    return found;
  }

  // Return how the text sounds, in syllables.
  written(words, sounds) {
    let at = 0;
    return words.map((word) => {
      const own = sounds.slice(at, (at += word.text.length)).map(([onset, nucleus, coda]) =>
        String.fromCharCode(FIRST + (onset * 21 + nucleus) * 28 + coda));
      return own.join("") + word.marks;
    }).join(" ");
  }
}

// Return the words of a text, each with the punctuation after it.
function eojeols(text) {
  const words = [];
  for (const [, hangul, marks] of text.matchAll(/([가-힣]+)|([,.?!…]+)/gu)) {
    if (hangul) words.push({ text: hangul, marks: "" });
    else if (words.length) words[words.length - 1].marks += marks;
  }
  return words;
}

function decompose(syllable) {
  const index = syllable.charCodeAt(0) - FIRST;
  if (index < 0 || index > LAST - FIRST) throw new Error(`no syllable: ${syllable}`);
  return [Math.floor(index / 588), Math.floor(index / 28) % 21, index % 28];
}
