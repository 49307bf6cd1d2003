"""Recurrent and normed layers over real steps only, and the attention decoder of both Tacotrons.

    teacher's frames ─► pre-net ─► cell ─► attention over the encoded tokens ─► recurrent layers ─► frames, stop
                                    ▲              │
                                    └── context ───┘

Both Tacotrons are this decoder with other parts in it. Only the cell and its attention go round the loop; in training
the pre-net before them and the recurrent layers after them see all steps at once.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from malsori.config import Config
from malsori.nn.batch_norm import BatchNorm


class NormedConvolution(nn.Module):
    """A convolution and batch norm over real steps: neither sees padding, nor counts it."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, after, kernel, padding=kernel // 2)
        self.norm = BatchNorm(after)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time hidden"]:
        """Return the normed convolution; what stands on padding means nothing."""
        convolved = self.convolution((hidden * mask[..., None]).transpose(1, 2)).transpose(1, 2)
        convolved = convolved[:, : hidden.shape[1]]  # an even kernel makes a step more
        normed: Tensor = self.norm(convolved, mask)
        return normed


class BidirectionalRecurrent(nn.Module):
    """Two LSTMs or GRUs over real steps, one of them backwards from each item's own end, side by side."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], features: int, hidden: int) -> None:
        super().__init__()
        self.forwards = kind(features, hidden, batch_first=True)
        self.backwards = kind(features, hidden, batch_first=True)

    def forward(
        self, hidden: Float[Tensor, "batch time features"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time hidden"]:
        """Return both directions' outputs, 0 on padding."""
        time = torch.arange(hidden.shape[1], device=hidden.device)[None, :]
        turned = torch.where(mask, mask.sum(1, keepdim=True) - 1 - time, time)[..., None]
        backwards = self.backwards(hidden.gather(1, turned.expand_as(hidden)))[0]
        both = torch.cat([self.forwards(hidden)[0], backwards.gather(1, turned.expand_as(backwards))], dim=-1)
        return both * mask[..., None]


