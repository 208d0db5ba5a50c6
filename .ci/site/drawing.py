"""A recipe as a drawing: its networks as boxes, its objectives as arrows from who teaches to who learns."""

from __future__ import annotations

from collections import defaultdict
from html import escape

from preceptor.recipe import Recipe
from preceptor.recipe.objective import Ramp, Steps, Weight

_WIDTH, _BOX, _HEIGHT, _GAP, _LINE = 820, 215, 74, 70, 17
_LEFT, _MIDDLE, _RIGHT = 20, 300, 430


def draw(recipe: Recipe) -> str:
    """An SVG element without blank lines, to stand in Markdown."""
    edges: dict[tuple[str, str], list[str]] = defaultdict(list)
    own: dict[str, list[str]] = defaultdict(list)
    for term in recipe.objectives:
        label = f"{weight_text(term.weight)} {term.loss}".strip()
        for source in term.sources:
            edges[source, term.learner].append(label)
        if not term.sources:
            own[term.learner].append(label)
    for name, network in recipe.networks.items():
        if network.mean_of is not None:
            edges[network.mean_of, name].append(f"running mean, decay {network.decay or 0.99:g}")
    taught = {term.learner for term in recipe.objectives if term.learner}
    columns = [[n for n in recipe.networks if n not in taught], [n for n in recipe.networks if n in taught]]
    places = {
        name: (x, 16 + row * (_HEIGHT + _GAP))
        for x, column in zip((_LEFT, _RIGHT if columns[0] else _MIDDLE), columns, strict=True)
        for row, name in enumerate(column)
    }
    height = max(y for _, y in places.values()) + _HEIGHT + 16
    parts = [
        f'<svg class="recipe" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(describe(recipe))}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>',
    ]
    for pair, labels in edges.items():
        parts.append(_edge(places, pair, labels, back=(pair[1], pair[0]) in edges))
    parts += [_box(recipe, name, place, own[name]) for name, place in places.items()]
    return "".join([*parts, "</svg>"])


def describe(recipe: Recipe) -> str:
    """The drawing in words."""
    terms = [
        f"{term.loss} {'from ' + ' and '.join(term.sources) + ' to' if term.sources else 'of'} {term.learner}"
        for term in recipe.objectives
    ]
    return f"{recipe.name}: {'; '.join(terms)}"


def weight_text(weight: Weight) -> str:
    """A weight as a factor: a number, or how it moves over the epochs."""
    if isinstance(weight, Ramp):
        return f"(0→{weight.to:g}) ·"
    if isinstance(weight, Steps):
        return f"({'→'.join(f'{value:g}' for value in weight.steps.values())}) ·"
    return "" if weight == 1 else f"{weight:g} ·"


def _box(recipe: Recipe, name: str, place: tuple[int, int], own: list[str]) -> str:
    x, y = place
    network, view = recipe.networks[name], recipe.views[name]
    state = "frozen" if network.frozen else "mean" if network.mean_of else "learns"
    policy = view.policy if isinstance(view.policy, str) else "own"
    sees = f"the view of {view.same_as}" if view.same_as else f"view: {policy}"
    lines = [f'<tspan class="name">{escape(name)}</tspan> ({state})', escape(sees)]
    lines += [escape(", ".join(own))] if own else []
    texts = "".join(
        f'<text x="{x + _BOX / 2:g}" y="{y + 24 + row * 20}" text-anchor="middle">{line}</text>'
        for row, line in enumerate(lines)
    )
    kind = "frozen" if network.frozen or network.mean_of else "learns"
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="8"/>{texts}'


def _edge(places: dict[str, tuple[int, int]], pair: tuple[str, str], labels: list[str], back: bool) -> str:
    (x1, y1), (x2, y2) = places[pair[0]], places[pair[1]]
    middle = _HEIGHT / 2
    if x1 == x2:  # in one column: a bow beside it, the way back on the other side
        side = 1 if y1 < y2 or not back else -1
        x = x1 + (_BOX if side > 0 else 0)
        path = f"M{x} {y1 + middle}C{x + 70 * side} {y1 + middle} {x + 70 * side} {y2 + middle} {x} {y2 + middle}"
        anchor, at, base = ("start" if side > 0 else "end"), x + 60 * side, (y1 + y2) / 2 + middle
    else:
        forward = x1 < x2
        shift = (-12 if forward else 12) if back else 0
        start, end = (x1 + _BOX, x2) if forward else (x1, x2 + _BOX)
        path = f"M{start} {y1 + middle + shift:g}L{end} {y2 + middle + shift:g}"
        above = shift <= 0
        anchor, at = "middle", (start + end) / 2
        base = (y1 + y2) / 2 + middle + shift + (-8 - _LINE * (len(labels) - 1) if above else 20)
    texts = "".join(
        f'<text class="term" x="{at:g}" y="{base + row * _LINE:g}" text-anchor="{anchor}">{escape(label)}</text>'
        for row, label in enumerate(labels)
    )
    dashed = ' stroke-dasharray="5 4"' if labels[0].startswith("running mean") else ""
    return f'<path class="edge" d="{path}" marker-end="url(#tip)"{dashed}/>{texts}'
