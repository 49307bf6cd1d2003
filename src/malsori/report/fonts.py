"""A font with Hangul for every picture."""

import importlib.util
from functools import cache
from pathlib import Path

from malsori.extras import import_extra, missing_extra

_PACKAGE = "koreanize_matplotlib"  # carries the font, but its code needs the departed distutils: it is never imported


def korean_font_file(name: str = "NanumGothic.ttf") -> Path:
    """Return the file of a Nanum Gothic font.

    Args:
        name: NanumGothic.ttf, NanumGothicBold.ttf, NanumGothicExtraBold.ttf or NanumGothicLight.ttf.
    Raises: MissingExtraError if the package that carries it is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise missing_extra(_PACKAGE, "A picture with Hangul")
    return Path(spec.origin).with_name("fonts") / name


@cache
def use_korean_font() -> None:
    """Make matplotlib write Hangul; call it before drawing. Drawing needs no screen afterwards."""
    matplotlib = import_extra("matplotlib", "A picture")
    from matplotlib import font_manager

    matplotlib.use("Agg")
    for name in ("NanumGothic.ttf", "NanumGothicBold.ttf"):
        font_manager.fontManager.addfont(korean_font_file(name))
    matplotlib.rcParams["font.family"] = ["NanumGothic", "DejaVu Sans"]  # the second for signs that Nanum lacks (IPA)
    matplotlib.rcParams["axes.unicode_minus"] = False