class Highway(nn.Module):
    """A layer that decides for each feature whether to change it.

    Source: Srivastava, Greff and Schmidhuber 2015 (arXiv:1505.00387), eq. 3; at first the gate mostly lets pass (2.2).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.change, self.gate = nn.Linear(features, features), nn.Linear(features, features)
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, hidden: Float[Tensor, "*axes features"]) -> Float[Tensor, "*axes features"]:
        """Return the features, some changed."""
        gate = self.gate(hidden).sigmoid()
        return hidden + gate * (self.change(hidden).relu() - hidden)


class Prenet(nn.Module):
    """Linear layers with ReLU and a dropout that stays on at inference: the last frame alone must not decide the next.

    Outside training all items of a batch lose the same features, drawn from a seeded source: a sentence sounds the same
    alone as in a batch, and the same each time.
    Source: Tacotron 2 (Shen et al. 2017, arXiv:1712.05884), 2.2: dropout at inference too.
    """

    def __init__(self, features: int, widths: tuple[int, ...], dropout: float = 0.5, bias: bool = False) -> None:
        super().__init__()
        sizes = zip((features, *widths[:-1]), widths, strict=True)
        self.layers = nn.ModuleList(nn.Linear(before, after, bias) for before, after in sizes)
        self.dropout = dropout

    def forward(
        self, frames: Float[Tensor, "batch steps mel_channels"], random: torch.Generator | None = None
    ) -> Float[Tensor, "batch steps features"]:
        """Return the features that are left; `random` is where inference draws from."""
        hidden = frames
        if not self.training and self.dropout and random is None:
            random = torch.Generator().manual_seed(0)
        for layer in self.layers:
            hidden = layer(hidden).relu()
            if self.training:
                hidden = nn.functional.dropout(hidden, self.dropout)
            elif self.dropout:
                kept = torch.rand(hidden.shape[1:], generator=random) >= self.dropout
                hidden = hidden * kept.to(hidden) / (1 - self.dropout)
        return hidden


class AdditiveAttention(nn.Module):
    """Weights of the tokens for a query: v · tanh(W query + V token + U location), over the softmax.

    Args:
        location_filters: of the convolution over the last weights and the sum of all weights so far; 0: none, and the
            attention looks at content alone.
    Source: Bahdanau et al. 2014 (arXiv:1409.0473), A.1.2; with location, Chorowski et al. 2015 (arXiv:1506.07503), 2.1.
    """

    def __init__(
        self, query: int, memory: int, hidden: int, location_filters: int = 0, location_kernel_size: int = 31
    ) -> None:
        super().__init__()
        self.query = nn.Linear(query, hidden, bias=False)
        self.memory = nn.Linear(memory, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.location_filters = location_filters
        if location_filters:
            self.location = nn.Conv1d(2, location_filters, location_kernel_size, padding="same", bias=False)
            self.location_project = nn.Linear(location_filters, hidden, bias=False)
            nn.init.xavier_uniform_(self.location_project.weight, nn.init.calculate_gain("tanh"))
        for layer in (self.query, self.memory):
            nn.init.xavier_uniform_(layer.weight, nn.init.calculate_gain("tanh"))
        nn.init.xavier_uniform_(self.score.weight)  # small weights would start with none but the mean to look at

    def project_memory(
        self, memory: Float[Tensor, "batch tokens features"], mask: Bool[Tensor, "batch tokens"]
    ) -> "AttentionMemory":
        """Return what does not change from step to step, worked out once."""
        kernel = None
        if self.location_filters:  # two linear maps in a row are one
            kernel = torch.einsum("hf,fck->hck", self.location_project.weight, self.location.weight)
        return AttentionMemory(memory, mask, self.memory(memory).transpose(1, 2), kernel)

    def forward(
        self,
        query: Float[Tensor, "batch query"],
        memory: "AttentionMemory",
        past: Float[Tensor, "batch 2 tokens"],
        allowed: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens"]:
        """Return the weights, which sum to 1 over the allowed tokens.

        Args:
            past: the last step's weights, and the sum over all steps so far.
        """
        hidden = memory.keys + self.query(query)[..., None]
        if memory.kernel is not None:
            hidden = hidden + nn.functional.conv1d(past, memory.kernel, padding="same")
        energies = torch.matmul(self.score.weight, hidden.tanh())[:, 0]
        return energies.masked_fill(~allowed, -torch.inf).softmax(-1)


@dataclass(frozen=True)
class AttentionMemory:
    """What is attended to.

    Attributes:
        encoded: tokens (batch, tokens, features), and which are real (batch, tokens).
        keys: each token's share of the energy (batch, hidden, tokens).
        kernel: convolution over past weights (hidden, 2, width); None for attention by content.
    """

    encoded: Tensor
    mask: Tensor
    keys: Tensor
    kernel: Tensor | None


class DecoderLstm(nn.Module):
    """An LSTM over query and context; the context is handed on beside its output (Tacotron 2, 2.2)."""

    def __init__(self, query: int, memory: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.query, self.features = query, hidden + memory
        self.lstm = nn.LSTM(query + memory, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Float[Tensor, "batch steps inputs"], state: tuple[Tensor, ...] | None = None
    ) -> tuple[Float[Tensor, "batch steps features"], tuple[Tensor, ...]]:
        """Return each step's features and the state after the last; a step's inputs are its query and its context."""
        hidden, after = self.lstm(inputs, state)
        return torch.cat([self.dropout(hidden), inputs[..., self.query :]], dim=-1), after


class DecoderGru(nn.Module):
    """Two GRUs, each added to its input (Tacotron, 3.3: vertical residual connections)."""

    def __init__(self, query: int, memory: int, hidden: int, layers: int = 2) -> None:
        super().__init__()
        self.features = hidden
        self.project = nn.Linear(query + memory, hidden)
        self.layers = nn.ModuleList(nn.GRU(hidden, hidden, batch_first=True) for _ in range(layers))

    def forward(
        self, inputs: Float[Tensor, "batch steps inputs"], state: tuple[Tensor, ...] | None = None
    ) -> tuple[Float[Tensor, "batch steps features"], tuple[Tensor, ...]]:
        """Return each step's features and the state after the last; a step's inputs are its query and its context."""
        hidden, after = self.project(inputs), []
        for number, layer in enumerate(self.layers):
            changed, last = layer(hidden, None if state is None else state[number])
            hidden = hidden + changed
            after.append(last)
        return hidden, tuple(after)


class DecodingLimits(Config):
    """What keeps a decoder from skipping, repeating and going on for ever at inference.

    window: tokens that attention may look ahead of the furthest it has come to, and one back; 0: everywhere.
    stop_above: chance of "speech ends here" at which it does, once attention has come to the last three tokens and a
        frame a token has been predicted.
    patience_frames: there it ends too when attention has not gone on for so long.
    max_frames_per_token: it ends in any case after so many on average.
    stop_anywhere: the stop, and patience, end it wherever attention is, from the first step on.
    """

    window: int = Field(4, ge=0, le=10_000)
    stop_above: float = Field(0.5, ge=0, le=1)
    patience_frames: int = Field(40, ge=1)
    max_frames_per_token: int = Field(20, ge=1, le=1_000)
    stop_anywhere: bool = False


@dataclass(frozen=True)
class DecoderOutput:
    """Frames and stops of an attention decoder.

    Attributes:
        frames: (batch, steps * reduction, mel_channels).
        stop: logits of "speech ends here" (batch, steps).
        attention: weights of the tokens at each step (batch, steps, tokens).
        steps: how many are real (batch,).
    """

    frames: Tensor
    stop: Tensor
    attention: Tensor
    steps: Tensor


@dataclass(frozen=True)
class _LoopState:
    """Where the loop stands: the cell's state, the last context, the last weights and the sum of all (past)."""

    state: tuple[Tensor, ...]
    context: Tensor
    past: Tensor


