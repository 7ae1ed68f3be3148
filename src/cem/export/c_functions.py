"""The exported C functions whose text depends on the sizes of the bases: state, rotations, loops over channels.

Channels are renumbered as *slots*, sorted by the size of their basis and then by design, so that every loop runs
over channels of the same kind. Rows of one size are contiguous in flat arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.export.c_conditions import CConditions
from cem.export.c_text import Writer

__all__ = [
    "KINDS",
    "LIMITS",
    "UNROLLED_SIZE",
    "Block",
    "Design",
    "Limits",
    "centred_function",
    "curves_function",
    "designs_function",
    "init_function",
    "log_joint_function",
    "mode_length",
    "plus",
    "residual_lines",
    "residual_loop",
    "rotate_body",
    "sizes_of",
    "state_length",
    "state_of_mode",
    "table_row",
    "unit_structure",
    "update_function",
    "update_opening",
]

KINDS = {0: "polynomial", 1: "bspline", 2: "fourier", 3: "exponential", 4: "constant"}

# Up to this size the arithmetic is written out; above it, loops keep the C text short.
UNROLLED_SIZE = 4


@dataclass(frozen=True)
class Limits:
    """Magnitudes beyond which squares and products of the state could overflow."""

    design: str  # of an orthonormal function
    reading: str  # of a centred and scaled reading


LIMITS = {"double": Limits("1e30", "1e100"), "float": Limits("1e6f", "1e12f")}

# Within those, two entries of D may follow on a product below this.
LARGEST_PRODUCT, FACTORS = "1e130", 2


@dataclass(frozen=True)
class Design:
    """Channels of one basis with one set of orthonormal functions."""

    basis: int  # index among the distinct bases
    transform: NDArray[np.float64]  # (p, p) S, upper triangular
    channels: list[int]
    by_mode: tuple[tuple[int, int], ...] = ()  # (feature, basis function or -1) of columns after the basis

    @property
    def size(self) -> int:
        return len(self.transform)


@dataclass(frozen=True)
class Block:
    """A design and its position."""

    design: Design
    first: int  # first slot of this basis size, row 0 of its tables
    start: int  # first slot of the design
    stop: int
    values: int  # offset of its functions among those of all designs

    @property
    def size(self) -> int:
        return self.design.size


def plus(text: str, offset: int) -> str:
    """C for text + offset."""
    return f"{text} + {offset}" if offset else text


def sizes_of(blocks: Sequence[Block]) -> Iterator[tuple[int, int, int]]:
    """(p, first slot, number of slots) for each size of basis."""
    for first in dict.fromkeys(block.first for block in blocks):
        members = [block for block in blocks if block.first == first]
        yield members[0].size, first, members[-1].stop - first


def channel_length(p: int) -> int:
    """Length of a channel's row: level, centre curve, 1 / scale."""
    return p + 2


def mode_length(p: int) -> int:
    """Length of a mode's row: mean, triangle of the factor / σ, 1 / σ."""
    return p + p * (p + 1) // 2 + 1


def state_length(p: int) -> int:
    """Length of a state's row: D, R above its unit diagonal, m."""
    return p + p * (p - 1) // 2 + p


# -------------------------------------------------------------------------------------------------------- the state


def unit_structure(blocks: Sequence[Block], n_modes: int, given: CConditions, out: Writer) -> str:
    pairs = blocks[-1].stop * n_modes
    lines = [
        "/* One running unit. Plain data: copy it, or keep its bytes over a restart, as you like. */",
        "typedef struct {",
        f"    double n[{blocks[-1].stop}]; /* readings of each channel */",
        f"    double misfit[{pairs}]; /* sums of squares, for each channel and mode */",
        f"    double carry[{pairs}]; /* what those sums have rounded away */",
    ]
    for p, _, slots in sizes_of(blocks):
        length = slots * n_modes * state_length(p)
        lines.append(f"    @name@_scalar state_{p}[{length}]; /* D ({p}), R ({p * (p - 1) // 2}), m ({p}) of each */")
    lines += given.unit_members(n_modes, out)
    return out.fill("\n".join([*lines, "} @name@_unit;"]))


