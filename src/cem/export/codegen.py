"""Export a fitted model as one self-contained C99 header, for machines without Python.

The header keeps, for every mode and channel, the least-squares problem of the unit's whitened coefficients. It starts
at the prior's rows [I | 0], and each reading rotates [φᵀΛ | x − φᵀμ] / σ in (model.md §4, the equivalent form of
(9)–(11)). Misfit and determinant of (11) then need no factorisation, nothing is subtracted from a number of its own
size, and a missing value just skips a rotation.

The text of the functions is in ``codegen_template.h`` and, if it depends on sizes, in ``c_functions.py``; that of
covariates, if there are any, in ``c_conditions.py``. What is different in float is in ``codegen_single.h`` and
``c_single.py``. This module writes the numbers.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.errors import BasisError, ModelFileError, OptionError, PredictionError
from cem.export import c_single
from cem.export.c_conditions import CConditions
from cem.export.c_functions import (
    KINDS,
    LIMITS,
    Block,
    Design,
    centred_function,
    curves_function,
    designs_function,
    init_function,
    log_joint_function,
    rotate_body,
    sizes_of,
    state_length,
    unit_structure,
    update_function,
)
from cem.export.c_text import (
    Writer,
    comment,
    enumeration,
    enumerators,
    in_single,
    integers,
    name_function,
    scalar_table,
    single_vector,
    vector,
)
from cem.files.whole_file import write_whole
from cem.process.channel_process import refuse_process
from cem.statistics.coordinates import times_inverse

if TYPE_CHECKING:
    from cem.mixture.fitted import FittedMixture

__all__ = ["export_c"]

FloatArray = NDArray[np.float64]

# Channels with one basis share its evaluation. Their orthonormalisations may differ a little, if channels were missing
# at different times. One orthonormalisation serves all channels within this condition number of it.
SHARED_CONDITION = 10.0


def export_c(
    model: FittedMixture,
    path: str | os.PathLike[str] | None = None,
    *,
    name: str = "fleet",
    scalar: str = "double",
) -> str:
    """Export a fitted model as one C99 header that needs only ``<float.h>``, ``<math.h>`` and ``<string.h>``.

    In float it needs ``<stdint.h>`` too.

    It compiles only if double has 64 bits and constants are double: not with ``-fsingle-precision-constant``.

    Parameters
    ----------
    model : FittedMixture
        On the forward time axis, with bases that are not `Custom`.
    path : path-like, optional
        File to write, whole or not at all. Default: write no file.
    name : str
        Prefix of all names in the header: a C identifier.
    scalar : {"double", "float"}
        Type of readings, parameters, state and arithmetic. Times are double in both, and so are the types of
        log-likelihoods and forecasts.

    Returns
    -------
    str
        The header's text, ASCII.

    Raises
    ------
    OptionError
        `name` is not a C identifier; `scalar` is neither type, or cannot hold a parameter.
    BasisError
        A channel has a `Custom` basis, which is a Python function.
    PredictionError
        The model's time axis is the time to failure, which is unknown for a running unit; its channels are linked; or
        its units wander about their curves (``process=``).
    ModelFileError
        The file cannot be written, or the path leads to a directory, a device, a pipe or a socket.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise OptionError(f"name: a C identifier that begins with a letter was expected, such as 'fleet'; got {name!r}")
    if scalar not in LIMITS:
        raise OptionError(f"scalar: 'double' or 'float' was expected; got {scalar!r}")
    if getattr(model, "time_axis", "forward") != "forward":
        raise PredictionError(
            "the model's time axis is the time to failure, which is unknown for a running unit, so a C header cannot "
            "score with it; fit with time_axis='forward' to export"
        )
    refuse_process(
        model, "a C header", "score in batches with predict_proba, or fit with process=None to export", PredictionError
    )
    if model.internal_parameters.rank:
        raise PredictionError(
            f"the model's channels are linked (linking_rank={model.internal_parameters.rank}), and the C header weighs "
            "them one by one; fit with linking_rank=0 to export, or score in batches with predict_proba"
        )
    text = _header(model, Writer(name, scalar))
    if path is not None:
        try:
            write_whole(path, text.encode("ascii"))
        except OSError as error:
            raise ModelFileError(
                f"the C header cannot be written to {os.fspath(path)!r}: {error.strerror or error}"
            ) from error
    return text


# ------------------------------------------------------------------------------------------------ channels and bases


