"""The C header of a model that averages over the law of its parameters: components for modes, summed at the end.

Everything inside the header works on components. Outside, there are modes: their names, and their probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cem.export.c_text import Writer, single_vector, vector

if TYPE_CHECKING:
    from cem.mixture.grouped import Components

__all__ = ["component_sections", "component_tables"]

_PROBABILITIES = """

/* Probability of each failure mode given all readings so far; they add up to 1. Each is the sum of its components'. */
static inline void @name@_probabilities(const @name@_unit *unit, @name@_scalar probabilities[@NAME@_N_MODES])
{
    @name@_scalar shares[@NAME@_N_COMPONENTS_];
    int k, j = 0;
    @name@_component_probabilities_(unit, shares);
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        probabilities[k] = 0;
        for (; j < @name@_components_[k + 1]; ++j) {
            probabilities[k] += shares[j];
        }
        if (probabilities[k] > 1) {
            probabilities[k] = 1;
        }
    }
}"""


def component_sections(part: dict[str, str]) -> dict[str, str]:
    """The sections of the template for components.

    Parameters
    ----------
    part : dict of str to str
        The sections for modes.
    """
    found = {name: text.replace("@NAME@_N_MODES", "@NAME@_N_COMPONENTS_") for name, text in part.items()}
    inner, rest = found["probabilities"].split("/* Natural logarithm of the density", 1)
    inner = inner.replace("@name@_probabilities(", "@name@_component_probabilities_(")
    inner = inner.replace("Probability of each failure mode given", "Probability of each component given")
    found["probabilities"] = f"{inner.rstrip()}{_PROBABILITIES}\n\n/* Natural logarithm of the density{rest}"
    before, after = part["weights"].rsplit("    for (k = 0; k < @NAME@_N_MODES; ++k) {", 1)
    after = after.replace("weights[k] >", "weights[@name@_mode_of_[k]] >").replace(
        "weights[k] / sum)", "weights[@name@_mode_of_[k]] / sum) + @name@_log_shares_[k]"
    )
    after = after.replace("(double)weights[k]", "(double)weights[@name@_mode_of_[k]]")
    found["weights"] = f"{before}    for (k = 0; k < @NAME@_N_COMPONENTS_; ++k) {{{after}"
    return found


def component_tables(components: Components, with_weights: bool, out: Writer) -> list[str]:
    """Which components are those of which mode.

    Parameters
    ----------
    components : Components
    with_weights : bool
        Whether units may have mode probabilities of their own, of which components take their shares.
    out : Writer
    """
    name, starts = out.name, components.starts.tolist()
    tables = [
        "/* Where the components of each mode begin, and the end of the last one's. */\n"
        f"static const int {name}_components_[{len(starts)}] = {{ {', '.join(map(str, starts))} }};"
    ]
    if with_weights:
        modes = components.modes.tolist()
        shares = np.maximum(components.log_shares, -1e30).tolist()
        title = "Logarithms of the components' shares of their modes"
        tables += [
            f"/* The mode of each component. */\nstatic const int {name}_mode_of_[{len(modes)}] = "
            f"{{ {', '.join(map(str, modes))} }};",
            single_vector(out, title, f"{name}_log_shares_", shares)
            if out.is_single
            else vector(title, f"{name}_log_shares_", shares),
        ]
    return tables