def init_function(blocks: Sequence[Block], n_modes: int, given: CConditions, out: Writer) -> str:
    signature, before, after = given.init_parts(n_modes, out)
    lines = [
        *signature,
        "{",
        "    int i, j;",
        *before,
        "    memset(unit, 0, sizeof *unit);",
    ]
    for p, _, slots in sizes_of(blocks):
        lines += [
            f"    for (i = 0; i < {slots * n_modes}; ++i) {{",
            f"        for (j = 0; j < {p}; ++j) {{",
            f"            unit->state_{p}[{state_length(p)} * i + j] = 1;",
            "        }",
            "    }",
        ]
    return out.fill("\n".join([*lines, *after, "}"]))


# ------------------------------------------------------------------------------------------- from readings to numbers


def designs_function(blocks: Sequence[Block], bases: Sequence[Any], given: CConditions, out: Writer) -> str:
    """Evaluates each basis once, in double; W φ follows, W = S⁻ᵀ."""
    at = "@name@_conditions_ *at, " if given.shapes_designs else ""
    lines = [
        "/* The orthonormal functions of all designs at a time. */",
        f"static inline int @name@_designs_(double t, {at}@name@_scalar *out)",
        "{",
        f"    double phi[{max(block.size for block in blocks)}];",
        f"    if (!(fabs(t) <= {float(np.finfo(np.float64).max).hex()})) {{",
        "        return @NAME@_BAD_TIME;",
        "    }",
    ]
    for index, basis in enumerate(bases):
        lines.append(f"    @name@_{KINDS[basis.kind]}_({basis.size}, @name@_basis_{index}_, t, phi);")
        if index in given.function_starts:
            target = plus("at->functions", given.function_starts[index])
            lines.append(f"    memcpy({target}, phi, {basis.size} * sizeof *phi);")
        for number, block in enumerate(blocks):
            if block.design.basis == index:
                for i, (feature, function) in enumerate(block.design.by_mode):
                    factor = "" if function < 0 else f" * phi[{function}]"
                    lines.append(f"    phi[{basis.size + i}] = at->features[{feature}]{factor};")
                lines += _transform(block, f"@name@_transform_{number}_", out)
    lines.append(f"    return @name@_near_(out, {blocks[-1].values + blocks[-1].size});")
    return out.fill("\n".join([*lines, "}"]))


def _transform(block: Block, table: str, out: Writer) -> list[str]:
    p = block.size
    if p > UNROLLED_SIZE:
        return [f"    @name@_transform_({p}, phi, {table}, {plus('out', block.values)});"]
    lines = []
    for i in range(p):
        terms = " + ".join(f"{table}[{i * (i + 1) // 2 + j}] * phi[{j}]" for j in range(i + 1))
        lines.append(f"    out[{block.values + i}] = (@name@_scalar)({terms});")
    return lines


