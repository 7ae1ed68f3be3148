"""The exported C functions of a header with ``scalar="float"``, for processors that have a float unit and no other.

Double is used where a time stamp needs it, and nowhere on the way from a reading to a probability. What would lose
digits in float is arranged so that it does not:

- Times are subtracted from centres, knots and origins in double; the difference is a float.
- A basis whose orthonormal functions are small differences of large terms is evaluated in double (`is_wide`).
- Of sums over readings, one for each mode, a second float keeps what the first rounds away. Their error is then that
  of the terms, which round either way: after N values it grows as sqrt(N) eps, not as N eps.
- The readings of a channel times the logarithm of its scale is a product of integers, and of a small float that these
  lack: an error of that logarithm would count N times.
- A state may keep what each of its numbers rounds away. Reading n changes it by 1 / n of itself, and what its last
  digits lose shifts all later residuals. Log-odds of modes that stay open were off by up to 3e-2 after 100,000
  readings, with a carry by 4e-4. It doubles the memory, so the program that includes the header chooses.
- Logarithms of determinants are those of a product of mantissas, and an integer sum of exponents.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cem.export.c_conditions import CConditions
from cem.export.c_functions import (
    KINDS,
    UNROLLED_SIZE,
    Block,
    mode_length,
    plus,
    residual_lines,
    residual_loop,
    sizes_of,
    state_length,
    state_of_mode,
    table_row,
    update_opening,
)
from cem.export.c_text import Writer, single_vector, vector

__all__ = [
    "IMPOSSIBLE",
    "basis_tables",
    "designs_function",
    "is_wide",
    "log_joint_function",
    "rotate_body",
    "unit_structure",
    "update_function",
    "whole_and_rest",
    "wide_section",
]

# Beyond this, orthonormal functions are computed in double. In float they are off by so many units of the last place.
LARGEST_AMPLIFICATION = 16.0

# The logarithm of the probability of an impossible mode.
IMPOSSIBLE = -1e36

# Integers of 2^-20 stand for what integers multiply.
UNIT = 2.0**20


def whole_and_rest(value: float) -> tuple[int, float]:
    """A number as an integer of 2^-20, and what it lacks."""
    whole = round(value * UNIT)
    return whole, value - whole / UNIT


HALF_LOG_2 = whole_and_rest(0.5 * math.log(2.0))

# As many mantissas, each below 2, can be multiplied before a product overflows.
MANTISSAS = 120


def is_wide(block: Block, basis: Any) -> bool:
    """Whether float would lose digits of the design's functions: their terms are much larger than they are."""
    low, high = (float(end) for end in basis.domain)
    times = np.linspace(low, high, 129) if high > low else np.array([low])
    functions = np.abs(np.asarray(basis(times)))
    own = [functions[:, j] if j >= 0 else np.ones(len(times)) for _, j in block.design.by_mode]
    functions = np.column_stack([functions, *own])
    terms = functions @ np.abs(np.linalg.inv(block.design.transform))
    return bool(np.max(terms) > LARGEST_AMPLIFICATION)


# -------------------------------------------------------------------------------------------------------- the tables


def basis_tables(index: int, basis: Any, *, narrow: bool, wide: bool, out: Writer) -> list[str]:
    """The numbers of a basis, as its functions read them."""
    kind, numbers = KINDS[basis.kind], [float(number) for number in basis.numbers]
    title, name = f"Basis {index}, {kind}, {basis.size} functions", f"{out.name}_basis_{index}_"
    tables = []
    if kind == "fourier" and narrow:
        turns = [numbers[0], numbers[1] / (2.0 * np.pi)]
        tables.append(vector(f"{title}: origin, 1 / period", f"{out.name}_turns_{index}_", turns))
    if kind == "polynomial" and narrow:
        tables.append(
            single_vector(out, f"{title}: 1 / half-width, recurrence", f"{out.name}_steps_{index}_", numbers[1:])
        )
    if (narrow and kind in ("bspline", "exponential")) or wide:
        tables.append(vector(title, name, numbers))
    return tables


def wide_section(text: str, kind: str) -> str:
    """The function of a kind of basis in double, under a name of its own."""
    return text.replace(f"@name@_{kind}_(", f"@name@_{kind}_wide_(")


# -------------------------------------------------------------------------------------------------------- the state


def unit_structure(blocks: Sequence[Block], n_modes: int, given: CConditions, out: Writer) -> str:
    lines = [
        "/* One running unit. Plain data: copy it, or keep its bytes over a restart, as you like. */",
        "typedef struct {",
        f"    uint32_t n[{blocks[-1].stop}]; /* readings of each channel */",
        f"    float misfit[{n_modes}]; /* sum of squares in each mode */",
        f"    float carry[{n_modes}]; /* what those sums have rounded away */",
    ]
    for p, _, slots in sizes_of(blocks):
        length = slots * n_modes * state_length(p)
        lines.append(
            f"    float state_{p}[{length} * @NAME@_STATE_]; /* D ({p}), R ({p * (p - 1) // 2}), m ({p}) of each */"
        )
    lines += given.unit_members(n_modes, out)
    return out.fill("\n".join([*lines, "} @name@_unit;"]))


