"""Words that a beam search over letters should favor: names and terms that a language model has seldom counted.

    말소리 + 에서 + 는      the word, and particles (조사) behind it, any number of them
    ‾‾‾‾‾‾                  each letter of it earns the bonus; where another word comes of it, all of it is taken back

It answers `decode.ctc.LanguageModel`, so a beam adds it up as it does a language model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: Particles, and what else stands behind a noun without a space (은/는, 에서, 까지, 이라고, 입니다 ...).
PARTICLES = (
    "은", "는", "이", "가", "을", "를", "의", "에", "도", "만", "와", "과", "로", "랑", "나", "든", "란", "며",
    "고", "야", "인", "들", "씨", "님", "께", "뿐", "라", "여", "이여", "아", "네", "죠", "에서", "에게", "에게서",
    "한테", "한테서", "께서", "으로", "로서", "으로서", "로써", "으로써", "이랑", "하고", "까지", "부터", "마다",
    "조차", "마저", "밖에", "이나", "이든", "든지", "이든지", "나마", "이나마", "처럼", "보다", "만큼", "같이",
    "대로", "커녕", "라고", "이라고", "라는", "이라는", "라도", "이라도", "라면", "이라면", "이란", "이며", "이고",
    "이야", "예요", "이에요", "입니다", "이었다", "였다", "이다", "인데", "이었습니다", "였습니다", "이죠", "이네",
    "이군요", "일까", "이니까", "이지만",
)  # fmt: skip


@dataclass(eq=False)
class _Node:
    """A place in a trie of letters."""

    children: dict[int, "_Node"] = field(default_factory=dict)
    ends: bool = False

    def add(self, ids: Iterable[int]) -> None:
        node = self
        for index in ids:
            node = node.children.setdefault(index, _Node())
        node.ends = True


@dataclass(frozen=True)
class _Path:
    """One way in which the letters so far may be read: where it stands, and what it has earned."""

    node: _Node
    earned: float
    in_word: bool  # in a hotword, not in a particle behind it


@dataclass(frozen=True)
class HotwordState:
    """What the letters so far may be, and what of the bonus the beam has been given beyond what is sure."""

    paths: tuple[_Path, ...]
    given: float


class Hotwords:
    """The bonus of hotwords, as a beam search asks for it.

    Args:
        words, particles: ids of the letters that spell each.
        space: id of what parts words.
        bonus: added for each letter of a hotword, in nats.
    """

    def __init__(
        self, words: Iterable[Sequence[int]], particles: Iterable[Sequence[int]], space: int, bonus: float
    ) -> None:
        self._words, self._particles, self._space, self._bonus = _Node(), _Node(), space, bonus
        for ids in words:
            self._words.add(ids)
        for ids in particles:
            self._particles.add(ids)

    def start(self) -> HotwordState:
        """Return the state where a word may begin."""
        return HotwordState((_Path(self._words, 0.0, True),), 0.0)

    def step(self, state: HotwordState, token_id: int) -> tuple[float, HotwordState]:
        """Return what a letter adds to a text's score, which is less than 0 where a bonus is taken back."""
        paths = tuple(found for path in state.paths for found in self._advance(path, token_id))
        sure = 0.0
        if token_id == self._space:
            sure = self._settled(state)
            paths = (*paths, _Path(self._words, sure, True))
        best = max((path.earned for path in paths), default=0.0)
        # what is sure is forgotten, so that states of the same future are of the same size
        kept = tuple(_Path(path.node, path.earned - sure, path.in_word) for path in paths)
        return best - state.given, HotwordState(kept, best - sure)

    def finish(self, state: HotwordState) -> float:
        """Return what is taken back where the text ends."""
        return self._settled(state) - state.given

    def _advance(self, path: _Path, token_id: int) -> Iterable[_Path]:
        found = path.node.children.get(token_id)
        if found is not None:
            yield _Path(found, path.earned + (self._bonus if path.in_word else 0.0), path.in_word)
        if path.node.ends and (behind := self._particles.children.get(token_id)) is not None:
            yield _Path(behind, path.earned, False)

    def _settled(self, state: HotwordState) -> float:
        """Return what is earned if the word ends here."""
        return max((path.earned for path in state.paths if path.node.ends), default=0.0)
