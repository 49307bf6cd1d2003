"""How a text is spoken: `SayOptions`, read alike by the command line, Python and a server.

The bounds stand here; whether a voice can serve an option, its adapter says (`tts.roles.Synthesizer`).
"""

from typing import Any

from pydantic import Field, ValidationError

from malsori.config import Config, explain
from malsori.errors import OptionError

#: How much slower or faster than it has learnt a voice is asked to speak.
MIN_SPEED, MAX_SPEED = 0.2, 5.0


class SayOptions(Config):
    """How a text is spoken.

    Attributes:
        speaker: one of the voice's speakers; the first when not given.
        speed: 2.0 is twice as fast; 0.2 to 5.
        pitch: semitones up or down, 9 at most: so far what is heard is within 50 cents of it (docs/speaking.md).
        energy: louder or softer, in the speaker's own standard deviations, -3 to 3: for voices that predict it
            (FastSpeech 2).
    Raises: OptionError naming the option, its value and what is accepted.
    """

    speaker: str | None = None
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)
    pitch: float = Field(0.0, ge=-9.0, le=9.0, allow_inf_nan=False)
    energy: float = Field(0.0, ge=-3.0, le=3.0, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionError(explain(type(self), error)) from error

    @property
    def prosody(self) -> dict[str, float]:
        """Those of the options that a voice must predict to serve them, and that are not neutral, by name."""
        return {"energy": self.energy} if self.energy else {}
