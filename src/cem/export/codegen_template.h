/*@ statuses */
/* What update and forecast return. With anything but @NAME@_OK the unit and the outputs are as they were. */
enum @name@_status {
    @NAME@_OK = 0,
    @NAME@_BAD_TIME = 1,    /* the time is NaN or infinite */
    @NAME@_BAD_VALUE = 2,   /* a value is infinite, or too large to be squared; NaN is fine and means missing */
    @NAME@_FAR_TIME = 3,    /* the time is so far outside the training data that a curve overflows there */
    @NAME@_BAD_CHANNEL = 4  /* no such channel */
};
/*@ statuses_at */
/* What functions return. With anything but @NAME@_OK the unit and the outputs are as they were. */
enum @name@_status {
    @NAME@_OK = 0,
    @NAME@_BAD_TIME = 1,       /* the time is NaN or infinite */
    @NAME@_BAD_VALUE = 2,      /* a value is infinite, or too large to be squared; NaN is fine and means missing */
    @NAME@_FAR_TIME = 3,       /* the time or a covariate is so far outside the training data that a curve overflows */
    @NAME@_BAD_CHANNEL = 4,    /* no such channel */
    @NAME@_BAD_COVARIATE = 5,  /* a covariate is missing (NaN) or infinite */
    @NAME@_BAD_LEVEL = 6,      /* a category has a number that is none of its levels */
    @NAME@_BAD_REGIME = 7,     /* the covariates belong to no regime that the training data had */
    @NAME@_FAR_COVARIATE = 8,  /* a covariate is too far outside the training data for its columns */
    @NAME@_BAD_WEIGHTS = 9     /* mode probabilities are negative, NaN, or do not add up to 1 */
};
/*@ polynomial */
/* Legendre polynomials P_0 .. P_{p-1} at u = (t - centre) / half-width, by their recurrence. */
static inline void @name@_polynomial_(int p, const double *numbers, double t, double *phi)
{
    const double u = (t - numbers[0]) * numbers[1];
    int j;
    phi[0] = 1.0;
    if (p > 1) {
        phi[1] = u;
    }
    for (j = 2; j < p; ++j) {
        phi[j] = numbers[2 * j - 2] * u * phi[j - 1] - numbers[2 * j - 1] * phi[j - 2];
    }
}
/*@ bspline */
/* Clamped B-splines by the triangle of Cox and de Boor; outside the knots, their tangents at the ends. */
static inline void @name@_bspline_(int p, const double *numbers, double t, double *phi)
{
    const int degree = (int)numbers[0];
    const double *knots = numbers + 3;
    int low = degree, high = p, j, r;
    for (j = 0; j < p; ++j) {
        phi[j] = 0.0;
    }
    if (t < knots[degree] || t > knots[p]) {
        const int end = t > knots[p] ? p - 1 : 0;
        const double rise = end ? numbers[2] * (t - knots[p]) : -numbers[1] * (t - knots[degree]);
        phi[end] = 1.0;
        if (p > 1) {
            phi[end] = 1.0 + rise;
            phi[end ? p - 2 : 1] = -rise;
        }
        return;
    }
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (t < knots[middle]) {
            high = middle;
        } else {
            low = middle;
        }
    }
    phi += low - degree;
    phi[0] = 1.0;
    for (j = 1; j <= degree; ++j) {
        double carried = 0.0;
        for (r = 0; r < j; ++r) {
            const double right = knots[low + r + 1], left = knots[low + r + 1 - j];
            const double share = phi[r] / (right - left);
            phi[r] = carried + (right - t) * share;
            carried = (t - left) * share;
        }
        phi[j] = carried;
    }
}
/*@ fourier */
/* 1, cos a, sin a, cos 2a, sin 2a, ... at a = (t - origin) * angular frequency. */
static inline void @name@_fourier_(int p, const double *numbers, double t, double *phi)
{
    const double angle = (t - numbers[0]) * numbers[1];
    int j;
    phi[0] = 1.0;
    for (j = 1; j <= p / 2; ++j) {
        phi[2 * j - 1] = cos(j * angle);
        phi[2 * j] = sin(j * angle);
    }
}
/*@ exponential */
/* 1, exp((t - reference_i) / time constant_i). */
static inline void @name@_exponential_(int p, const double *numbers, double t, double *phi)
{
    int j;
    phi[0] = 1.0;
    for (j = 1; j < p; ++j) {
        phi[j] = exp((t - numbers[2 * j - 2]) * numbers[2 * j - 1]);
    }
}
/*@ constant */
/* The function that is 1 everywhere. */
static inline void @name@_constant_(int p, const double *numbers, double t, double *phi)
{
    (void)p;
    (void)numbers;
    (void)t;
    phi[0] = 1.0;
}
/*@ transform */
/* The functions of a basis, made orthonormal over the times of the training data: W phi, W lower triangular. */
static inline void @name@_transform_(int p, const double *phi, const double *transform, @name@_scalar *out)
{
    int i, j;
    for (i = 0; i < p; ++i) {
        double sum = 0.0;
        for (j = 0; j <= i; ++j) {
            sum += *transform++ * phi[j];
        }
        out[i] = (@name@_scalar)sum;
    }
}
/*@ near */
/* Whether the functions are all of a size that can be squared and summed. */
static inline int @name@_near_(const @name@_scalar *phi, int n)
{
    const @name@_scalar largest = @largest_design@;
    int i;
    for (i = 0; i < n; ++i) {
        if (!(phi[i] < largest && phi[i] > -largest)) {
            return @NAME@_FAR_TIME;
        }
    }
    return @NAME@_OK;
}
/*@ rotate */
/* One reading for one mode of one channel with @p@ coefficients.
 *
 * The whitened coefficients d ~ N(0, I) of a unit are observed through e = z'd + N(0, 1), with z = factor' phi / sigma
 * and e = (x - phi'mean) / sigma. The state is the triangle of that least-squares problem without square roots,
 * diag(D)^(1/2) R d = diag(D)^(1/2) m with R unit upper triangular, and starts at the prior, D = 1, R = I, m = 0. The
 * reading is rotated in by @p@ root-free Givens rotations; what is left of it belongs to the misfit.
 */