def centred_function(blocks: Sequence[Block], given: CConditions, out: Writer) -> str:
    """x̃ = (x − a − φ̃ᵀb̂) / s. The level a is subtracted first: near it the difference is exact, even in float.

    A map of the readings by their conditions takes the level off too, where the header is in float.
    """
    if given.maps_readings:
        at = "const @name@_conditions_ *at, "
        signature = [
            f"static inline int @name@_centred_(const @name@_scalar *phi, {at}const @name@_scalar *x,",
            "                                  @name@_scalar *z)",
        ]
        read = [
            "        const int c = @name@_order_[slot];",
            *given.mapped_lines(out),
            "        const @name@_scalar value = x[c];",
        ]
        less = "(mapped - curve)" if out.is_single else "((@name@_scalar)(mapped - (double)channel[0]) - curve)"
    else:
        signature = [
            "static inline int @name@_centred_(const @name@_scalar *phi, const @name@_scalar *x, @name@_scalar *z)"
        ]
        read = ["        const @name@_scalar value = x[@name@_order_[slot]];"]
        less = "((value - channel[0]) - curve)"
    lines = [
        "/* Readings less the fleet's mean curve, in its scales, by slot; NaN stays NaN. */",
        *signature,
        "{",
        f"    const @name@_scalar largest = {LIMITS[out.scalar].reading};",
        "    int slot;",
    ]
    for block in blocks:
        p = block.size
        lines += [
            f"    for (slot = {block.start}; slot < {block.stop}; ++slot) {{",
            f"        const @name@_scalar *channel = {table_row('channels', block, 1)};",
            *read,
        ]
        if p <= UNROLLED_SIZE:
            terms = " + ".join(f"phi[{block.values + i}] * channel[{i + 1}]" for i in range(p))
            lines.append(f"        const @name@_scalar curve = {terms};")
        else:
            lines += [
                "        @name@_scalar curve = 0;",
                "        int i;",
                f"        for (i = 0; i < {p}; ++i) {{",
                f"            curve += phi[{plus('i', block.values)}] * channel[i + 1];",
                "        }",
            ]
        lines += [
            f"        z[slot] = {less} * channel[{p + 1}];",
            "        if (!(z[slot] < largest && z[slot] > -largest) && value == value) {",
            "            return @NAME@_BAD_VALUE;",
            "        }",
            "    }",
        ]
    return out.fill("\n".join([*lines, "    return @NAME@_OK;", "}"]))


def table_row(what: str, block: Block, n_modes: int) -> str:
    """C for the row, or rows of all modes, of slot `slot` in one of the flat tables."""
    p = block.size
    slot = f"(slot - {block.first})" if block.first else "slot"
    if what == "state":
        return f"unit->state_{p} + {slot} * {state_length(p) * n_modes}"
    length = channel_length(p) if what == "channels" else mode_length(p) * n_modes
    return f"@name@_{what}_{p}_ + {slot} * {length}"


# -------------------------------------------------------------------------------------------------------- rotations


def rotate_body(p: int, scalar: str) -> str:
    """The statements that rotate a reading into the state of a mode and channel, and return its share of the misfit.

    Row [z | e] of weight 1 meets the rows [R | m] of weights D, R unit upper triangular, in p root-free Givens
    rotations, which never subtract sums of squares. R and m change by a gain times the residual. In the form
    keep * R + gain * z, the rounding of keep would pull them towards zero at every reading, and after 200,000
    readings the relative error of the likelihood was 2e-14 instead of 3e-16.
    """
    write: Callable[[int, str], str] = _unrolled if p <= UNROLLED_SIZE else _looped
    return write(p, scalar)


def residual_lines(p: int, scalar: str) -> list[str]:
    """A reading's residual e and its row z, written out."""
    level = " + ".join(f"phi[{i}] * mode[{i}]" for i in range(p))
    lines = [f"    {scalar} e = (x - ({level})) * mode[{mode_length(p) - 1}];"]
    for j in range(p):
        terms = " + ".join(f"phi[{i}] * mode[{p + i * (i + 1) // 2 + j}]" for i in range(j, p))
        lines.append(f"    {'' if j else 'const '}{scalar} z{j} = {terms};")
    return lines


def _unrolled(p: int, scalar: str) -> str:
    right = p + p * (p - 1) // 2
    lines = residual_lines(p, scalar)
    lines.append(f"    {scalar} {'weight, ' if p > 1 else ''}step, sum, inverse, keep, gain;")
    entry = p
    for i in range(p):
        lines += [
            f"    step = {'weight * ' if i else ''}z{i};",
            f"    sum = state[{i}] + step * z{i};",
            "    inverse = 1 / sum;",
            f"    keep = state[{i}] * inverse;",
            "    gain = step * inverse;",
            f"    state[{i}] = sum;",
        ]
        if p > 1:
            lines.append(f"    weight {'*=' if i else '='} keep;")
        for j in range(i + 1, p):
            lines += [
                f"    z{j} -= z{i} * state[{entry}];",
                f"    state[{entry}] += gain * z{j};",
            ]
            entry += 1
        lines += [
            f"    e -= z{i} * state[{right + i}];",
            f"    state[{right + i}] += gain * e;",
        ]
    lines.append(f"    return (double)({'weight' if p > 1 else 'keep'} * e * e);")
    return "\n".join(lines)