# ------------------------------------------------------------------------------------------- from readings to numbers


def designs_function(
    blocks: Sequence[Block], bases: Sequence[Any], wide: Sequence[bool], given: CConditions, out: Writer
) -> str:
    """Evaluates each basis, in double where some of its designs need it; W φ follows, W = S⁻ᵀ."""
    at = "@name@_conditions_ *at, " if given.shapes_designs else ""
    size = max(block.size for block in blocks)
    lines = [
        "/* The orthonormal functions of all designs at a time. */",
        f"static inline int @name@_designs_(double t, {at}float *out)",
        "{",
    ]
    starts = given.function_starts
    narrow_bases = {block.design.basis for block, is_it in zip(blocks, wide, strict=True) if not is_it} | set(starts)
    if narrow_bases:
        lines.append(f"    float phi[{size}];")
    if any(wide):
        lines.append(f"    double wide[{size}];")
    lines += [
        f"    if (!(fabs(t) <= {float(np.finfo(np.float64).max).hex()})) {{",
        "        return @NAME@_BAD_TIME;",
        "    }",
    ]
    for index, basis in enumerate(bases):
        if index in narrow_bases:
            lines.append(f"    @name@_{KINDS[basis.kind]}_({basis.size}, {_numbers(index, basis)}t, phi);")
        if index in starts:
            lines.append(f"    memcpy({plus('at->functions', starts[index])}, phi, {basis.size} * sizeof *phi);")
        for is_it, values in ((False, "phi"), (True, "wide")):
            own = [i for i, block in enumerate(blocks) if block.design.basis == index and wide[i] == is_it]
            if own and is_it:
                lines.append(f"    @name@_{KINDS[basis.kind]}_wide_({basis.size}, @name@_basis_{index}_, t, wide);")
            for number in own:
                block = blocks[number]
                for i, (feature, function) in enumerate(block.design.by_mode):
                    factor = "" if function < 0 else f" * {values}[{function}]"
                    value = f"{'(double)' if is_it else ''}at->features[{feature}]{factor}"
                    lines.append(f"    {values}[{basis.size + i}] = {value};")
                lines += _transform(block, f"@name@_transform_{number}_", values)
    lines.append(f"    return @name@_near_(out, {blocks[-1].values + blocks[-1].size});")
    return out.fill("\n".join([*lines, "}"]))


def _numbers(index: int, basis: Any) -> str:
    """Arguments of a basis's function before the time."""
    kind = KINDS[basis.kind]
    if kind == "polynomial":
        return f"{float(basis.numbers[0]).hex()}, @name@_steps_{index}_, "
    return {"constant": "", "fourier": f"@name@_turns_{index}_, "}.get(kind, f"@name@_basis_{index}_, ")


def _transform(block: Block, table: str, values: str) -> list[str]:
    p, cast = block.size, "(float)" if values == "wide" else ""
    if p > UNROLLED_SIZE:
        function = "@name@_transform_wide_" if cast else "@name@_transform_"
        return [f"    {function}({p}, {values}, {table}, {plus('out', block.values)});"]
    lines = []
    for i in range(p):
        terms = " + ".join(f"{table}[{i * (i + 1) // 2 + j}] * {values}[{j}]" for j in range(i + 1))
        lines.append(f"    out[{block.values + i}] = {f'{cast}({terms})' if cast else terms};")
    return lines


def rotate_body(p: int, length: int) -> str:
    """The rotations of `c_functions.rotate_body`, each number of the state by `@name@_more_`, which may keep its rest.

    The rest is `length` places farther on. A sum D goes through the state, so that it has the rounding of the state.
    """
    if p > UNROLLED_SIZE:
        return f"""\
{residual_loop(p, "float")}
    for (i = 0; i < {p}; ++i) {{
        const float step = weight * z[i], before = D[i];
        float inverse, gain;
        @name@_more_(D + i, {length}, step * z[i]);
        inverse = 1.0f / D[i];
        gain = step * inverse;
        weight *= before * inverse;
        for (j = i + 1; j < {p}; ++j) {{
            z[j] -= z[i] * *R;
            @name@_more_(R++, {length}, gain * z[j]);
        }}
        e -= z[i] * m[i];
        @name@_more_(m + i, {length}, gain * e);
    }}
    return weight * e * e;"""
    right, entry = p + p * (p - 1) // 2, p
    lines = residual_lines(p, "float")
    lines.append(f"    float {'weight, ' if p > 1 else ''}step, inverse, keep, gain;")
    for i in range(p):
        lines += [
            f"    step = {'weight * ' if i else ''}z{i};",
            f"    keep = state[{i}];",
            f"    @name@_more_(state + {i}, {length}, step * z{i});",
            f"    inverse = 1.0f / state[{i}];",
            "    keep *= inverse;",
            "    gain = step * inverse;",
        ]
        if p > 1:
            lines.append(f"    weight {'*=' if i else '='} keep;")
        for j in range(i + 1, p):
            lines += [
                f"    z{j} -= z{i} * state[{entry}];",
                f"    @name@_more_(state + {entry}, {length}, gain * z{j});",
            ]
            entry += 1
        lines += [
            f"    e -= z{i} * state[{right + i}];",
            f"    @name@_more_(state + {right + i}, {length}, gain * e);",
        ]
    lines.append(f"    return {'weight' if p > 1 else 'keep'} * e * e;")
    return "\n".join(lines)