static inline double @name@_rotate_@p@_(const @name@_scalar *phi, @name@_scalar x, const @name@_scalar *mode,
                                       @name@_scalar *state)
{
@body@
}
/*@ peek */
/* The curve's mean and variance in units of the noise at a time, for one mode of a channel with p coefficients:
 * with R'v = z they are v'm and sum of v_i^2 / D_i. Outputs: the mean (internal units), the predictive variance. */
static inline void @name@_peek_(int p, const @name@_scalar *phi, const @name@_scalar *mode,
                               const @name@_scalar *state, double *mean, double *variance)
{
    const @name@_scalar *factor = mode + p;
    const @name@_scalar *D = state, *R = state + p, *m = state + p + p * (p - 1) / 2;
    const double sigma = 1.0 / (double)mode[p + p * (p + 1) / 2];
    double v[@largest_size@];
    double level = 0.0, shift = 0.0, spread = 1.0;
    int i, j;
    for (j = 0; j < p; ++j) {
        v[j] = 0.0;
    }
    for (i = 0; i < p; ++i) {
        level += (double)phi[i] * (double)mode[i];
        for (j = 0; j <= i; ++j) {
            v[j] += (double)phi[i] * (double)*factor++;
        }
    }
    for (i = 0; i < p; ++i) {
        for (j = i + 1; j < p; ++j) {
            v[j] -= (double)*R++ * v[i];
        }
        shift += v[i] * (double)m[i];
        spread += v[i] * v[i] / (double)D[i];
    }
    *mean = level + sigma * shift;
    *variance = sigma * sigma * spread;
}
/*@ probabilities */
/* log sum of exp; each weight becomes its share of the sum. */
static inline double @name@_share_(double *logarithms)
{
    double largest = logarithms[0], sum = 0.0;
    int k;
    for (k = 1; k < @NAME@_N_MODES; ++k) {
        if (logarithms[k] > largest) {
            largest = logarithms[k];
        }
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        logarithms[k] = exp(logarithms[k] - largest);
        sum += logarithms[k];
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        logarithms[k] /= sum;
    }
    return largest + log(sum);
}

