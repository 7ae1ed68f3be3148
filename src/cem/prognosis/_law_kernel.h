/* What follows ln P(x | k, r): P(r, k | x) of (18) where log lives are normal, and the recalibration of laws. */
#ifndef CEM_LAW_KERNEL_H
#define CEM_LAW_KERNEL_H

#include <math.h>
#include <stddef.h>

#define LAW_ROOT_HALF 0.70710678118654752440
#define LAW_LOG_ROOT_2_PI 0.91893853320467274178

/* The smaller of Phi(z) and 1 - Phi(z). */
static inline double smaller_tail(double z) { return 0.5 * erfc(fabs(z) * LAW_ROOT_HALF); }

/* P(b < Z < a) from the smaller tails at both, so that no digit is lost to 1 - Phi. */
static inline double normal_between(double b, double tail_b, double a, double tail_a) {
    return b >= 0 ? tail_b - tail_a : a <= 0 ? tail_a - tail_b : 1.0 - (tail_a + tail_b);
}

/* ln Phi, finite however far z lies in the lower tail; as `cem.numerics.normal.log_normal_cdf`. */
static inline double log_normal_cdf(double z) {
    if (z > 0) return log1p(-0.5 * erfc(z * LAW_ROOT_HALF));
    if (z >= -25.0) return log(0.5 * erfc(-z * LAW_ROOT_HALF));
    if (z < -1e150) return -INFINITY;
    double series = 1.0, term = 1.0;
    const double squared = z * z;
    for (int n = 1; n < 10; n++) {
        term *= -(2 * n - 1) / squared;
        series += term;
    }
    return -0.5 * squared - log(-z) - LAW_LOG_ROOT_2_PI + log(series);
}

/* ln P(b < Z < a) */
static inline double log_normal_between(double b, double a) {
    const double whole = log_normal_cdf(a), fall = log_normal_cdf(b) - whole;
    return whole + log(-expm1(fall < 0 ? fall : 0.0));
}

/* P(r, k | x) of one unit whose log life is N(location + mean, own + variance) given mode and candidate.
 *
 * 0, or -1 where no candidate has a finite density. */
static inline int lognormal_law(
    ptrdiff_t n_grid, ptrdiff_t padded, int n_modes,
    const double *densities,   /* (n_modes, padded)  ln P(x | k, r) */
    double temper,
    const double *log_weights, /* (n_modes,) */
    const double *log_lives,   /* (n_grid,)  at which the cells begin; the last one holds all that is beyond */
    const double *locations, const double *own, /* (n_modes,) */
    const double *mean, const double *variance, /* (n_modes, padded); or NULL for 0 */
    double *masses_out,        /* (n_grid, n_modes) */
    double *log_evidence_out   /* (1,) */
) {
    double highest = -INFINITY, total = 0.0;
    for (int k = 0; k < n_modes; k++)
        for (ptrdiff_t g = 0; g < n_grid; g++) {
            const double value = temper * densities[k * padded + g] + log_weights[k];
            if (value > highest) highest = value;
            if (isnan(value)) return -1;
        }
    if (!isfinite(highest)) return -1;
    for (int in_logs = 0; in_logs < 2; in_logs++) {
        double shift = highest;
        if (in_logs) { /* the law of lives almost excludes every candidate of weight */
            shift = -INFINITY;
            for (int k = 0; k < n_modes; k++)
                for (ptrdiff_t g = 0; g < n_grid; g++) {
                    const ptrdiff_t at = k * padded + g;
                    const double scale = 1.0 / sqrt(own[k] + (variance ? variance[at] : 0.0));
                    const double centre = locations[k] + (mean ? mean[at] : 0.0);
                    const double a = (centre - log_lives[g]) * scale;
                    const double b = g + 1 < n_grid ? (centre - log_lives[g + 1]) * scale : -INFINITY;
                    const double value = temper * densities[at] + log_weights[k] + log_normal_between(b, a);
                    masses_out[g * n_modes + k] = value;
                    if (value > shift) shift = value;
                }
            if (!isfinite(shift)) return -1;
        }
        total = 0.0;
        for (int k = 0; k < n_modes; k++) {
            const double spread = 1.0 / sqrt(own[k]);
            double known = NAN, known_tail = 0.0; /* the last tail worked out, and where: cells meet */
            for (ptrdiff_t g = 0; g < n_grid; g++) {
                const ptrdiff_t at = k * padded + g;
                double mass;
                if (in_logs) mass = exp(masses_out[g * n_modes + k] - shift);
                else {
                    mass = exp(temper * densities[at] + log_weights[k] - shift);
                    if (mass > 0) {
                        const double scale = variance ? 1.0 / sqrt(own[k] + variance[at]) : spread;
                        const double centre = locations[k] + (mean ? mean[at] : 0.0);
                        const double a = (centre - log_lives[g]) * scale;
                        const double b = g + 1 < n_grid ? (centre - log_lives[g + 1]) * scale : -INFINITY;
                        const double tail_a = a == known ? known_tail : smaller_tail(a);
                        known = b;
                        known_tail = g + 1 < n_grid ? smaller_tail(b) : 0.0;
                        mass *= normal_between(b, known_tail, a, tail_a);
                    }
                }
                masses_out[g * n_modes + k] = mass;
                total += mass;
            }
        }
        highest = shift;
        if (total > 1e-200) break;
    }
    for (ptrdiff_t i = 0; i < n_grid * n_modes; i++) masses_out[i] /= total;
    *log_evidence_out = highest + log(total);
    return 0;
}

