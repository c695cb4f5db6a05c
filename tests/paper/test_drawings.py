"""Pictures of architectures hold every operation of the genes, and no other."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rlnas_core.paper.drawings import draw_blocks, draw_cells, found
from rlnas_core.spaces import get, published
from rlnas_core.spaces.mobilenet import SHAPES, SKIP


def texts(figure):
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


@pytest.mark.parametrize("name", [name for name, entry in published().items() if entry.space.name == "darts"])
def test_cell_shows_its_operations(name):
    genes = published()[name].genes
    for cell, shown in zip(get("darts").genotype(genes), texts(draw_cells({name: genes})), strict=True):
        operations = [text for text in shown if "_" in text.replace(" ", "_") and text[0].islower()]
        assert sorted(operations) == sorted(
            operation.replace("_", " ") for operation, _ in cell if operation != "none"
        )


def test_chain_shows_every_block():
    genes = get("mobilenet").sample(1, np.random.default_rng(0))[0]
    genes[2] = SKIP
    (shown,) = texts(draw_blocks({"sampled": genes}))
    blocks = [text for text in shown if text.startswith("MB") or text == "skip"][1:]
    expected = ["skip" if gene == SKIP else "MB{0}\n{1}x{1}".format(*SHAPES[gene]) for gene in genes.tolist()]
    assert blocks == expected


def luminance(colour):
    """Relative luminance of a colour (WCAG 2.2)."""
    return sum(
        share * (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
        for share, value in zip((0.2126, 0.7152, 0.0722), to_rgb(colour), strict=True)
    )


def test_text_on_blocks_can_be_read():
    figure = draw_blocks({"all": np.arange(21) % 7})
    (axes,) = figure.axes
    for block, text in zip(axes.patches, axes.texts[::2], strict=True):
        low, high = sorted([luminance(block.get_facecolor()[:3]), luminance(text.get_color())])
        assert (high + 0.05) / (low + 0.05) >= 4.5, text.get_text()


def test_a_single_architecture_is_named_too():
    axes = draw_cells({"RLNAS-imagenet": published()["RLNAS-imagenet"].genes}).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "RLNAS-imagenet: normal cell",
        "RLNAS-imagenet: reduction cell",
    ]


def test_every_architecture_of_a_figure_gets_a_column():
    entries = {name: entry.genes for name, entry in published().items() if entry.figure in (3, 4)}
    assert len(draw_cells(entries).axes) == 2 * len(entries)


@pytest.mark.parametrize(
    ("space", "draw", "limits", "within", "pictures"),
    [
        ("darts", draw_cells, ["500", "600"], [" within 500M", " within 600M"], 4),
        ("mobilenet", draw_blocks, ["none", "475"], ["", " within 475M"], 2),
    ],
)
def test_searches_with_two_limits_give_two_drawings(space, draw, limits, within, pictures):
    genes = get(space).sample(2, np.random.default_rng(0))
    searches = [
        {"space": space, "dataset": "digits", "seed": "0", "limit": limit, "arch": arch}
        for limit, arch in zip(limits, get(space).to_string(genes), strict=True)
    ]
    drawn = found(searches)
    assert list(drawn) == [f"this run, digits{limit}, seed 0" for limit in within]
    assert get(space).to_string(np.array(list(drawn.values()))) == get(space).to_string(genes)
    assert len(draw(drawn).axes) == pictures