/* Probability of each failure mode given all readings so far; they add up to 1. */
static inline void @name@_probabilities(const @name@_unit *unit, @name@_scalar probabilities[@NAME@_N_MODES])
{
    double shares[@NAME@_N_MODES];
    int k;
    @name@_log_joint_(unit, shares);
    (void)@name@_share_(shares);
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        probabilities[k] = (@name@_scalar)shares[k];
    }
}

/* Natural logarithm of the density of all readings so far, all constants in, in the channels' own units. */
static inline double @name@_log_likelihood(const @name@_unit *unit)
{
    double shares[@NAME@_N_MODES];
    @name@_log_joint_(unit, shares);
    return @name@_share_(shares)@stretch@;
}
/*@ forecast */
@signature@
{
    @name@_scalar phi[@NAME@_N_DESIGN_VALUES_];@variables@
    double shares[@NAME@_N_MODES], means[@NAME@_N_MODES], variances[@NAME@_N_MODES];
    double centre, scale, average = 0.0, total = 0.0;
    int k, status;
    if (channel < 0 || channel >= @NAME@_N_CHANNELS) {
        return @NAME@_BAD_CHANNEL;
    }
    status = @evaluation@;
    if (status != @NAME@_OK) {
        return status;
    }
    @name@_log_joint_(unit, shares);
    (void)@name@_share_(shares);
    @name@_curves_(unit, phi, @name@_slots_[channel], &centre, &scale, means, variances);
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        average += shares[k] * means[k];
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        total += shares[k] * (variances[k] + (means[k] - average) * (means[k] - average));
    }
@mean_of@
    return @NAME@_OK;
}
/*@ weights */
/* Replaces the unit's mode probabilities before its readings, as an expert or an inspection gives them; 0: impossible. */
static inline int @name@_init_weights(@name@_unit *unit, const @name@_scalar weights[@NAME@_N_MODES])
{
    double sum = 0.0;
    int k;
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        if (!(weights[k] >= 0)) {
            return @NAME@_BAD_WEIGHTS;
        }
        sum += (double)weights[k];
    }
    if (!(fabs(sum - 1.0) <= 1e-6)) {
        return @NAME@_BAD_WEIGHTS;
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        unit->log_weights[k] = weights[k] > 0 ? log((double)weights[k] / sum) : -HUGE_VAL;
    }
    return @NAME@_OK;
}
/*@ checked */
/* Whether covariates are there, and categories among their levels. */
static inline int @name@_checked_(int n, const int *levels, const double *row)
{
    int j;
    for (j = 0; j < n; ++j) {
        if (!(fabs(row[j]) <= DBL_MAX)) {
            return @NAME@_BAD_COVARIATE;
        }
        if (levels[j] > 0 && !(row[j] >= 0.0 && row[j] < (double)levels[j] && row[j] == (double)(int)row[j])) {
            return @NAME@_BAD_LEVEL;
        }
    }
    return @NAME@_OK;
}
/*@ features */
/* Features of covariates: powers, columns of natural cubic splines with straight tails, and levels of categories. */
static inline double @name@_feature_(int kind, const double *numbers, double w)
{
    double z, value, one, two, beyond;
    int i;
    if (kind == 2) {
        return w == numbers[0] ? 1.0 : 0.0;
    }
    z = (w - numbers[0]@rest@) * numbers[1];
    if (kind == 0) {
        value = z;
        for (i = 1; i < (int)numbers[3]; ++i) {
            value = value * z;
        }
        return value - numbers[2];
    }
    one = z < numbers[5] ? z : numbers[5];
    two = one > numbers[4] ? one - numbers[4] : 0.0;
    one = one > numbers[3] ? one - numbers[3] : 0.0;
    beyond = z > numbers[5] ? z - numbers[5] : 0.0;
    return one * one * one * numbers[6] - two * two * two * numbers[7] + numbers[8] * beyond - numbers[2];
}