def _distinct_bases(model: FittedMixture) -> tuple[list[Any], list[int]]:
    """The distinct bases, and for each channel the index of its own among them."""
    distinct: list[Any] = []
    keys: dict[tuple[int, int, bytes], int] = {}
    chosen = []
    for channel, basis in zip(model.channels, model.bases, strict=True):
        if basis.kind not in KINDS:
            raise BasisError(
                f"channel {channel!r} has a basis of type {type(basis).__name__}, which is evaluated in Python and has "
                "no C text; refit with a Polynomial, BSpline, Fourier, Exponential or Constant basis to export"
            )
        key = (int(basis.kind), int(basis.size), np.asarray(basis.numbers, dtype=np.float64).tobytes())
        if key not in keys:
            keys[key] = len(distinct)
            distinct.append(basis)
        chosen.append(keys[key])
    return distinct, chosen


def _blocks(model: FittedMixture, chosen: Sequence[int], given: CConditions) -> list[Block]:
    """Channels grouped by basis, by columns of covariates, and, within SHARED_CONDITION, by orthonormalisation."""
    designs: list[Design] = []
    for channel, basis in enumerate(chosen):
        transform = model.coordinates.transform(channel)
        by_mode = () if given.conditions is None else given.conditions.by_mode[channel]
        for design in designs:
            alike = design.basis == basis and design.by_mode == by_mode
            if alike and np.linalg.cond(_change(design.transform, transform)) < SHARED_CONDITION:
                design.channels.append(channel)
                break
        else:
            designs.append(Design(basis, transform, [channel], by_mode))
    blocks: list[Block] = []
    first = start = values = 0
    for design in sorted(designs, key=lambda design: design.size):
        if blocks and blocks[-1].size != design.size:
            first = start
        blocks.append(Block(design, first, start, start + len(design.channels), values))
        start += len(design.channels)
        values += design.size
    return blocks


def _change(target: FloatArray, source: FloatArray) -> FloatArray:
    """M = S_target S_source⁻¹, upper triangular: coefficients on the target's functions from the source's."""
    if np.array_equal(target, source):
        return np.eye(len(target))
    return np.triu(times_inverse(target, source))


def _level(basis: Any, centre: FloatArray) -> float:
    """Mean of the centre curve over the basis's domain; readings are first reduced by it, exactly."""
    low, high = (float(end) for end in basis.domain)
    times = np.linspace(low, high, 17) if high > low else np.array([low])
    return float(np.mean(np.asarray(basis(times)) @ centre[: basis.size]))


def _one(basis: Any, size: int) -> FloatArray:
    """Coefficients of the function that is 1 everywhere, which every basis spans; 0 for columns after the basis."""
    one = np.zeros(size)
    one[: basis.size if KINDS[basis.kind] == "bspline" else 1] = 1.0
    return one


def _channel_row(model: FittedMixture, channel: int, transform: FloatArray, out: Writer) -> list[float]:
    """Level a, centre curve less a on the design's functions, 1/scale: x̃ = (x − a − φ̃ᵀb̂) / s."""
    basis, centre = model.bases[channel], model.coordinates.centre(channel)
    level = out.rounded(_level(basis, centre))
    remainder = transform @ (centre - level * _one(basis, len(centre)))
    return [level, *remainder, 1.0 / float(model.coordinates.scales[channel])]


def _mode_row(model: FittedMixture, mode: int, channel: int, transform: FloatArray) -> list[float]:
    """Mean, lower triangle of factor / σ, 1/σ, on the design's functions."""
    parameters = model.internal_parameters
    change = _change(transform, model.coordinates.transform(channel))
    precision = 1.0 / math.sqrt(float(parameters.noise_variances[mode, channel]))
    factor = change @ parameters.factor(mode, channel)
    if not np.array_equal(change, np.eye(len(change))):
        # Any square root of the covariance works; the triangular one is the shortest.
        factor = np.asarray(np.linalg.qr(factor.T, mode="r")).T
    lower = (factor * precision)[np.tril_indices(len(factor))]
    return [*(change @ parameters.mean(mode, channel)), *lower, precision]


def _given(model: FittedMixture, bases: Sequence[Any], chosen: Sequence[int]) -> CConditions:
    """What the header knows of covariates."""
    of_units, membership = getattr(model, "of_units", None), model.internal_parameters.membership
    if of_units is None or membership is None or not of_units.features:
        of_units = membership = None  # then every unit has the probabilities of the fleet
    return CConditions(
        getattr(model, "conditions", None),
        of_units,
        membership,
        tuple(chosen),
        tuple(basis.size for basis in bases),
    )


