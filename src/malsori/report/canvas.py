"""A few shapes, and how they become SVG text or a PNG file."""

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from malsori.report.fonts import korean_font_file

Anchor = Literal["start", "middle", "end"]
Number = float | int  # lengths are written as they come

INK, QUIET, PAPER = "#1f2933", "#7b8794", "#ffffff"
_FONTS = "'Nanum Gothic', NanumGothic, 'Apple SD Gothic Neo', 'Noto Sans CJK KR', 'Malgun Gothic', sans-serif"


@dataclass(frozen=True)
class Box:
    """A rounded rectangle; corner is its left upper one."""

    corner: tuple[Number, Number]
    size: tuple[Number, Number]
    fill: str = PAPER
    stroke: str = INK
    dashed: bool = False
    radius: Number = 8.0
    tip: str = ""


@dataclass(frozen=True)
class Label:
    """One line of text; place is on its base line."""

    place: tuple[Number, Number]
    text: str
    size: Number = 12.0
    color: str = INK
    bold: bool = False
    anchor: Anchor = "middle"


@dataclass(frozen=True)
class Curve:
    """A line through points, level at each, with an arrow's head at its end unless `head` is False."""

    points: tuple[tuple[Number, Number], ...]
    color: str = INK
    width: Number = 1.4
    dashed: bool = False
    head: bool = True


@dataclass(frozen=True)
class Dot:
    """A small filled circle."""

    place: tuple[Number, Number]
    radius: Number
    fill: str


Shape = Box | Label | Curve | Dot


@dataclass(frozen=True)
class Picture:
    """Shapes in the order they are painted, on a plane whose y grows downwards; a title for those who cannot see it."""

    shapes: list[Shape]
    width: Number
    height: Number
    title: str

    def svg(self) -> str:
        """Return the picture as SVG."""
        size = f'width="{self.width:.0f}" height="{self.height:.0f}" viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{escape(_FONTS)}">'
        ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        body = [_svg(shape) for shape in self.shapes]
        return "\n".join([head, f"<title>{escape(self.title)}</title>", ground, *body, "</svg>"]) + "\n"

    def save_png(self, path: Path, scale: Number = 2.0) -> None:
        """Write the picture as PNG, `scale` pixels for each unit of length."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width / 72, self.height / 72), dpi=72 * scale)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for layer, shape in enumerate(self.shapes):
            _paint(axes, shape, layer)
        figure.savefig(path, facecolor=PAPER, format="png")


def text_width(text: str, size: Number, bold: bool = False) -> float:
    """Return about how wide a line of text is: Hangul fills its square, Latin letters a good half of it."""
    return float(size) * sum(0.95 if ord(sign) > 0x2E80 else 0.56 + 0.04 * bold for sign in text)


def fitted(label: Label, width: Number) -> Label:
    """Return the label made smaller, and at last cut short, so that it is no wider than this."""
    size, text = label.size, label.text
    while text_width(text, size, label.bold) > width and size > 0.75 * label.size:
        size -= 0.5
    while text_width(text, size, label.bold) > width and len(text) > 2:
        text = text[:-2] + "…"
    return Label(label.place, text, size, label.color, label.bold, label.anchor)


def _segments(points: tuple[tuple[Number, Number], ...]) -> list[tuple[tuple[Number, Number], ...]]:
    """Return for each pair of points the two handles and the end of a curve that is level at both."""
    result: list[tuple[tuple[Number, Number], ...]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        result.append(((middle, y0), (middle, y1), (x1, y1)))
    return result


def _head(end: tuple[Number, Number]) -> tuple[tuple[Number, Number], ...]:
    x, y = end
    return ((x, y), (x - 8, y - 4), (x - 8, y + 4))


def _svg(shape: Shape) -> str:
    if isinstance(shape, Box):
        (x, y), (width, height) = shape.corner, shape.size
        dash = ' stroke-dasharray="5 4"' if shape.dashed else ""
        tip = f"<title>{escape(shape.tip)}</title>" if shape.tip else ""
        where = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{shape.radius:g}"'
        return f'<rect {where} fill="{shape.fill}" stroke="{shape.stroke}"{dash}>{tip}</rect>'
    if isinstance(shape, Dot):
        x, y = shape.place
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.radius:g}" fill="{shape.fill}"/>'
    if isinstance(shape, Label):
        x, y = shape.place
        weight = ' font-weight="700"' if shape.bold else ""
        style = f'font-size="{shape.size:g}" fill="{shape.color}" text-anchor="{shape.anchor}"{weight}'
        return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(shape.text)}</text>'
    return _svg_curve(shape)


def _svg_curve(curve: Curve) -> str:
    x, y = curve.points[0]
    steps = " ".join("C" + " ".join(f"{a:.1f},{b:.1f}" for a, b in step) for step in _segments(curve.points))
    dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
    look = f'fill="none" stroke="{curve.color}" stroke-width="{curve.width:.2g}"{dash}'
    line = f'<path d="M{x:.1f},{y:.1f} {steps}" {look}/>'
    corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in _head(curve.points[-1]))
    return line + (f'<polygon points="{corners}" fill="{curve.color}"/>' if curve.head else "")


def _paint(axes: Any, shape: Shape, layer: int) -> None:
    """Draw one shape on matplotlib's axes, above those before it."""
    from matplotlib import patches
    from matplotlib.path import Path as Outline

    add = axes.add_patch
    if isinstance(shape, Box):
        (x, y), (width, height) = shape.corner, shape.size
        rounded = patches.BoxStyle.Round(pad=0, rounding_size=min(shape.radius, height / 2))
        look: dict[str, Any] = {
            "fc": shape.fill,
            "ec": shape.stroke,
            "lw": 1.0,
            "ls": (0, (5, 4)) if shape.dashed else "-",
        }
        add(patches.FancyBboxPatch((x, y), width, height, boxstyle=rounded, zorder=layer, **look))
    elif isinstance(shape, Dot):
        add(patches.Circle(shape.place, shape.radius, fc=shape.fill, ec="none", zorder=layer))
    elif isinstance(shape, Label):
        place = {"start": "left", "middle": "center", "end": "right"}[shape.anchor]
        file = korean_font_file("NanumGothicBold.ttf" if shape.bold else "NanumGothic.ttf")
        look = {"font": file, "fontsize": shape.size, "color": shape.color, "zorder": layer}
        axes.text(*shape.place, shape.text, ha=place, va="baseline", **look)
    else:
        points = [shape.points[0], *(point for step in _segments(shape.points) for point in step)]
        codes = [Outline.MOVETO] + [Outline.CURVE4] * (len(points) - 1)
        dash = (0, (5, 4)) if shape.dashed else "-"
        look = {"fc": "none", "ec": shape.color, "lw": shape.width, "ls": dash, "zorder": layer}
        add(patches.PathPatch(Outline(points, codes), **look))
        if shape.head:
            add(patches.Polygon(_head(shape.points[-1]), fc=shape.color, ec="none", zorder=layer))
