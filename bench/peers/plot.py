# SPDX-License-Identifier: Apache-2.0
"""Draws a comparison as SVG: a panel for each of our formats, our speed being 1."""

HEADING = "Speed relative to codegen: higher is faster; on codegen's own bars, tokens/s"
WIDTH, LEFT, RIGHT = 900, 40, 12
PANEL, HEAD, FOOT = 150, 44, 26  # heights of the bars, of what is above and of what is below them
TOP = 50
COLOURS = {
    "codegen": "#1a7f5a",
    "llama.cpp": "#e08e2b",
    "CTranslate2": "#5b7db1",
    "transformers": "#b9b6ad",
}


def text(x, y, content, size=12, anchor="start", weight="normal", colour="#222"):
    content = content.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{content}</text>'
    )


def rectangle(x, y, width, height, colour):
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def rule(y, colour):
    return f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}"/>'


def case_label(case):
    kind, count = case
    return f"prompt of {count}" if kind == "prefill" else f"decode {count}"


class Panel:
    """The bars of one of our formats and its peers, whose top edge is `y`."""

    def __init__(self, measurements, weights, peers, y):
        self.measurements, self.weights, self.y = measurements, weights, y
        self.engines = [("codegen", weights), *peers]
        self.base = y + HEAD + PANEL
        shares = [
            self.share(engine, case) for engine in self.engines for case in measurements.cases
        ]
        self.top = (
            max([share for share in shares if share] + [1]) * 1.12
        )  # value at the top edge of the bars

    def share(self, engine, case):
        """Speed relative to ours, or None."""
        speed = self.measurements.speed(*engine, case)
        ours = self.measurements.speed("codegen", self.weights, case)
        return speed / ours if speed and ours else None

    def height(self, share):
        return PANEL * share / self.top

    def legend(self):
        x = LEFT
        for engine, weights in self.engines:
            label = f"{engine} {weights}"
            yield rectangle(x, self.y + 12, 11, 11, COLOURS[engine])
            yield text(
                x + 16, self.y + 22, label, weight="bold" if engine == "codegen" else "normal"
            )
            x += 34 + 7 * len(label)

    def grid(self):
        for share in (0, 0.5, 1):
            y = self.base - self.height(share)
            yield rule(y, "#999" if share == 0 else "#ddd")
            yield text(LEFT - 6, y + 4, f"{share:g}", 11, "end", colour="#666")

    def bar(self, x, width, engine, case):
        share = self.share(engine, case)
        if share is None:
            return []
        top = self.base - self.height(share)
        ours = engine[0] == "codegen"
        label = f"{self.measurements.speed(*engine, case):.0f}/s" if ours else f"{share:.2f}"
        return [
            rectangle(x, top, width, self.base - top, COLOURS[engine[0]]),
            text(x + width / 2, top - 4, label, 10, "middle", "bold" if ours else "normal"),
        ]

    def groups(self):
        cases = self.measurements.cases
        group = (WIDTH - LEFT - RIGHT) / len(cases)
        width = min(34, group * 0.86 / len(self.engines))
        for i, case in enumerate(cases):
            middle = LEFT + (i + 0.5) * group
            for j, engine in enumerate(self.engines):
                yield from self.bar(
                    middle + (j - len(self.engines) / 2) * width, width - 2, engine, case
                )
            yield text(middle, self.base + 17, case_label(case), anchor="middle")

    def draw(self):
        return [*self.legend(), *self.grid(), *self.groups()]


def write(measurements, title, path):
    panels = [
        (weights, peers)
        for weights, peers in measurements.panels()
        if measurements.runs("codegen", weights)
    ]
    step = HEAD + PANEL + FOOT
    height = TOP + step * len(panels) + 10
    body = [
        rectangle(0, 0, WIDTH, height, "#fff"),
        text(LEFT, 22, HEADING, 14, weight="bold"),
        text(LEFT, 42, title, colour="#666"),
    ]
    for i, (weights, peers) in enumerate(panels):
        body += Panel(measurements, weights, peers, TOP + i * step).draw()
    with open(path, "w") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
            f'height="{height}" font-family="system-ui, sans-serif">\n'
            + "\n".join(body)
            + "\n</svg>\n"
        )