def residual_loop(p: int, scalar: str) -> str:
    """The same in loops, and names for the parts of the state."""
    return f"""\
    {scalar} *D = state, *R = state + {p}, *m = state + {p + p * (p - 1) // 2};
    const {scalar} *factor = mode + {p};
    {scalar} z[{p}];
    {scalar} e = x, weight = 1;
    int i, j;
    for (j = 0; j < {p}; ++j) {{
        z[j] = 0;
    }}
    for (i = 0; i < {p}; ++i) {{
        e -= phi[i] * mode[i];
        for (j = 0; j <= i; ++j) {{
            z[j] += phi[i] * *factor++;
        }}
    }}
    e *= *factor;"""


def _looped(p: int, scalar: str) -> str:
    return f"""\
{residual_loop(p, scalar)}
    for (i = 0; i < {p}; ++i) {{
        const {scalar} step = weight * z[i], sum = D[i] + step * z[i], inverse = 1 / sum;
        const {scalar} gain = step * inverse;
        weight *= D[i] * inverse;
        D[i] = sum;
        for (j = i + 1; j < {p}; ++j) {{
            z[j] -= z[i] * *R;
            *R++ += gain * z[j];
        }}
        e -= z[i] * m[i];
        m[i] += gain * e;
    }}
    return (double)(weight * e * e);"""


def update_opening(given: CConditions, scalar: str, out: Writer) -> list[str]:
    """The first lines of an update: functions of time and readings less their centres, or the fault of a reading."""
    return [
        *given.update_signature(),
        "{",
        f"    {scalar} phi[@NAME@_N_DESIGN_VALUES_], z[@NAME@_N_CHANNELS];",
        *given.update_variables(out),
        "    int slot, k, status;",
        f"    status = {given.evaluation};",
        "    if (status == @NAME@_OK) {",
        f"        status = @name@_centred_(phi, {'&at, ' if given.maps_readings else ''}x, z);",
        "    }",
        "    if (status != @NAME@_OK) {",
        "        return status;",
        "    }",
    ]


def update_function(blocks: Sequence[Block], n_modes: int, given: CConditions, out: Writer) -> str:
    lines = update_opening(given, "@name@_scalar", out)
    for block in blocks:
        p, functions = block.size, plus("phi", block.values)
        lines += [
            f"    for (slot = {block.start}; slot < {block.stop}; ++slot) {{",
            f"        const @name@_scalar *mode = {table_row('modes', block, n_modes)};",
            f"        @name@_scalar *state = {table_row('state', block, n_modes)};",
            f"        double *misfit = unit->misfit + slot * {n_modes};",
        ]
        lines += [
            f"        double *carry = unit->carry + slot * {n_modes};",
            "        if (z[slot] == z[slot]) {",
            "            unit->n[slot] += 1.0;",
            *given.stretch_of_reading(out),
            f"            for (k = 0; k < {n_modes}; ++k) {{",
            f"                const double more = @name@_rotate_{p}_({functions}, z[slot], mode, state);",
            # Kahan summation, because log-odds are small differences of sums over all readings.
            "                const double corrected = more - carry[k], before = misfit[k];",
            "                const double after = before + corrected;",
            "                misfit[k] = after;",
            "                carry[k] = (after - before) - corrected;",
            f"                mode += {mode_length(p)};",
            f"                state += {state_length(p)};",
            "            }",
            "        }",
            "    }",
        ]
    lines += given.stretch_of_unit(out)
    return out.fill("\n".join([*lines, "    return @NAME@_OK;", "}"]))


# ------------------------------------------------------------------------------------------------------------ scores


