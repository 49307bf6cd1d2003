"""CTC worked out in the open: every path, forward and backward sums, the gradient; on a painted or a real board.

A board is a matrix of probabilities, a row a frame, a column a symbol, the blank first.
"""

import itertools
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from malsori.decode.ctc import collapse
from malsori.learn import figures
from malsori.learn.lesson import Clip, Language
from malsori.losses.sequence import ctc_loss, frames_needed
from malsori.report.plots import as_png

if TYPE_CHECKING:
    from malsori.alignment.spans import Alignment
    from malsori.asr.encode import EncoderOutput

BLANK = "_"
#: What is spelled on the first board, and in how many frames.
WORD, FRAMES = "사랑해", 8
#: What is said in lessons/recording.ogg (MIT, Microsoft; NOTICE), and where in it the real board's word stands.
RECORDED, RECORDED_WORD = "데이터, 모델, 테스트", "모델"

Board = Float[np.ndarray, "frames symbols"]


def letters(word: str) -> list[str]:
    """Return the jamo of a word as CTC writes them, compatibility forms: 사랑해 is ㅅㅏㄹㅏㅇㅎㅐ."""
    from malsori.text.hangul import to_jamo

    return [jamo.removeprefix("-") for jamo in to_jamo(word)]


def count_paths(targets: list[int], frames: int) -> int:
    """Return how many paths over a number of frames collapse to the targets: the forward sum with every weight 1."""
    states = _states(targets)
    ways = [1, 1] + [0] * (len(states) - 2)
    for _ in range(frames - 1):
        ways = [
            ways[s] + (ways[s - 1] if s else 0) + (ways[s - 2] if _skips(states, s) else 0) for s in range(len(states))
        ]
    return sum(ways[-2:])


def paths(targets: list[int], frames: int, symbols: int) -> list[tuple[int, ...]]:
    """Return every path that collapses to the targets, by trying all: for boards of a handful of cells."""
    every = itertools.product(range(symbols), repeat=frames)
    return [path for path in every if collapse(path, 0) == targets]


