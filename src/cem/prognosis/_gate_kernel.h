/* Which channels of a unit take part in its law, and how well the unit fits: model.md §12. */
#ifndef CEM_GATE_KERNEL_H
#define CEM_GATE_KERNEL_H

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "_law_kernel.h"

typedef struct {
    ptrdiff_t n_channels, n_modes, n_grid;
    double tolerance;          /* -ln epsilon */
    double strange;            /* the normal score beyond which a fit is unlike those of training units */
    const int *modes;          /* (n_modes,)  of components; whose map of fits applies */
    int n_knots;               /* 0: nothing is known of training units */
    const double *scores;      /* (n_knots,)  normal scores at the knots of the maps */
    const double *knots;       /* (., 1 + n_channels, n_knots)  z of all channels together, then of each */
    const double *slopes;      /* (., 1 + n_channels, n_knots - 1) */
} gate_t;

/* z of a quadratic form of n readings (Wilson and Hilferty); as `cem.model.fit_reference.fit_score`. */
static inline double fit_score(double misfit, double n) {
    const double spread = 2.0 / (9.0 * n);
    return (cbrt(misfit / n) - 1.0 + spread) / sqrt(spread);
}

/* The normal score of a quadratic form; channel -1: of all channels together. NaN where nothing is known. */
static inline double reference_score(const gate_t *gate, ptrdiff_t mode, ptrdiff_t channel, double misfit, double n) {
    const ptrdiff_t map = gate->modes[mode] * (1 + gate->n_channels) + 1 + channel;
    int piece = 0;
    if (!gate->n_knots) return NAN;
    return mapped_score(
        gate->n_knots, gate->knots + map * gate->n_knots, gate->scores, gate->slopes + map * (gate->n_knots - 1),
        &piece, fit_score(misfit, n)
    );
}

/* The candidate and mode that the bounded evidence of the channels that take part favours most. */
static inline ptrdiff_t best_cell(
    const gate_t *gate, const double *logs, const double *best, const unsigned char *left_out, double *total
) {
    const ptrdiff_t n_cells = gate->n_modes * gate->n_grid;
    ptrdiff_t at = 0;
    memset(total, 0, n_cells * sizeof(double));
    for (ptrdiff_t c = 0; c < gate->n_channels; c++) {
        const double *own = logs + c * n_cells, least = best[c] - gate->tolerance;
        if (left_out[c] || !(best[c] > -INFINITY)) continue;
        for (ptrdiff_t i = 0; i < n_cells; i++) total[i] += own[i] > least ? own[i] : least;
    }
    for (ptrdiff_t i = 1; i < n_cells; i++)
        if (total[i] > total[at]) at = i;
    return at;
}

/* One unit. A channel is judged at the best cell of all channels, and once more at that of those that were kept. */
static inline void judge_unit(
    const gate_t *gate,
    const double *logs,        /* (n_channels, n_modes, n_grid)  ln P(x_c | k, r); 0 for channels without readings */
    const double *misfits,     /* (n_channels, n_modes, n_grid)  the quadratic form of (11) */
    const double *counts,      /* (n_channels,) */
    double *scratch,           /* (n_modes n_grid + n_channels,) */
    double *fit_out,           /* (1,)  probability of a stranger fit among training units */
    double *channel_fit_out,   /* (n_channels,) */
    unsigned char *left_out,   /* (n_channels,) */
    unsigned char *unlike_out  /* (1,) */
) {
    const ptrdiff_t C = gate->n_channels, n_cells = gate->n_modes * gate->n_grid;
    double *total = scratch, *best = scratch + n_cells, misfit = 0.0, n = 0.0, score;
    ptrdiff_t n_seen = 0, n_kept = 0;
    for (ptrdiff_t c = 0; c < C; c++) {
        best[c] = -INFINITY;
        for (ptrdiff_t i = 0; i < n_cells; i++)
            if (logs[c * n_cells + i] > best[c]) best[c] = logs[c * n_cells + i];
        left_out[c] = 0;
    }
    for (int turn = 0; turn < 2; turn++) {
        const ptrdiff_t at = best_cell(gate, logs, best, left_out, total), k = at / gate->n_grid;
        misfit = n = 0.0;
        n_seen = n_kept = 0;
        for (ptrdiff_t c = 0; c < C; c++) {
            channel_fit_out[c] = NAN;
            left_out[c] = 0;
            if (!(counts[c] > 0)) continue;
            const double own = misfits[c * n_cells + at];
            score = reference_score(gate, k, c, own, counts[c]);
            channel_fit_out[c] = 2.0 * smaller_tail(score);
            left_out[c] = !(best[c] - logs[c * n_cells + at] <= gate->tolerance) || fabs(score) > gate->strange;
            n_seen++;
            if (left_out[c]) continue;
            n_kept++;
            misfit += own;
            n += counts[c];
        }
        score = reference_score(gate, k, -1, misfit, n);
        if (n_kept == n_seen || n_kept == 0) break;
    }
    *fit_out = 2.0 * smaller_tail(score);
    *unlike_out = 2 * n_kept < n_seen || fabs(score) > gate->strange;
}

#endif