# -------------------------------------------------------------------------------------------------------- the header


def _tables(
    model: FittedMixture, blocks: Sequence[Block], bases: Sequence[Any], given: CConditions, out: Writer
) -> list[str]:
    """All numbers of the model, as static const arrays."""
    name, weights = out.name, model.internal_parameters.weights
    order = [channel for block in blocks for channel in block.design.channels]
    slots = [int(slot) for slot in np.argsort(order)]
    tables = [
        "/* The channel of each slot: channels sorted by their basis, so that like stands by like. */\n"
        f"static const int {name}_order_[{len(order)}] = {{ {', '.join(map(str, order))} }};",
        f"/* The slot of each channel. */\nstatic const int {name}_slots_[{len(order)}] = "
        f"{{ {', '.join(map(str, slots))} }};",
    ]
    if given.membership is None:
        logarithms = [math.log(weight) if weight > 0.0 else -math.inf for weight in weights]
        title = "Logarithms of the mode probabilities in the fleet"
        if out.is_single:
            # Not infinite, whose differences are NaN; yet nothing that readings add makes it possible.
            logarithms = [max(logarithm, c_single.IMPOSSIBLE) for logarithm in logarithms]
            tables.append(single_vector(out, title, f"{name}_log_weights_", logarithms))
        else:
            tables.append(vector(title, f"{name}_log_weights_", logarithms))
    wide = _wide(blocks, bases, out)
    for index, basis in enumerate(bases):
        if out.is_single:
            own = {wide[i] for i, block in enumerate(blocks) if block.design.basis == index}
            narrow = False in own or index in given.function_starts
            tables += c_single.basis_tables(index, basis, narrow=narrow, wide=True in own, out=out)
        else:
            title = f"Basis {index}, {KINDS[basis.kind]}, {basis.size} functions"
            tables.append(vector(title, f"{name}_basis_{index}_", [float(number) for number in basis.numbers]))
    for number, block in enumerate(blocks):
        lower = np.linalg.inv(block.design.transform).T
        entries = [float(entry) for entry in lower[np.tril_indices(len(lower))]]
        title = f"Lower triangle that makes the functions of basis {block.design.basis} orthonormal"
        table = f"{name}_transform_{number}_"
        if out.is_single and not wide[number]:
            tables.append(single_vector(out, title, table, entries))
        else:
            tables.append(vector(title, table, entries))

    channel_rows: dict[int, list[tuple[str, Sequence[float]]]] = {}
    mode_rows: dict[int, list[tuple[str, Sequence[float]]]] = {}
    log_scales: list[float] = []
    for block in blocks:
        for channel in block.design.channels:
            label = comment(model.channels[channel])
            channel_row = _channel_row(model, channel, block.design.transform, out)
            channel_rows.setdefault(block.size, []).append((label, channel_row))
            for mode, mode_label in enumerate(model.mode_labels):
                mode_row = _mode_row(model, mode, channel, block.design.transform)
                mode_rows.setdefault(block.size, []).append((f"{label}, mode {comment(mode_label)}", mode_row))
                log_scales.append(_log_scale(mode_row[-1], channel_row[-1], out))
    title = "log(1 / (sigma scale sqrt(2 pi))) of each slot and mode"
    if out.is_single:
        parts = [c_single.whole_and_rest(log_scale) for log_scale in log_scales]
        wholes, rests = [whole for whole, _ in parts], [rest for _, rest in parts]
        tables.append(integers(f"{title}, in 2^-20", f"{name}_log_scales_", wholes, "int32_t"))
        tables.append(single_vector(out, "What these lack", f"{name}_log_scale_rests_", rests))
    else:
        tables.append(vector(title, f"{name}_log_scales_", log_scales))
    for size, rows in channel_rows.items():
        tables.append(scalar_table(out, "Level, centre curve less it, 1 / scale.", f"{name}_channels_{size}_", rows))
        title = "Mean, rows of the lower triangle of factor / sigma, 1 / sigma."
        tables.append(scalar_table(out, title, f"{name}_modes_{size}_", mode_rows[size]))
    return tables