static inline int @name@_features_(int n, const int *kinds, const int *sources, const double *numbers,
                                   const double *row, double *out)
{
    int f;
    for (f = 0; f < n; ++f) {
        out[f] = @name@_feature_(kinds[f], numbers + @numbers@ * f, row[sources[f]]);
        if (!(fabs(out[f]) < 1e30)) {
            return @NAME@_FAR_COVARIATE;
        }
    }
    return @NAME@_OK;
}
/*@ membership */
/* Logarithms of the mode probabilities of a unit with these features, before all readings. */
static inline void @name@_membership_(const double *features, double *logarithms)
{
    double largest, sum = 0.0;
    int k, f;
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        logarithms[k] = @name@_membership_coefficients_[@length@ * k];
        for (f = 1; f < @length@; ++f) {
            logarithms[k] += @name@_membership_coefficients_[@length@ * k + f] * features[f - 1];
        }
    }
    largest = logarithms[0];
    for (k = 1; k < @NAME@_N_MODES; ++k) {
        if (logarithms[k] > largest) {
            largest = logarithms[k];
        }
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        sum += exp(logarithms[k] - largest);
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        logarithms[k] = (logarithms[k] - largest) - log(sum);
    }
}
/*@ nearest_centre */
/* The regime of a reading: the one whose centre is nearest. */
static inline int @name@_regime_(const double *row)
{
    const double *place = @name@_places_;
    double least = 0.0;
    int g, s, found = 0;
    for (g = 0; g < @n@; ++g) {
        double square = 0.0;
        for (s = 0; s < @settings@; ++s) {
            const double difference =
                (row[@name@_settings_[s]] - @name@_origin_[@s@]@rest@) * @name@_precision_[s] - *place++;
            square += difference * difference;
        }
        if (g == 0 || square < least) {
            least = square;
            found = g;
        }
    }
    return found;
}
/*@ centre_within_reach */
/* The regime of a reading: the one whose centre is nearest, if one reaches that far, or if it is between the nearest
 * two; else -1. */
static inline int @name@_regime_(const double *row)
{
    const double *place = @name@_places_;
    double least = 0.0, next = 0.0, apart = 0.0;
    int g, s, found = 0, second = 0, within = 0;
    for (g = 0; g < @n@; ++g) {
        double square = 0.0;
        for (s = 0; s < @settings@; ++s) {
            const double difference =
                (row[@name@_settings_[s]] - @name@_origin_[@s@]@rest@) * @name@_precision_[s] - *place++;
            square += difference * difference;
        }
        if (square <= @name@_reaches_[g]) {
            within = 1;
        }
        if (g == 0 || square < least) {
            next = least;
            second = found;
            least = square;
            found = g;
        } else if (g == 1 || square < next) {
            next = square;
            second = g;
        }
    }
    for (s = 0; s < @settings@; ++s) {
        const double half =
            0.5 * @name@_places_[found * @settings@ + s] - 0.5 * @name@_places_[second * @settings@ + s];
        apart += half * half;
    }
    return within || least <= apart ? found : -1;
}
/*@ interval */
/* The regime of a reading: the interval of its covariate; -1 for one without training readings. */
static inline int @name@_regime_(const double *row)
{
    int g = 0;
    while (g < @n@ - 1 && row[@column@] >= @name@_cuts_[g]) {
        ++g;
    }
    return @name@_known_[g] ? g : -1;
}
/*@ nearest_interval */
/* The regime of a reading: the interval of its covariate, or the nearest one with training readings. */
static inline int @name@_regime_(const double *row)
{
    const double w = row[@column@];
    int g = 0, below, above;
    while (g < @n@ - 1 && w >= @name@_cuts_[g]) {
        ++g;
    }
    below = above = g;
    while (below >= 0 && !@name@_known_[below]) {
        --below;
    }
    while (above < @n@ && !@name@_known_[above]) {
        ++above;
    }
    if (below < 0) {
        return above < @n@ ? above : -1;
    }
    if (above == @n@) {
        return below;
    }
    return below == above || w - @name@_cuts_[below] <= @name@_cuts_[above - 1] - w ? below : above;
}
/*@ level */
/* The regime of a reading: the level of its category; -1 for one without training readings. */
static inline int @name@_regime_(const double *row)
{
    const int level = (int)row[@column@];
    return @name@_known_[level] ? level : -1;
}