/* ln Phi at evenly spaced points, read both ways: h(Phi^-1) and Phi are each other's inverses. */
typedef struct {
    ptrdiff_t n;
    double first, step, per_step;
    const double *log_cdf, *cdf; /* (n,) */
    ptrdiff_t n_guesses;
    double first_root, per_root;
    const double *guesses; /* (n_guesses,)  places in the table at evenly spaced sqrt(-2 ln Phi) */
} normal_table_t;

/* The score of a lower tail, limited to the range of the table. */
static inline double score_of(const normal_table_t *table, double tail) {
    const double log_tail = tail > 0 ? log(tail) : -INFINITY;
    if (!(log_tail > table->log_cdf[0])) return table->first;
    const double root = (sqrt(-2.0 * log_tail) - table->first_root) * table->per_root;
    const ptrdiff_t m = root > table->n_guesses - 2 ? table->n_guesses - 2 : root > 0 ? (ptrdiff_t)root : 0;
    const double place = table->guesses[m] + (table->guesses[m + 1] - table->guesses[m]) * (root - (double)m);
    ptrdiff_t i = place > table->n - 2 ? table->n - 2 : place > 0 ? (ptrdiff_t)place : 0; /* or next to it */
    while (i > 0 && table->log_cdf[i] > log_tail) i--;
    while (i < table->n - 2 && table->log_cdf[i + 1] <= log_tail) i++;
    const double share = (log_tail - table->log_cdf[i]) / (table->log_cdf[i + 1] - table->log_cdf[i]);
    return table->first + table->step * ((double)i + share);
}

/* Phi of a score that is not above 0. */
static inline double tail_of(const normal_table_t *table, double score) {
    const double place = (score - table->first) * table->per_step;
    if (!(place > 0)) return table->cdf[0];
    const ptrdiff_t i = place > table->n - 2 ? table->n - 2 : (ptrdiff_t)place;
    const double x = (table->log_cdf[i + 1] - table->log_cdf[i]) * (place - (double)i);
    /* e^x by its series, exact to rounding below 0.1, which `NormalTable` checks. */
    return table->cdf[i] * (1 + x * (1 + x * (1.0 / 2 + x * (1.0 / 6 + x * (1.0 / 24 + x * (1.0 / 120 + x * (1.0 / 720
        + x * (1.0 / 5040 + x * (1.0 / 40320)))))))));
}

static inline double score_between(const normal_table_t *table, double below, double above) {
    return below <= above ? score_of(table, below < 0.5 ? below : 0.5) : -score_of(table, above < 0.5 ? above : 0.5);
}

/* The monotone map h: straight between knots, and beyond them as in the outermost piece. */
static inline double mapped_score(
    int n_knots, const double *knots, const double *images, const double *slopes,
    int *piece_inout,          /* of the last score, which was not above this one */
    double score
) {
    int piece = *piece_inout;
    while (piece < n_knots - 2 && knots[piece + 1] <= score) piece++;
    *piece_inout = piece;
    return images[piece] + slopes[piece] * (score - knots[piece]);
}