def _wide(blocks: Sequence[Block], bases: Sequence[Any], out: Writer) -> list[bool]:
    """Whether each design is evaluated in double although the header is in float."""
    return [out.is_single and c_single.is_wide(block, bases[block.design.basis]) for block in blocks]


def _levels(model: FittedMixture, out: Writer) -> list[float]:
    """Of the channels, as the header holds them."""
    return [out.rounded(_level(basis, model.coordinates.centre(channel))) for channel, basis in enumerate(model.bases)]


def _log_scale(precision: float, inverse_scale: float, out: Writer) -> float:
    """log of 1 / (σ s √2π), from the numbers as the header holds them.

    So the density integrates to one despite rounding: over n readings the rounding of σ enters as misfit less n,
    not as n.
    """
    held = math.log(out.rounded(precision, reciprocal=True)) + math.log(out.rounded(inverse_scale, reciprocal=True))
    return held - 0.5 * math.log(2.0 * math.pi)


PREAMBLE = """\
/* A fitted failure-mode model, written by cem; do not edit.
 *
 * @modes@ failure modes, @channels@ channels, @scalar@ arithmetic; times are in @time@.
 *
 *     @name@_unit unit;
 *     double mean, variance;
 *     @name@_scalar x[@NAME@_N_CHANNELS], probabilities[@NAME@_N_MODES]@arrays@;
 *     @init@;
 *     ... read the sensors into x, in the order of enum @name@_channel; NAN where one is silent ...@more@
 *     if (@update@ == @NAME@_OK) {
 *         @name@_probabilities(&unit, probabilities);
 *     }
 *     @forecast@, @first@, &mean, &variance);
 *
 * No heap, no state outside the unit: units in different threads do not meet. Names that end in _ are internal.
 */
#ifndef @NAME@_CEM_H
#define @NAME@_CEM_H

#include <float.h>
#include <math.h>
@includes@#include <string.h>

#if DBL_MANT_DIG < 53
#error "double has less than 64 bits here, of which this header cannot do its sums; on AVR compile with -mdouble=64"
#endif
/* An array of negative size where constants such as 1.0 are float: compile without -fsingle-precision-constant. */
typedef char @name@_constants_must_be_double_no_fsingle_precision_constant_[sizeof(1.0) == sizeof(double) ? 1 : -1];

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "missing values are NaN, which -ffast-math does not honour; compile without it"
#endif

@format@typedef @scalar@ @name@_scalar;

enum { @NAME@_N_CHANNELS = @channels@, @NAME@_N_MODES = @modes@, @NAME@_N_DESIGN_VALUES_ = @values@@components@ };"""


FLOAT_FORMAT = """\
#if FLT_RADIX != 2 || FLT_MANT_DIG != 24 || FLT_MAX_EXP != 128
#error "float is not that of IEEE 754 here, of which this header takes mantissas; export with scalar='double'"
#endif

"""


