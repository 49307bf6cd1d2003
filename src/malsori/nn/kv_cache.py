"""What a decoder's block attends to: keys and values of a sound, and of the tokens so far, in room that grows."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

_FIRST_ROOM = 32  # tokens; a text of one utterance seldom needs more


@dataclass
class _Room:
    """Keys and values (rows, heads, tokens there is room for, size) each, and how many tokens are written."""

    keys: Tensor
    values: Tensor
    written: int

    def with_room(self, rows: int, tokens: int, needed: int) -> "_Room":
        """Return room for as many tokens as are needed, that already holds the first tokens; this one if it has it.

        What another state has written behind those tokens stays as it is.
        """
        if len(self.keys) == rows and self.written == tokens and self.keys.shape[2] >= needed:
            return self
        shape = (rows, self.keys.shape[1], max(_FIRST_ROOM, 2 * needed), self.keys.shape[3])
        grown = _Room(self.keys.new_empty(shape), self.values.new_empty(shape), tokens)
        grown.keys[:, :, :tokens] = self.keys[:, :, :tokens]
        grown.values[:, :, :tokens] = self.values[:, :, :tokens]
        return grown


@dataclass(frozen=True)
class KVCache:
    """Keys and values of one decoder block; what it holds never changes, and what it makes shares its room.

    Attributes:
        cross_keys, cross_values: of the sound, (sounds, heads, time, size); one sound serves any number of rows.
        cross_bias: added to each step's score, (1, heads, 1, time), where steps stand for several; None for none.
        tokens: how many tokens have been seen.
    """

    cross_keys: Tensor
    cross_values: Tensor
    cross_bias: Tensor | None = None
    tokens: int = 0
    _room: _Room | None = None

    @property
    def keys(self) -> Float[Tensor, "rows heads tokens size"]:
        """Keys of the tokens so far."""
        return self._room.keys[:, :, : self.tokens] if self._room else self.cross_keys[:, :, :0]

    @property
    def values(self) -> Float[Tensor, "rows heads tokens size"]:
        """Values of the tokens so far."""
        return self._room.values[:, :, : self.tokens] if self._room else self.cross_values[:, :, :0]

    def extended(
        self, keys: Float[Tensor, "rows heads new size"], values: Float[Tensor, "rows heads new size"]
    ) -> "KVCache":
        """Return the cache with more tokens; what one row holds, any number of new ones go on from."""
        after = self.tokens + keys.shape[2]
        if self._room is None:
            return replace(self, tokens=after, _room=_Room(keys, values, after))
        room = self._room.with_room(len(keys), self.tokens, after)
        room.keys[:, :, self.tokens : after], room.values[:, :, self.tokens : after] = keys, values
        room.written = after
        return replace(self, tokens=after, _room=room)

    def select(self, rows: Int[Tensor, " kept"], one_sound: bool) -> "KVCache":
        """Return the cache of some rows of tokens, in that order; one sound serves all of them."""
        cross = (self.cross_keys, self.cross_values)
        kept = cross if one_sound else (self.cross_keys[rows], self.cross_values[rows])
        if self._room is None or rows.tolist() == list(range(len(self._room.keys))):
            return replace(self, cross_keys=kept[0], cross_values=kept[1])
        room = _Room(self.keys[rows], self.values[rows], self.tokens)
        return replace(self, cross_keys=kept[0], cross_values=kept[1], _room=room)
