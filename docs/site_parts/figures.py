"""How the pictures of the examples look on the site; whoever runs an example has matplotlib's own look."""

from __future__ import annotations

from typing import Any

__all__ = ["reset"]


def reset(gallery_conf: dict[str, Any], file_name: str) -> None:
    """Before each example, for sphinx-gallery's ``reset_modules``."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "font.size": 10,
            "legend.fontsize": 9,
        }
    )