/* The median of a law whose probability is spread evenly over its cells. */
static inline double median_of(ptrdiff_t n_grid, const double *edges, const double *masses) {
    double below = 0.0;
    for (ptrdiff_t g = 0; g < n_grid; g++) {
        if (below + masses[g] >= 0.5)
            return edges[g] + (masses[g] > 0 ? (0.5 - below) / masses[g] : 1.0) * (edges[g + 1] - edges[g]);
        below += masses[g];
    }
    return edges[n_grid];
}

/* Knots of h where scores have a centre and a spread of their own: h((z - a) / b) has its knots at a + b knot. */
static inline void scaled_knots(
    int n_medians, const double *log_medians, const double *centres, const double *log_spreads, /* (n_medians,) */
    double median, int n_knots, const double *knots, double *knots_out
) {
    const double at = median > 0 ? log(median) : -INFINITY; /* beyond the outermost as there */
    int i = 0;
    while (i < n_medians - 2 && log_medians[i + 1] <= at) i++;
    const double far = (at - log_medians[i]) / (log_medians[i + 1] - log_medians[i]);
    const double share = far > 0 ? (far < 1 ? far : 1.0) : 0.0;
    const double centre = centres[i] + share * (centres[i + 1] - centres[i]);
    const double spread = exp(log_spreads[i] + share * (log_spreads[i + 1] - log_spreads[i]));
    for (int k = 0; k < n_knots; k++) knots_out[k] = centre + spread * knots[k];
}

/* Probabilities of one law's cells after recalibration. */
static inline void recalibrated(
    const normal_table_t *table, int n_knots, const double *knots, const double *images, const double *slopes,
    ptrdiff_t n_grid,
    const double *masses,      /* (n_grid,)  of all modes together */
    double *scratch,           /* (n_grid + 1,) */
    double *masses_out         /* (n_grid,) */
) {
    double *above = scratch, below = 0.0, last_score = 0.0, last_tail = 0.0, last_smaller = NAN, total = 0.0;
    int piece = 0, last_lower = -1;
    above[n_grid] = 0.0;
    for (ptrdiff_t g = n_grid - 1; g >= 0; g--) above[g] = above[g + 1] + masses[g];
    for (ptrdiff_t g = 0; g < n_grid; g++) { /* the cell's upper edge; `last` is its lower one */
        double score, tail;
        if (g == 0) {
            last_score = mapped_score(n_knots, knots, images, slopes, &piece, score_between(table, 0.0, above[0]));
            last_tail = last_score <= 0 ? 0.0 : 1.0; /* nothing below the first edge */
        }
        below += masses[g];
        const int lower = below <= above[g + 1]; /* this and the smaller tail are all that the score depends on */
        const double smaller = lower ? below : above[g + 1];
        if (smaller == last_smaller && lower == last_lower && g < n_grid - 1) {
            masses_out[g] = 0.0;
            continue;
        }
        last_smaller = smaller;
        last_lower = lower;
        score = mapped_score(n_knots, knots, images, slopes, &piece, score_between(table, below, above[g + 1]));
        tail = tail_of(table, score <= 0 ? score : -score);
        if (g == n_grid - 1) tail = score <= 0 ? 1.0 : 0.0; /* nor above the last */
        /* `tail` is what is below where the score is not above 0, and what is above where it is. */
        double mass;
        if (score <= 0) mass = tail - (last_score <= 0 ? last_tail : 1.0 - last_tail);
        else mass = (last_score <= 0 ? 1.0 - last_tail : last_tail) - tail;
        masses_out[g] = mass > 0 ? mass : 0.0;
        total += masses_out[g];
        last_score = score;
        last_tail = tail;
    }
    for (ptrdiff_t g = 0; g < n_grid; g++) masses_out[g] /= total;
}

/* The score of an outcome under a law; probability is spread evenly over the cells. */
static inline double score_at(
    const normal_table_t *table, ptrdiff_t n_grid,
    const double *edges,       /* (n_grid + 1,) */
    const double *masses,      /* (n_grid,) */
    double outcome
) {
    double below = 0.0, above = 0.0;
    for (ptrdiff_t g = 0; g < n_grid; g++) {
        if (outcome >= edges[g + 1]) below += masses[g];
        else if (outcome <= edges[g]) above += masses[g];
        else {
            const double share = (outcome - edges[g]) / (edges[g + 1] - edges[g]);
            below += share * masses[g];
            above += (1.0 - share) * masses[g];
        }
    }
    return score_between(table, below, above);
}

#endif
