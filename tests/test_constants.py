"""Constants that a layout in Python and the kernel that reads it both state: they are one number."""

import re

import pytest
from places import ROOT

from cem.em.kernels import lane_order, shared_layout
from cem.statistics import block_layout

SOURCES = ROOT / "src" / "cem"


@pytest.mark.parametrize(
    "laid_out, kernel, name",
    [
        (block_layout, "statistics/_blocks.pxd", "LANES"),
        (shared_layout, "em/kernels/_shared.pyx", "PADDING"),
        (shared_layout, "em/kernels/_shared.pyx", "SMALL_PRODUCT"),
    ],
)
def test_a_layout_and_its_kernel_state_the_same_number(laid_out, kernel, name):
    """The kernel would read and write beside the arrays that were laid out for it."""
    stated = re.findall(rf"^    {name} = (\d+)\b", (SOURCES / kernel).read_text(encoding="utf-8"), re.MULTILINE)
    assert stated == [str(getattr(laid_out, name))]


def test_tiles_of_unknown_and_of_mixed_modes_have_the_numbers_that_the_kernel_reads():
    """Units of known mode would enter every mode, or those of unknown mode a single one."""
    text = (SOURCES / "em/kernels/_lanes_types.h").read_text(encoding="utf-8")
    stated = re.search(r"tile_modes;.*?(-\d+): none is known, (-\d+): mixed", text)
    assert stated is not None
    assert (int(stated[1]), int(stated[2])) == (lane_order.NONE_KNOWN, lane_order.MIXED)
