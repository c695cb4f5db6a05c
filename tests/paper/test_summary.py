"""The page at the end of `make search`."""

import numpy as np
import pandas as pd
import pytest

from rlnas_core.model.comparison import compare
from rlnas_core.paper.summary import summarise
from rlnas_core.search.choice import Limit

ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|none~2|"
NAMES = ["found", "structure", "evolution", "seed-0", "random-0"]


@pytest.mark.parametrize(
    ("limit", "words"), [(np.inf, "largest in the search space;"), (1e6, "largest within the limit;")]
)
def test_the_page_names_what_was_searched_and_no_interval_where_no_image_differs(limit, words):
    candidates = pd.DataFrame(
        {"architecture": NAMES, "arch": ARCH, "params": 1e6, "flops": 1e7, "angle": 1.0, "proven": True}
    )
    right = {name: np.ones((2, 12), bool) for name in ("found", "random")}
    tables = {"candidates": candidates, "agreement": candidates[:0], "comparison": compare(right, "found")}
    limited = Limit(limit, network={"image_size": 8})
    page = summarise(tables, {"name": "photos"}, limited, {"train_supernet": 3.0})
    assert words in page
    assert page.count("within the limit") == (0 if np.isinf(limit) else 3)
    (row,) = [line for line in page.splitlines() if line.startswith("| random ")]
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["100.0 (75.8 to 100.0)", "+0.0"]
    assert "95% intervals over 12 held-out images" in page
