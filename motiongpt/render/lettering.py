"""Titles and captions on pictures: any text, broken into lines that fit, drawn with whatever fonts are installed.

Captions come from users and data sets, so any text has to draw: unknown letters become boxes, long text is cut, and `$`
starts no formula. matplotlib measures and draws.
"""

from bisect import bisect_left

INK = "#2b3038"
_SIZES = ((19, 2), (23, 2), (28, 3))  # letters to a side of the picture, lines of a caption
_MAX_TEXT = 400  # longest title or caption in characters; an ellipsis marks the cut
_DPI = 64  # of the figure with the text: a power of two, so that pixels / _DPI * _DPI is exact
# Tried in this order for each letter, if installed; the first one comes with matplotlib.
_FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "PingFang SC", "Microsoft YaHei", "Noto Sans Devanagari", "Noto Emoji")


def layout(title: str, caption: str, width: int, scale: float) -> tuple[list[tuple], int]:
    """Centred lines (x, y from the top, text, height in pixels, weight), and the height of all of them.

    Letters are as large as two lines of caption allow, to be read on a thumbnail: 1/19 to 1/28 of `scale`, the side of
    the picture in pixels. At the smallest there are three lines, and an ellipsis marks what was cut.
    """
    for letters, at_most in _SIZES:
        pixels = scale / letters
        heads = _wrap(title, 0.94 * width, 1.15 * pixels, "bold", 1)
        wrapped = _wrap(caption, 0.94 * width, pixels, "normal", at_most)
        if not any(part and part[-1].endswith("…") for part in (heads, wrapped)):
            break

    lines = []
    y = 0.5 * pixels
    for texts, height, weight in ((heads, 1.15 * pixels, "bold"), (wrapped, pixels, "normal")):
        for text in texts:
            lines.append((width / 2, y + 0.65 * height, text, height, weight))
            y += 1.3 * height
    return lines, int(y + 0.3 * pixels) if lines else 0


def _wrap(text: str, width: float, pixels: float, weight: str, at_most: int) -> list[str]:
    """Break any text into `at_most` lines no wider than `width` pixels; an ellipsis at the end marks a cut."""
    from matplotlib.backends.backend_agg import RendererAgg

    renderer, font = RendererAgg(8, 8, _DPI), _font(pixels, weight)

    def longest(text: str, ending: str) -> int:  # how many characters fit, at least one
        def too_wide(n: int) -> bool:
            return renderer.get_text_width_height_descent(text[:n] + ending, font, ismath=False)[0] > width

        return max(1, bisect_left(range(1, len(text) + 1), True, key=too_wide))

    text = " ".join(_drawable(text[: 2 * _MAX_TEXT], font).split())
    rest = text[:_MAX_TEXT]
    lines = []
    while rest and len(lines) < at_most:
        end = longest(rest, "")
        if end < len(rest):  # back to a space, if there is one
            end = max(rest.rfind(" ", 0, end + 1), 0) or end
        lines.append(rest[:end])
        rest = rest[end:].lstrip()
    if rest or len(text) > _MAX_TEXT:
        lines[-1] = lines[-1][: longest(lines[-1], "…")].rstrip() + "…"
    return lines


def _font(pixels: float, weight: str):
    from matplotlib.font_manager import FontProperties, get_font_names

    families = set(get_font_names()).intersection(_FONTS)
    return FontProperties(family=sorted(families, key=_FONTS.index), size=pixels * 72 / _DPI, weight=weight)


def _drawable(text: str, font) -> str:
    """The text as the fonts can draw it: control characters become spaces, unknown letters boxes, unknown emoji go."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    weight = font.get_weight()
    faces = [get_font(findfont(FontProperties(family=name, weight=weight))) for name in font.get_family()]
    known = {c for c in text if c.isprintable() and any(face.get_char_index(ord(c)) for face in faces)}
    return "".join(c if c in known else "□" * c.isalpha() if c.isprintable() else " " for c in text)


def text_canvas(W: int, H: int, lines: list[tuple], colour: str):
    """An Agg canvas of exactly W x H pixels with the lines of `layout` on white paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = FigureCanvasAgg(Figure(figsize=(W / _DPI, H / _DPI), dpi=_DPI))
    for x, y, text, pixels, weight in lines:
        look = dict(color=colour, ha="center", va="center", fontproperties=_font(pixels, weight), parse_math=False)
        canvas.figure.text(x / W, 1 - y / H, text, **look)
    canvas.draw()
    return canvas