class AttentionDecoder(nn.Module):
    """Predicts `reduction` frames a step from the encoded tokens, through attention.

    Args:
        prenet: takes a mel frame, the last one of the step before.
        cell: takes the pre-net's features and the last context; its output is the query.
        attention: gives the tokens' weights for a query.
        recurrent: takes query and context of a step, gives features; a step's frames and stop are linear in these.
        dropout: of the query.
    """

    def __init__(
        self,
        prenet: Prenet,
        cell: nn.LSTMCell | nn.GRUCell,
        attention: AdditiveAttention,
        recurrent: DecoderLstm | DecoderGru,
        mel_channels: int,
        reduction: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mel_channels, self.reduction = mel_channels, reduction
        self.prenet, self.cell, self.attention = prenet, cell, attention
        self.writer = recurrent  # its name in saved weights
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(recurrent.features, mel_channels * reduction)
        self.stop = nn.Linear(recurrent.features, 1)

    def forward(
        self,
        encoded: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        mel: Float[Tensor, "batch frames mel_channels"],
        frame_lengths: Int[Tensor, " batch"],
    ) -> DecoderOutput:
        """Return the prediction when the last frame of each step is the recording's own."""
        step_lengths = -(-frame_lengths // self.reduction)
        steps = -(-mel.shape[1] // self.reduction)
        lasts = mel[:, self.reduction - 1 :: self.reduction][:, : steps - 1]
        fed = self.prenet(torch.cat([mel.new_zeros(len(mel), 1, self.mel_channels), lasts], dim=1))
        memory, at = self.attention.project_memory(encoded, mask), self._start(encoded)
        inputs, weights = [], []
        for frame in fed.unbind(1):
            query, at = self._attend(frame, memory, at, mask)
            inputs.append(torch.cat([query, at.context], dim=-1))
            weights.append(at.past[:, 0])
        features, _ = self.writer(torch.stack(inputs, dim=1))
        return self._output(features, torch.stack(weights, dim=1), step_lengths)

    @torch.inference_mode()
    def infer(
        self,
        encoded: Float[Tensor, "batch tokens features"],
        mask: Bool[Tensor, "batch tokens"],
        limits: DecodingLimits,
        seed: int = 0,
    ) -> DecoderOutput:
        """Return the prediction when each step goes on from the last, until every item has come to its end."""
        memory, at, state = self.attention.project_memory(encoded, mask), self._start(encoded), None
        random = torch.Generator().manual_seed(seed)
        progress = _Progress(mask, limits, self.reduction)
        frame = encoded.new_zeros(len(encoded), 1, self.mel_channels)
        outputs, weights = [], []
        while not progress.ended:
            query, at = self._attend(self.prenet(frame, random)[:, 0], memory, at, progress.window())
            features, state = self.writer(torch.cat([query, at.context], dim=-1)[:, None], state)
            frame = self.project(features)[..., -self.mel_channels :]
            outputs.append(features)
            weights.append(at.past[:, 0])
            progress.go_on(weights[-1], self.stop(features)[:, 0, 0])
        return self._output(torch.cat(outputs, dim=1), torch.stack(weights, dim=1), progress.steps)

    def _start(self, encoded: Tensor) -> _LoopState:
        batch, tokens, features = encoded.shape
        count = 2 if isinstance(self.cell, nn.LSTMCell) else 1
        state = tuple(encoded.new_zeros(batch, self.cell.hidden_size) for _ in range(count))
        return _LoopState(state, encoded.new_zeros(batch, features), encoded.new_zeros(batch, 2, tokens))

    def _attend(
        self, frame: Tensor, memory: AttentionMemory, at: _LoopState, allowed: Tensor
    ) -> tuple[Tensor, _LoopState]:
        """Return the query of a step and where the loop stands after it."""
        given = torch.cat([frame, at.context], dim=-1)
        state = self.cell(given, at.state) if len(at.state) == 2 else (self.cell(given, at.state[0]),)
        query = self.dropout(state[0])
        weights = self.attention(query, memory, at.past, allowed)
        context = torch.bmm(weights[:, None], memory.encoded)[:, 0]
        return query, _LoopState(state, context, torch.stack([weights, at.past[:, 1] + weights], dim=1))

    def _output(self, features: Tensor, attention: Tensor, steps: Tensor) -> DecoderOutput:
        frames = self.project(features).view(len(features), -1, self.mel_channels)
        return DecoderOutput(frames, self.stop(features)[..., 0], attention, steps)


class _Progress:
    """How far each item of a batch has come in its text, and which have ended."""

    _AT_END_TOKENS, _MIN_FRAMES = 3, 40

    def __init__(self, mask: Tensor, limits: DecodingLimits, reduction: int) -> None:
        self.mask, self.limits = mask, limits
        tokens = mask.sum(1)
        self.index = torch.arange(mask.shape[1], device=mask.device)[None, :]
        self.near_end, self.min_steps = tokens - self._AT_END_TOKENS, -(-tokens // reduction)
        self.max_steps = (tokens * limits.max_frames_per_token).clamp(min=self._MIN_FRAMES) // reduction
        self.patience = limits.patience_frames // reduction
        self.furthest, self.stalled, self.steps = (torch.zeros_like(tokens) for _ in range(3))
        self.ended_items = torch.zeros_like(tokens, dtype=torch.bool)

    @property
    def ended(self) -> bool:
        """Whether all items have come to their end."""
        return bool(self.ended_items.all())

    def window(self) -> Tensor:
        """Return the tokens that may be attended to (batch, tokens)."""
        if not self.limits.window:
            return self.mask
        ahead = self.index - self.furthest[:, None]
        return self.mask & (ahead >= -1) & (ahead <= self.limits.window)

    def go_on(self, weights: Tensor, stop: Tensor) -> None:
        """Take note of a step: the tokens' weights (batch, tokens) and the logit of the end (batch,)."""
        self.steps += ~self.ended_items
        reached = torch.maximum(self.furthest, weights.argmax(1))
        self.stalled = torch.where(reached > self.furthest, 0, self.stalled + 1)
        self.furthest = reached
        stopped = (stop.sigmoid() > self.limits.stop_above) | (self.stalled >= self.patience)
        near_end = (reached >= self.near_end) & (self.steps >= self.min_steps)
        self.ended_items |= (near_end | self.limits.stop_anywhere) & stopped | (self.steps >= self.max_steps)