def log_joint_function(blocks: Sequence[Block], n_modes: int, given: CConditions, out: Writer) -> str:
    """(11): logarithms of D are taken of running products, dozens of factors at a time."""

    look = [
        f"if (product > {LARGEST_PRODUCT}) {{",
        "    determinant += log(product);",
        "    product = 1.0;",
        "}",
    ]
    lines = [
        "/* log of the probability of each mode times the density of all readings in it. */",
        "static inline void @name@_log_joint_(const @name@_unit *unit, double *logarithms)",
        "{",
        "    int slot, k;",
        f"    for (k = 0; k < {n_modes}; ++k) {{",
        "        const double *misfit = unit->misfit + k, *log_scale = @name@_log_scales_ + k;",
        f"        double sum = {given.log_weight}, determinant = 0.0, product = 1.0;",
    ]
    for p, first, slots in sizes_of(blocks):
        inner = [f"const @name@_scalar *D = unit->state_{p} + {state_of_mode(p, first, n_modes)};"]
        if p > UNROLLED_SIZE:
            inner.append("int i;")
        inner.append(f"sum += unit->n[slot] * log_scale[slot * {n_modes}] - 0.5 * misfit[slot * {n_modes}];")
        if p > UNROLLED_SIZE:
            inner += [
                f"for (i = 0; i < {p}; ++i) {{",
                *(f"    {line}" for line in look),
                "    product *= D[i];",
                "}",
            ]
        else:
            for i in range(0, p, FACTORS):
                factors = " * ".join(f"D[{j}]" for j in range(i, min(p, i + FACTORS)))
                inner += [*look, f"product *= {factors};"]
        lines.append(f"        for (slot = {first}; slot < {first + slots}; ++slot) {{")
        lines += [f"            {line}" for line in inner]
        lines.append("        }")
    lines += ["        logarithms[k] = sum - 0.5 * (determinant + log(product));", "    }", "}"]
    return out.fill("\n".join(lines))


def state_of_mode(p: int, first: int, n_modes: int) -> str:
    slot = f"(slot - {first})" if first else "slot"
    return f"({slot} * {n_modes} + k) * {state_length(p)}"


def curves_function(blocks: Sequence[Block], n_modes: int, out: Writer) -> str:
    lines = [
        "/* A channel's centre curve and scale, and each mode's mean and variance about it in that scale. */",
        "static inline void @name@_curves_(const @name@_unit *unit, const @name@_scalar *phi, int slot,",
        f"                                  {'@real@ *level, ' if out.is_single else ''}@real@ *centre, @real@ *scale, "
        "@real@ *means, @real@ *variances)",
        "{",
        "    const @name@_scalar *channel, *mode, *state;",
        "    int p, i, k;",
    ]
    chain = len(blocks) > 1
    margin = "        " if chain else "    "
    for i, block in enumerate(blocks):
        p, last = block.size, i + 1 == len(blocks)
        if chain:
            condition = "else" if last else f"if (slot < {block.stop})"
            lines.append(f"    {'} else ' if i and not last else '} ' if i else ''}{condition} {{")
        if block.values:
            lines.append(f"{margin}phi += {block.values};")
        lines += [
            f"{margin}p = {p};",
            f"{margin}channel = {table_row('channels', block, 1)};",
            f"{margin}mode = {table_row('modes', block, n_modes)};",
            f"{margin}state = {table_row('state', block, n_modes)};",
        ]
    if chain:
        lines.append("    }")
    if out.is_single:
        # Level and remainder stay apart: their sum may need more digits than a float has.
        lines += [
            "    *scale = 1.0f / channel[p + 1];",
            "    *level = channel[0];",
            "    *centre = 0.0f;",
            "    for (i = 0; i < p; ++i) {",
            "        *centre += phi[i] * channel[i + 1];",
            "    }",
        ]
    else:
        lines += [
            "    *scale = 1.0 / (double)channel[p + 1];",
            "    *centre = (double)channel[0];",
            "    for (i = 0; i < p; ++i) {",
            "        *centre += (double)phi[i] * (double)channel[i + 1];",
            "    }",
        ]
    lines += [
        f"    for (k = 0; k < {n_modes}; ++k) {{",
        "        @name@_peek_(p, phi, mode, state, means + k, variances + k);",
        "        mode += p + p * (p + 1) / 2 + 1;",
        "        state += p + p * (p - 1) / 2 + p;",
        "    }",
        "}",
    ]
    return out.fill("\n".join(lines))
