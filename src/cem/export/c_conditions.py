"""The exported C text of reading conditions: covariates, regimes, features, maps of readings, and a unit's own weights.

The arithmetic is that of ``covariates/_conditions.pxd``, in the header's scalar. In float, what is subtracted from a
covariate or a reading is a pair of floats, because its rounding would shift all readings alike; intervals begin at the
first float in them; and of a reading its regime's offset and its channel's level are taken off as one number. A model
without conditions and membership gets no text from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.covariates.regimes import CENTRES, CUTS
from cem.errors import PredictionError
from cem.export.c_numbers import NUMBERS, feature_tables, floats, pairs, up
from cem.export.c_text import (
    Writer,
    comment,
    enumeration,
    enumerators,
    identifier,
    in_single,
    integers,
    name_function,
    single_vector,
    vector,
)

if TYPE_CHECKING:
    from cem.covariates.columns import Column
    from cem.covariates.conditions import Conditions

__all__ = ["CConditions"]

FloatArray = NDArray[np.float64]

# What update_at and the others return beside the statuses of all headers; their names are taken.
STATUSES = ("OK", "BAD_TIME", "BAD_VALUE", "FAR_TIME", "BAD_CHANNEL", "BAD_COVARIATE", "BAD_LEVEL", "BAD_REGIME",
            "FAR_COVARIATE", "BAD_WEIGHTS")  # fmt: skip
SIZES = ("N_CHANNELS", "N_MODES", "N_COVARIATES", "N_UNIT_COVARIATES", "RESPONSE", "CEM_H")


@dataclass(frozen=True)
class CConditions:
    """What a header knows of covariates.

    Parameters
    ----------
    conditions : Conditions or None
        Of readings.
    of_units : Conditions or None
        The features of units' covariates on which the probabilities of modes depend.
    membership : ndarray of shape (K, 1 + F) or None
        γ, of these features.
    bases : tuple of int
        The distinct basis of each channel.
    sizes : tuple of int
        Functions of each distinct basis.
    """

    conditions: Conditions | None
    of_units: Conditions | None
    membership: FloatArray | None
    bases: tuple[int, ...]
    sizes: tuple[int, ...]
    read: tuple[Column, ...] = field(init=False)
    of_unit: tuple[Column, ...] = field(init=False)

    def __post_init__(self) -> None:
        if self.conditions is not None and not self.conditions.columns:
            object.__setattr__(self, "conditions", None)  # nothing that a reading could change
        own = () if self.conditions is None else self.conditions.columns
        units = {column.name: column for column in own if column.of_unit}
        for column in () if self.of_units is None else self.of_units.columns:
            if units.setdefault(column.name, column).levels != column.levels:
                raise PredictionError(
                    f"covariate {column.name!r} has levels {units[column.name].levels!r} for readings, and "
                    f"{column.levels!r} for membership; the C header numbers levels once, so fit both on one panel"
                )
        object.__setattr__(self, "read", tuple(column for column in own if not column.of_unit))
        object.__setattr__(self, "of_unit", tuple(units.values()))

    # ---- what there is

    @property
    def is_empty(self) -> bool:
        """Whether the header is that of a model without conditions and membership."""
        return self.conditions is None and self.of_units is None

    @property
    def kept(self) -> tuple[Column, ...]:
        """Unit covariates that a unit keeps for its readings."""
        return () if self.conditions is None else tuple(x for x in self.conditions.columns if x.of_unit)

    @property
    def n_regimes(self) -> int:
        return 0 if self.conditions is None or self.conditions.regimes is None else self.conditions.regimes.n_regimes

    @property
    def has_common(self) -> bool:
        return self.conditions is not None and any(self.conditions.common)

    @property
    def maps_readings(self) -> bool:
        """Whether readings are mapped before they meet curves."""
        return bool(self.n_regimes) or self.has_common

    @property
    def shapes_designs(self) -> bool:
        """Whether designs have columns of covariates, or leave functions for common columns."""
        return self.conditions is not None and (any(self.conditions.by_mode) or bool(self.function_starts))

    @property
    def function_starts(self) -> dict[int, int]:
        """Where the functions of each basis are kept that common columns multiply."""
        starts: dict[int, int] = {}
        total = 0
        for c, entries in enumerate(() if self.conditions is None else self.conditions.common):
            if any(j >= 0 for _, j in entries) and self.bases[c] not in starts:
                starts[self.bases[c]] = total
                total += self.sizes[self.bases[c]]
        return starts

    @property
    def log_weight(self) -> str:
        """C for the log of the probability of mode k before all readings."""
        return "@name@_log_weights_[k]" if self.is_empty else "unit->log_weights[k]"

    # ---- names

    def names(self, prefix: str, used: Sequence[str], out: Writer) -> list[str]:
        """Enumerations of covariates and of the levels of categories."""
        read = [column.name for column in self.read]
        of_unit = [column.name for column in self.of_unit]
        taken = [*used, *(f"{prefix}_{name}" for name in (*STATUSES, *SIZES))]
        sizes = f"@NAME@_N_COVARIATES = {len(read)}, @NAME@_N_UNIT_COVARIATES = {len(of_unit)}"
        pieces = [out.fill(f"enum {{ {sizes} }};")]
        for kind, names, what in (
            ("covariate", read, "read with the sensors, in their order in w"),
            ("unit_covariate", of_unit, "of a unit, in their order in u"),
        ):
            if names:
                found = enumerators(f"{prefix}_{kind.upper()}", names, taken)
                taken += found
                pieces.append(f"/* Covariates {what}. */\n{enumeration(f'{out.name}_{kind}', found, names)}")
        for column in (*self.read, *self.of_unit):
            if column.levels is not None:
                found = enumerators(f"{prefix}_{identifier(column.name)}", column.levels, taken)
                taken += found
                title = f"/* Levels of the covariate {comment(column.name)}, as numbers. */"
                pieces.append(f"{title}\n{enumeration('', found, column.levels)}")
        if read:
            pieces.append(name_function(f"{out.name}_covariate_name", read, "covariate"))
        if of_unit:
            pieces.append(name_function(f"{out.name}_unit_covariate_name", of_unit, "unit covariate"))
        return pieces

    def usage(self, out: Writer) -> dict[str, str]:
        """Words of the header's first comment."""
        at, w = ("_at", ", w") if self.read else ("", "")
        arrays = ", w[@NAME@_N_COVARIATES]" if self.read else ""
        arrays += ", u[@NAME@_N_UNIT_COVARIATES]" if self.of_unit else ""
        before = ""
        if self.read:
            before += "\n *     ... and the covariates into w, in the order of enum @name@_covariate ..."
        return {
            "init": out.fill("@name@_init_at(&unit, u)" if self.of_unit else "@name@_init(&unit)"),
            "update": out.fill(f"@name@_update{at}(&unit, t, x{w})"),
            "forecast": out.fill(f"@name@_forecast{at}(&unit, t + 10{w}"),
            "arrays": out.fill(arrays),
            "more": out.fill(before),
        }

    # ---- numbers

    def tables(self, out: Writer, levels: Sequence[float]) -> Iterator[tuple[str, str, list[int] | list[float]]]:
        """(title, name, values) of the arrays that functions need: whole numbers are int, others of the scalar."""
        if self.of_unit:
            yield "Levels of each unit covariate; 0: a number", "unit_levels", _levels(self.of_unit)
        if self.of_units is not None and self.membership is not None:
            names = [column.name for column in self.of_unit]
            sources = [names.index(self.of_units.columns[x.column].name) for x in self.of_units.features]
            yield from feature_tables("unit_", "a unit", self.of_units.features, sources, out)
            title = "Intercept and coefficients of the mode probabilities, by mode"
            yield title, "membership_coefficients", [float(x) for x in self.membership.ravel()]
        if self.conditions is None:
            return
        given = self.conditions
        yield "Levels of each covariate; 0: a number", "levels", _levels(given.columns)
        yield from feature_tables("", "a reading", given.features, [x.column for x in given.features], out)
        if given.regimes is not None:
            yield from self._of_regimes(out, levels)
        if self.has_common:
            yield from self._of_common()

    def _of_regimes(self, out: Writer, levels: Sequence[float]) -> Iterator[tuple[str, str, list[int] | list[float]]]:
        assert self.conditions is not None and self.conditions.regimes is not None
        given, regimes = self.conditions, self.conditions.regimes
        known = [int(n > 0) for n in regimes.counts]
        if regimes.kind == CENTRES:
            yield "Covariates that regimes depend on", "settings", list(regimes.columns)
            origin = floats(regimes.origin)
            yield "What is taken off each before it is scaled", "origin", pairs(origin) if out.is_single else origin
            yield "Its scale, inverse", "precision", floats(1.0 / regimes.spread)
            yield "Centres of the regimes", "places", floats(regimes.places)
            if regimes.specification.unknown == "error":
                yield "Squares of how far they reach", "reaches", floats(regimes.reaches**2)
        elif regimes.kind == CUTS:
            cuts = list(regimes.specification.cuts or ())
            yield "Where one regime ends and the next begins", "cuts", up(cuts) if out.is_single else cuts
            yield "Whether a regime has training readings", "known", known
        else:
            yield "Whether a regime has training readings", "known", known
        if out.is_single:
            offsets = pairs(floats(given.offsets + np.asarray(levels) * given.scales))
            yield "Offsets of the channels' levels, by regime, as pairs", "offsets", offsets
        else:
            yield "Offsets of the channels, by regime", "offsets", floats(given.offsets)
        yield "Inverse scales of the channels, by regime", "inverse_scales", floats(1.0 / given.scales)
        logs = [0.0 - math.log(scale) for scale in given.scales.ravel()]
        yield "Logarithms of these", "log_inverse_scales", logs

    def _of_common(self) -> Iterator[tuple[str, str, list[int] | list[float]]]:
        assert self.conditions is not None
        common, starts = self.conditions.common, self.function_starts
        entries = [(c, f, j) for c, own in enumerate(common) for f, j in own]
        counts = [0, *map(len, common)]
        yield "Where the common columns of each channel begin", "common_starts", np.cumsum(counts).tolist()
        yield "Feature of each common column", "common_features", [f for _, f, _ in entries]
        if starts:
            functions = [-1 if j < 0 else starts[self.bases[c]] + j for c, _, j in entries]
            yield "Function that multiplies it; -1: none", "common_functions", functions
        betas = [float(beta) for own in self.conditions.coefficients for beta in own]
        yield "Coefficients of the common columns", "common_coefficients", betas

    def written_tables(self, out: Writer, levels: Sequence[float]) -> list[str]:
        """The tables as C text; `levels` are those of the channels."""
        tables = []
        for title, name, values in self.tables(out, levels):
            if all(isinstance(value, int) for value in values):
                tables.append(integers(title, f"{out.name}_{name}_", [int(value) for value in values]))
            elif out.is_single:
                tables.append(single_vector(out, title, f"{out.name}_{name}_", values))
            else:
                tables.append(vector(title, f"{out.name}_{name}_", values))
        return tables

    # ---- functions

    def functions(self, part: dict[str, str], out: Writer) -> list[str]:
        """What evaluates covariates, from the sections of the template, and the structure of a reading's conditions."""
        pieces = []
        if self.read or self.of_unit:
            pieces.append(out.fill(part["checked"]))
        if self.of_units is not None or (self.conditions is not None and self.conditions.features):
            numbers, rest = (NUMBERS + 1, f" - numbers[{NUMBERS}]") if out.is_single else (NUMBERS, "")
            pieces.append(out.fill(part["features"], numbers=str(numbers), rest=rest))
        if self.of_units is not None:
            pieces.append(out.fill(part["membership"], length=str(1 + len(self.of_units.features))))
        return pieces + self._structure(out) + self._regime_function(part, out)

    def at_functions(self, out: Writer) -> list[str]:
        """What a time and covariates make of a reading; designs are defined by then."""
        return self._at_function(out) + self._map_functions(out)

    def _structure(self, out: Writer) -> list[str]:
        """The structure of a reading's conditions."""
        if self.conditions is None:
            return []
        lines = [
            "/* A reading's conditions: its regime, features of its covariates, functions that multiply some. */",
            "typedef struct {",
            "    int regime;",
        ]
        if self.conditions.features:
            lines.append(f"    @real@ features[{len(self.conditions.features)}];")
        if self.function_starts:
            lines.append(f"    @real@ functions[{sum(self.sizes[basis] for basis in self.function_starts)}];")
        return [out.fill("\n".join([*lines, "} @name@_conditions_;"]))]

    def _regime_function(self, part: dict[str, str], out: Writer) -> list[str]:
        """From a row of covariates to its regime."""
        if self.conditions is None or self.conditions.regimes is None:
            return []
        regimes, n = self.conditions.regimes, str(self.n_regimes)
        nearest = regimes.specification.unknown == "nearest"
        if regimes.kind == CENTRES:
            section = "nearest_centre" if nearest else "centre_within_reach"
            words = {"s": "2 * s", "rest": " - @name@_origin_[2 * s + 1]"} if out.is_single else {"s": "s", "rest": ""}
            words["rest"] = out.fill(words["rest"])
            return [out.fill(part[section], n=n, settings=str(len(regimes.columns)), **words)]
        if regimes.kind == CUTS:
            section = "nearest_interval" if nearest and not regimes.counts.all() else "interval"
            return [out.fill(part[section], n=n, column=str(regimes.columns[0]))]
        return [out.fill(part["level"], column=str(regimes.columns[0]))]

    def _at_function(self, out: Writer) -> list[str]:
        """Conditions and designs of a reading."""
        if self.conditions is None:
            return []
        places = {column.name: i for i, column in enumerate(self.read)}
        places |= {column.name: i for i, column in enumerate(self.kept)}
        n_features = len(self.conditions.features)
        lines = [
            "/* What a time and covariates make of a reading. */",
            f"static inline int @name@_at_({self._of_reading('t', declared=True)}@name@_conditions_ *at,",
            "                            @name@_scalar *phi)",
            "{",
            f"    @real@ row[{len(self.conditions.columns)}];",
            "    int status;",
        ]
        for i, column in enumerate(self.conditions.columns):
            cast = "" if out.is_single else "(double)"
            value = f"unit->u[{places[column.name]}]" if column.of_unit else f"{cast}w[{places[column.name]}]"
            lines.append(f"    row[{i}] = {value};")
        lines.append(f"    status = @name@_checked_({len(self.conditions.columns)}, @name@_levels_, row);")
        if n_features:
            tables = "@name@_feature_kinds_, @name@_feature_sources_, @name@_feature_numbers_"
            lines += [
                "    if (status == @NAME@_OK) {",
                f"        status = @name@_features_({n_features}, {tables}, row,",
                "                                  at->features);",
                "    }",
            ]
        lines += ["    if (status != @NAME@_OK) {", "        return status;", "    }"]
        if self.n_regimes:
            lines += [
                "    at->regime = @name@_regime_(row);",
                "    if (at->regime < 0) {",
                "        return @NAME@_BAD_REGIME;",
                "    }",
            ]
        else:
            lines.append("    at->regime = 0;")
        lines += [f"    return @name@_designs_(t, {'at, ' if self.shapes_designs else ''}phi);", "}"]
        return [out.fill("\n".join(lines))]

    def _of_reading(self, t: str, *, declared: bool) -> str:
        """Arguments that the conditions of a reading at a time depend on."""
        unit, time = ("const @name@_unit *unit, ", f"double {t}, ") if declared else ("unit, ", f"{t}, ")
        w = "const @name@_scalar *w, " if declared else "w, "
        return (unit if self.kept else "") + time + (w if self.read else "")

    @property
    def evaluation(self) -> str:
        """C for the status of evaluating the designs at a time, and the conditions if there are any."""
        if self.conditions is None:
            return "@name@_designs_(t, phi)"
        return f"@name@_at_({self._of_reading('t', declared=False)}&at, phi)"

    def _map_functions(self, out: Writer) -> list[str]:
        """From a channel's reading to the mapped one."""
        if not self.maps_readings:
            return []
        assert self.conditions is not None
        pieces = []
        if self.has_common:
            product = "@name@_common_coefficients_[i]"
            lines = [
                "/* What the common columns explain of a channel's reading. */",
                "static inline double @name@_common_(const @name@_conditions_ *at, int c)",
                "{",
                "    double total = 0.0;",
                "    int i;",
                "    for (i = @name@_common_starts_[c]; i < @name@_common_starts_[c + 1]; ++i) {",
                f"        const double value = at->features[@name@_common_features_[i]] * {product};",
            ]
            if self.function_starts:
                lines += [
                    "        const int j = @name@_common_functions_[i];",
                    "        total += j < 0 ? value : value * at->functions[j];",
                ]
            else:
                lines.append("        total += value;")
            common = "\n".join([*lines, "    }", "    return total;", "}"])
            pieces.append(in_single(common) if out.is_single else common)
        if out.is_single:
            return [out.fill(text) for text in pieces]
        value = "x"
        if self.n_regimes:
            place = "[at->regime * @NAME@_N_CHANNELS + c]"
            value = f"(x - @name@_offsets_{place}) * @name@_inverse_scales_{place}"
        lines = [
            "/* A channel's reading without its regime and what common columns explain; NaN stays NaN. */",
            "static inline double @name@_mapped_(const @name@_conditions_ *at, int c, double x)",
            "{",
            f"    return {value}{' - @name@_common_(at, c)' if self.has_common else ''};",
            "}",
        ]
        return [out.fill(text) for text in (*pieces, "\n".join(lines))]

    def mapped_lines(self, out: Writer) -> list[str]:
        """The reading x[c] without its regime and what common columns explain; in float, without its level too."""
        if not out.is_single:
            return ["        const double mapped = @name@_mapped_(at, c, (double)x[c]);"]
        common = " - @name@_common_(at, c)" if self.has_common else ""
        if not self.n_regimes:
            return [f"        const float mapped = (x[c] - channel[0]){common};"]
        return [
            "        const int place = at->regime * @NAME@_N_CHANNELS + c;",
            "        const float less = (x[c] - @name@_offsets_[2 * place]) - @name@_offsets_[2 * place + 1];",
            f"        const float mapped = less * @name@_inverse_scales_[place]{common};",
        ]

    # ---- the unit

    def unit_members(self, n_modes: int, out: Writer) -> list[str]:
        """Further members of a running unit."""
        if self.is_empty:
            return []
        lines = [f"    @real@ log_weights[{n_modes}]; /* logarithms of its mode probabilities before all readings */"]
        if self.n_regimes:
            lines.append("    @real@ stretch; /* sum of the logarithms of inverse scales of regimes */")
            lines.append("    @real@ stretch_carry; /* what that sum has rounded away */")
        if self.kept:
            lines.append(f"    @real@ u[{len(self.kept)}]; /* its covariates on which readings depend */")
        return lines

    def init_parts(self, n_modes: int, out: Writer) -> tuple[list[str], list[str], list[str]]:
        """Of the function that makes a unit: comment and signature, what comes before all else, and what after."""
        if not self.of_unit:
            signature = [
                "/* A unit of which nothing has been seen: its mode probabilities are the fleet's. */",
                "static inline void @name@_init(@name@_unit *unit)",
            ]
            return signature, [], [] if self.is_empty else _fleet_weights(n_modes)
        n, places = len(self.of_unit), {column.name: i for i, column in enumerate(self.of_unit)}
        signature = [
            "/* A unit of which only its covariates are known, in the order of enum @name@_unit_covariate. */",
            "static inline int @name@_init_at(@name@_unit *unit, const @name@_scalar u[@NAME@_N_UNIT_COVARIATES])",
        ]
        before = [f"    @real@ row[{n}];", "    int status;"]
        if self.of_units is not None:
            before += [f"    @real@ features[{len(self.of_units.features)}], logarithms[{n_modes}];"]
        before += [
            f"    for (i = 0; i < {n}; ++i) {{",
            "        row[i] = u[i];" if out.is_single else "        row[i] = (double)u[i];",
            "    }",
            f"    status = @name@_checked_({n}, @name@_unit_levels_, row);",
        ]
        if self.of_units is not None:
            tables = "@name@_unit_feature_kinds_, @name@_unit_feature_sources_, @name@_unit_feature_numbers_"
            before += [
                "    if (status == @NAME@_OK) {",
                f"        status = @name@_features_({len(self.of_units.features)}, {tables},",
                "                                  row, features);",
                "    }",
            ]
        before += ["    if (status != @NAME@_OK) {", "        return status;", "    }"]
        after = _fleet_weights(n_modes)
        if self.of_units is not None:
            before.append("    @name@_membership_(features, logarithms);")
            after = ["    memcpy(unit->log_weights, logarithms, sizeof logarithms);"]
        after += [f"    unit->u[{i}] = row[{places[column.name]}];" for i, column in enumerate(self.kept)]
        return signature, before, [*after, "    return @NAME@_OK;"]

    def update_signature(self) -> list[str]:
        """Comment and signature of the function that takes a reading."""
        if not self.read:
            return [
                "/* Takes one reading of all channels at a time, in any order of time; NaN in x means missing. */",
                "static inline int @name@_update"
                "(@name@_unit *unit, double t, const @name@_scalar x[@NAME@_N_CHANNELS])",
            ]
        return [
            "/* Takes one reading of all channels at a time under covariates w, in any order of time; NaN in x means",
            " * missing. No covariate may be missing. */",
            "static inline int @name@_update_at(@name@_unit *unit, double t, const @name@_scalar x[@NAME@_N_CHANNELS],",
            "                                   const @name@_scalar w[@NAME@_N_COVARIATES])",
        ]

    def update_variables(self, out: Writer) -> list[str]:
        """What the function that takes a reading declares beside all others."""
        lines = [] if self.conditions is None else ["    @name@_conditions_ at;"]
        return [*lines, f"    @real@ stretch = {'0.0f' if out.is_single else '0.0'};"] if self.n_regimes else lines

    def stretch_of_reading(self, out: Writer) -> list[str]:
        """Counts the scale by which a regime divides a reading that is there."""
        if not self.n_regimes:
            return []
        where = "at.regime * @NAME@_N_CHANNELS + @name@_order_[slot]"
        return [f"            stretch += @name@_log_inverse_scales_[{where}];"]

    def stretch_of_unit(self, out: Writer) -> list[str]:
        """Adds what a reading counts to the unit."""
        if not self.n_regimes:
            return []
        return [
            "    {",
            "        const @real@ corrected = stretch - unit->stretch_carry, before = unit->stretch;",
            "        const @real@ after = before + corrected;",
            "        unit->stretch = after;",
            "        unit->stretch_carry = (after - before) - corrected;",
            "    }",
        ]

    def score_words(self, out: Writer) -> dict[str, str]:
        """Words of the section of the template with the scores."""
        stretch = "(double)unit->stretch" if out.is_single else "unit->stretch"
        return {"stretch": f" + {stretch}" if self.n_regimes else ""}

    def forecast_words(self, out: Writer) -> dict[str, str]:
        """Words of the section of the template with the forecast."""
        what = "/* Mean and variance, noise included, of a reading of a channel at a time, "
        signature = [
            f"{what}over the modes by their probabilities. */",
            "static inline int @name@_forecast"
            "(const @name@_unit *unit, double t, int channel, double *mean, double *variance)",
        ]
        if self.read:
            signature = [
                f"{what}under covariates w, over the",
                " * modes by their probabilities. */",
                "static inline int @name@_forecast_at(const @name@_unit *unit, double t,",
                "                                     const @name@_scalar w[@NAME@_N_COVARIATES], int channel,",
                "                                     double *mean, double *variance)",
            ]
        final = self._single_forecast() if out.is_single else self._forecast()
        words = {
            "signature": "\n".join(signature),
            "variables": "" if self.conditions is None else "\n    @name@_conditions_ at;",
            "evaluation": self.evaluation,
            "mean_of": "\n".join(final),
        }
        return {word: out.fill(text) for word, text in words.items()}

    def _single_forecast(self) -> list[str]:
        """Mean and variance from centre, scale, average and total, in float but for the sum with the level."""
        rest = "centre + @name@_common_(&at, channel)" if self.has_common else "centre"
        level = "level"
        lines = []
        if self.n_regimes:
            place = "at.regime * @NAME@_N_CHANNELS + channel"
            lines = [
                f"    centre = ({rest}) / @name@_inverse_scales_[{place}];",
                f"    scale /= @name@_inverse_scales_[{place}];",
                f"    level = @name@_offsets_[2 * ({place})];",
            ]
            rest = f"centre + @name@_offsets_[2 * ({place}) + 1]"
        return [
            *lines,
            f"    *mean = (double){level} + (double)({rest} + scale * average);",
            "    *variance = (double)(scale * scale * total);",
        ]

    def _forecast(self) -> list[str]:
        """Mean and variance from centre, scale, average and total."""
        final = ["    *mean = centre + scale * average;"]
        if self.has_common:
            final = ["    *mean = centre + scale * average + @name@_common_(&at, channel);"]
        if self.n_regimes:
            place = "[at.regime * @NAME@_N_CHANNELS + channel]"
            final += [
                f"    *mean = *mean / @name@_inverse_scales_{place} + @name@_offsets_{place};",
                f"    scale /= @name@_inverse_scales_{place};",
            ]
        return [*final, "    *variance = scale * scale * total;"]


def _fleet_weights(n_modes: int) -> list[str]:
    return [
        f"    for (i = 0; i < {n_modes}; ++i) {{",
        "        unit->log_weights[i] = @name@_log_weights_[i];",
        "    }",
    ]


def _levels(columns: Sequence[Column]) -> list[int]:
    return [len(column.levels or ()) for column in columns]