def _sections(file: str) -> dict[str, str]:
    """The sections of a template, by name."""
    text = resources.files("cem.export").joinpath(file).read_text(encoding="ascii")
    parts = re.split(r"^/\*@ (\w+) \*/\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.rstrip("\n") for part in parts[2::2]), strict=True))


def _template(out: Writer) -> dict[str, str]:
    """The sections of the header's template; in float those of double are rewritten where there are none of its own."""
    sections = _sections("codegen_template.h")
    if not out.is_single:
        return sections
    own = _sections("codegen_single.h")
    wide = {f"{kind}_wide": c_single.wide_section(sections[kind], kind) for kind in KINDS.values()}
    return {**{name: in_single(text) for name, text in sections.items()}, **own, **wide}


def _basis_functions(
    part: dict[str, str], blocks: Sequence[Block], bases: Sequence[Any], given: CConditions, out: Writer
) -> list[str]:
    """What evaluates the bases, and makes their functions orthonormal."""
    if not out.is_single:
        kinds = dict.fromkeys(KINDS[basis.kind] for basis in bases)
        return [*(out.fill(part[kind]) for kind in kinds), out.fill(part["transform"])]
    wide = _wide(blocks, bases, out)
    narrow_bases = {block.design.basis for block, is_it in zip(blocks, wide, strict=True) if not is_it}
    wide_bases = {block.design.basis for block, is_it in zip(blocks, wide, strict=True) if is_it}
    narrow_kinds = dict.fromkeys(
        KINDS[bases[index].kind] for index in sorted(narrow_bases | set(given.function_starts))
    )
    wide_kinds = dict.fromkeys(KINDS[bases[index].kind] for index in sorted(wide_bases))
    degrees = [int(basis.numbers[0]) for basis in bases if KINDS[basis.kind] == "bspline"]
    return [
        *(out.fill(part[kind], degree=str(max([1, *degrees]))) for kind in narrow_kinds),
        *([] if all(wide) else [out.fill(part["transform"])]),
        *(out.fill(part[f"{kind}_wide"]) for kind in wide_kinds),
        *([out.fill(part["transform_wide"])] if any(wide) else []),
    ]


def _rotate(part: dict[str, str], p: int, length: int, out: Writer) -> str:
    body = c_single.rotate_body(p, length) if out.is_single else rotate_body(p, f"{out.name}_scalar")
    return out.fill(part["rotate"], p=str(p), body=out.fill(body))


def _header(model: FittedMixture, out: Writer) -> str:
    mode_labels, components = model.mode_labels, getattr(model, "components", None)
    part = _template(out)
    if components is not None:
        from cem.export.c_components import component_sections, component_tables

        part, model = component_sections(part), model.of_components  # type: ignore[attr-defined]
    bases, chosen = _distinct_bases(model)
    given = _given(model, bases, chosen)
    blocks = _blocks(model, chosen, given)
    n_modes, n_channels = model.internal_parameters.n_modes, len(model.channels)
    prefix = out.name.upper()
    channels = enumerators(f"{prefix}_CHANNEL", model.channels)
    modes = enumerators(f"{prefix}_MODE", mode_labels)
    sizes = sorted({block.size for block in blocks})
    words = {
        "modes": str(len(mode_labels)),
        "components": "" if components is None else f", {prefix}_N_COMPONENTS_ = {n_modes}",
        "channels": str(n_channels),
        "scalar": out.scalar,
        "time": comment(model.time_unit) if model.time_unit else "the unit of the training data",
        "first": channels[0],
        **given.usage(out),
        "includes": "#include <stdint.h>\n" if out.is_single else "",
        "format": FLOAT_FORMAT if out.is_single else "",
        "values": str(blocks[-1].values + blocks[-1].size),
    }
    pieces = [
        out.fill(PREAMBLE, **words),
        out.fill(part["statuses" if given.is_empty else "statuses_at"]),
        enumeration(f"{out.name}_channel", channels, model.channels),
    ]
    if model.response is not None:
        response = channels[list(model.channels).index(model.response)]
        pieces.append(f"/* The quantity that matters. */\nenum {{ {prefix}_RESPONSE = {response} }};")
    pieces += [
        enumeration(f"{out.name}_mode", modes, mode_labels),
        name_function(f"{out.name}_channel_name", model.channels, "channel"),
        name_function(f"{out.name}_mode_name", mode_labels, "mode"),
        *([] if given.is_empty else given.names(prefix, [*channels, *modes], out)),
        *_tables(model, blocks, bases, given, out),
        *([] if components is None else component_tables(components, not given.is_empty, out)),
        *given.written_tables(out, _levels(model, out)),
        *([out.fill(part["sums"])] if out.is_single else []),
        (c_single.unit_structure if out.is_single else unit_structure)(blocks, n_modes, given, out),
        *given.functions(part, out),
        *_basis_functions(part, blocks, bases, given, out),
        out.fill(part["near"], largest_design=LIMITS[out.scalar].design),
        c_single.designs_function(blocks, bases, _wide(blocks, bases, out), given, out)
        if out.is_single
        else designs_function(blocks, bases, given, out),
        *given.at_functions(out),
        centred_function(blocks, given, out),
        *(_rotate(part, p, slots * n_modes * state_length(p), out) for p, _, slots in sizes_of(blocks)),
        (c_single.log_joint_function if out.is_single else log_joint_function)(blocks, n_modes, given, out),
        out.fill(part["peek"], largest_size=str(sizes[-1])),
        curves_function(blocks, n_modes, out),
        init_function(blocks, n_modes, given, out),
        *([] if given.is_empty else [out.fill(part["weights"])]),
        (c_single.update_function if out.is_single else update_function)(blocks, n_modes, given, out),
        out.fill(part["probabilities"], **given.score_words(out)),
        out.fill(part["forecast"], **given.forecast_words(out)),
        f"#endif /* {prefix}_CEM_H */",
    ]
    return "\n\n".join(pieces) + "\n"