def forward_backward(board: Board, targets: list[int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return α and β (frames, 2 targets + 1), and the targets' probability: the sum over all paths.

    Source: Graves et al. 2006, eq. 5 to 11; β here leaves its own frame's probability out, so that Σ_s α β is the same
    in every frame.
    """
    states, frames = _states(targets), len(board)
    ahead, behind = np.zeros((frames, len(states))), np.zeros((frames, len(states)))
    ahead[0, :2] = board[0, states[:2]]
    for t in range(1, frames):
        for s in range(len(states)):
            before = ahead[t - 1, s] + (ahead[t - 1, s - 1] if s else 0)
            before += ahead[t - 1, s - 2] if _skips(states, s) else 0
            ahead[t, s] = before * board[t, states[s]]
    behind[-1, -2:] = 1.0
    for t in range(frames - 2, -1, -1):
        onward = behind[t + 1] * board[t + 1, states]
        for s in range(len(states)):
            behind[t, s] = onward[s] + (onward[s + 1] if s + 1 < len(states) else 0)
            behind[t, s] += onward[s + 2] if s + 2 < len(states) and _skips(states, s + 2) else 0
    return ahead, behind, float(ahead[-1, -2:].sum())


def occupancy(board: Board, targets: list[int]) -> Board:
    """Return γ: the probability that a frame writes a symbol, given that the whole writes the targets."""
    ahead, behind, total = forward_backward(board, targets)
    result = np.zeros_like(board)
    for state, symbol in enumerate(_states(targets)):
        result[:, symbol] += ahead[:, state] * behind[:, state]
    return result / total if total > 0 else result


def gradient(board: Board, targets: list[int]) -> Board:
    """Return d(-ln P)/d(logits) = y - γ (Graves et al. 2006, eq. 15 and 16)."""
    return board - occupancy(board, targets)


def painted_board() -> tuple[list[str], Board]:
    """Return the symbols and the first board: peaks where 사랑해 is said, the rest spread evenly."""
    symbols = [BLANK, *dict.fromkeys(letters(WORD))]
    path = [*letters(WORD)[:5], BLANK, *letters(WORD)[5:]]
    board = np.full((FRAMES, len(symbols)), 0.4 / (len(symbols) - 1))
    for frame, symbol in enumerate(path):
        board[frame, symbols.index(symbol)] = 0.6
    return symbols, board


def hello_board() -> tuple[list[str], Board]:
    """Return the board of the syllabus's path _ _ h e _ l l o _ _, each symbol sure to 0.9."""
    symbols = [BLANK, *"helo"]
    board = np.full((10, len(symbols)), 0.1 / (len(symbols) - 1))
    for frame, symbol in enumerate("__he_llo__"):
        board[frame, symbols.index(symbol)] = 0.9
    return symbols, board


@cache
def recording() -> Clip:
    """Return the recording that lessons use: four seconds of a read text at 16 kHz."""
    from malsori.audio.io import load_audio

    with files("malsori.learn").joinpath("lessons", "recording.ogg").open("rb") as opened:
        wave = load_audio(opened.name, 16000)
    return Clip(wave, 16000)


@cache
def heard_recording() -> tuple["EncoderOutput", "Alignment"]:
    """Return what the built-in aligner's network hears in the recording, and its alignment."""
    from malsori.asr.encode import encode
    from malsori.asr.recognizer import load_aligner

    sound, aligner = recording(), load_aligner(device="cpu")
    found = encode(aligner.model, sound.wave, sound.sample_rate)
    return found, aligner.align(sound.wave, RECORDED, sound.sample_rate)


@cache
def recorded_board() -> tuple[list[str], Board, str]:
    """Return symbols, board and word of a word in the recording, as the built-in aligner's network hears its phonemes.

    Columns are the phonemes of the word and what the network takes some of its frames for; the last, "…", is the rest.
    """
    from malsori.text.symbols import PHONEMES

    found, alignment = heard_recording()
    word = next(span for span in alignment.words if RECORDED_WORD in span.text)
    first, last = (round(time / found.frame_seconds) for time in (word.start - 0.04, word.end + 0.1))
    probabilities = np.exp(found.phonemes[max(0, first) : last])
    heard = [PHONEMES.symbols[column] for column in probabilities.argmax(1)]
    names = list(dict.fromkeys([BLANK, *_phonemes(RECORDED_WORD), *heard]))
    board = probabilities[:, PHONEMES.encode(names)]
    rest = 1 - board.sum(1, keepdims=True)
    return [*names, "…"], np.clip(np.concatenate([board, rest], axis=1), 0.0, 1.0), RECORDED_WORD


def _phonemes(word: str) -> list[str]:
    from malsori.text.frontend import Frontend

    return list(Frontend(morphology=False).read(word).phonemes[1:-1])


def targets_of(word: str, symbols: list[str]) -> list[int]:
    """Return the columns of a word's letters: letters of Latin, jamo of Hangul, phonemes of the recorded word."""
    spelled = list(word) if word.isascii() else _phonemes(word) if word == RECORDED_WORD else letters(word)
    return [symbols.index(letter) for letter in spelled]


@cache
def ctc() -> dict[str, str]:
    """Return the numbers of the CTC lesson."""
    symbols, board = painted_board()
    targets = targets_of(WORD, symbols)
    _, _, probability = forward_backward(board, targets)
    best = [symbols[column] for column in board.argmax(1)]
    hello_symbols, hello = hello_board()
    real_symbols, real, word = recorded_board()
    real_targets = targets_of(word, real_symbols)
    single = float(np.prod(board.max(1)))
    log_probs = torch.from_numpy(np.log(board))[None].float()
    loss = ctc_loss(log_probs, torch.tensor([FRAMES]), torch.tensor([targets]), torch.tensor([len(targets)]))
    needed = frames_needed(torch.tensor([[1, 2, 3, 3, 4]]), torch.tensor([5]))
    return {
        "path": " ".join("__he_llo__"),
        "collapsed": "".join(collapse("__he_llo__", BLANK)),
        "with_blank": "".join(collapse("hel_lo", BLANK)),
        "hello_frames": str(int(needed)),
        "hello_probability": f"{forward_backward(hello, targets_of('hello', hello_symbols))[2]:.2e}",
        "helo_probability": f"{forward_backward(hello, targets_of('helo', hello_symbols))[2]:.3f}",
        "jamo": " ".join(letters(WORD)),
        "frames": str(FRAMES),
        "paths": str(count_paths(targets, FRAMES)),
        "paths_100": f"{count_paths(targets, 100):.2e}",
        "best_path": " ".join(best),
        "best_path_probability": f"{single:.4f}",
        "probability": f"{probability:.4f}",
        "loss": f"{-np.log(probability):.3f}",
        "loss_per_letter": f"{loss.item():.3f}",
        "small_paths": " ".join("".join("_a"[symbol] for symbol in path) for path in paths([1], 2, 2)),
        "real_frames": str(len(real)),
        "real_word": word,
        "real_paths": f"{count_paths(real_targets, len(real)):,}",
        "real_probability": f"{forward_backward(real, real_targets)[2]:.4f}",
        "real_blank": f"{(real.argmax(1) == 0).mean():.0%}",
        "real_best": "".join(symbols_of(real, real_symbols)),
    }


def symbols_of(board: Board, symbols: list[str]) -> list[str]:
    """Return what the best symbols of the frames collapse to."""
    return [symbols[column] for column in collapse(board.argmax(1).tolist(), 0)]


def ctc_answer() -> str:
    """Return what a a _ a b b collapses to."""
    return "".join(collapse("aa_abb", BLANK))


def draw_ctc(language: Language) -> bytes:
    """Return the first board, its occupancies and its gradient."""
    symbols, board = painted_board()
    targets = targets_of(WORD, symbols)
    titles = {
        "ko": ("y: 칠한 판", "γ: 모든 길의 몫", "y − γ: 기울기"),
        "en": ("y: what is painted", "γ: share of all paths", "y − γ: gradient"),
    }[language]
    figure = figures.new_figure(2.8)
    for axes, title, values in zip(
        figure.subplots(1, 3, sharey=True),
        titles,
        (board, occupancy(board, targets), gradient(board, targets)),
        strict=True,
    ):
        limit = 1.0 if values.min() >= 0 else float(np.abs(values).max())
        colors = "Blues" if values.min() >= 0 else "RdBu_r"
        axes.imshow(values.T, aspect="auto", cmap=colors, vmin=0 if colors == "Blues" else -limit, vmax=limit)
        axes.set_yticks(range(len(symbols)), symbols)
        axes.set_title(title, fontsize=9)
    return as_png(figure)


def play_ctc() -> dict[str, Clip]:
    """Return the recording of the real board."""
    return {"recording": recording()}


def ctc_toy() -> dict[str, Any]:
    """Return the three boards: painted, the syllabus's, and the recording's, with their words."""
    real_symbols, real, word = recorded_board()
    boards = [
        (*painted_board(), [WORD, "사랑", "사라"]),
        (*hello_board(), ["helo", "hello"]),
        (real_symbols, real, [word]),
    ]
    return {
        "boards": [
            {
                "symbols": symbols,
                "board": np.round(board, 4).tolist(),
                "words": [{"word": word, "targets": targets_of(word, symbols)} for word in words],
            }
            for symbols, board, words in boards
        ]
    }


def _states(targets: list[int]) -> list[int]:
    """Return the targets with a blank before, between and after them."""
    return [symbol for target in targets for symbol in (0, target)] + [0]


def _skips(states: list[int], state: int) -> bool:
    """Return whether a state may be reached past the blank before it."""
    return state >= 2 and states[state] != 0 and states[state] != states[state - 2]