def update_function(blocks: Sequence[Block], n_modes: int, given: CConditions, out: Writer) -> str:
    lines = update_opening(given, "float", out)
    for block in blocks:
        p, functions = block.size, plus("phi", block.values)
        lines += [
            f"    for (slot = {block.start}; slot < {block.stop}; ++slot) {{",
            f"        const float *mode = {table_row('modes', block, n_modes)};",
            f"        float *state = {table_row('state', block, n_modes)};",
            "        if (z[slot] == z[slot]) {",
            "            unit->n[slot] += 1;",
            *given.stretch_of_reading(out),
            f"            for (k = 0; k < {n_modes}; ++k) {{",
            f"                const float more = @name@_rotate_{p}_({functions}, z[slot], mode, state);",
            # Kahan summation, because log-odds are small differences of sums over all readings.
            "                const float corrected = more - unit->carry[k], before = unit->misfit[k];",
            "                const float after = before + corrected;",
            "                unit->misfit[k] = after;",
            "                unit->carry[k] = (after - before) - corrected;",
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
    """(11) in pairs of floats; what integers multiply is in integers of 2^-20, and a small float that these lack."""
    many = sum(slots * p for p, _, slots in sizes_of(blocks)) > MANTISSAS
    lines = [
        "/* log of the probability of each mode times the density of all readings in it, as sums and rests. */",
        "static inline void @name@_log_joint_(const @name@_unit *unit, float *sums, float *rests)",
        "{",
        "    int slot, k;",
        f"    for (k = 0; k < {n_modes}; ++k) {{",
        "        const int32_t *log_scale = @name@_log_scales_ + k;",
        "        const float *log_scale_rest = @name@_log_scale_rests_ + k;",
        "        int64_t whole = 0;",
        "        float sum = -0.5f * unit->misfit[k], rest = 0.5f * unit->carry[k], product = 1.0f, determinant;",
        "        int32_t exponent = 0;",
    ]
    for p, first, slots in sizes_of(blocks):
        lines += [
            f"        for (slot = {first}; slot < {first + slots}; ++slot) {{",
            f"            const float *D = unit->state_{p} + {state_of_mode(p, first, n_modes)};",
            "            const int32_t n = (int32_t)unit->n[slot];",
        ]
        if p > UNROLLED_SIZE:
            lines.append("            int i;")
        lines += [
            "            whole += (int64_t)n * *log_scale;",
            "            rest += (float)n * *log_scale_rest;",
            f"            log_scale += {n_modes};",
            f"            log_scale_rest += {n_modes};",
        ]
        shortened = ["if (product > 1e30f) {", "    product = @name@_mantissa_(product, &exponent);", "}"]
        if p > UNROLLED_SIZE:
            lines += [
                f"            for (i = 0; i < {p}; ++i) {{",
                "                product *= @name@_mantissa_(D[i], &exponent);",
                *(f"                {line}" for line in shortened if many),
                "            }",
            ]
        else:
            lines += [f"            product *= @name@_mantissa_(D[{i}], &exponent);" for i in range(p)]
            lines += [f"            {line}" for line in shortened if many]
        lines.append("        }")
    lines += [
        f"        whole -= (int64_t)exponent * {HALF_LOG_2[0]}; /* log(2) / 2 */",
        f"        determinant = {HALF_LOG_2[1]!r}f * (float)exponent + 0.5f * logf(product);",
        "        @name@_add_whole_(whole, &sum, &rest);",
        "        @name@_add_(-determinant, &sum, &rest);",
        f"        @name@_add_({given.log_weight}, &sum, &rest);",
        "        sums[k] = sum + rest;",
        "        rests[k] = rest - (sums[k] - sum);",
        "    }",
        "}",
    ]
    return out.fill("\n".join(lines))
