/*@ statuses */
/* What update and forecast return. With anything but @NAME@_OK the unit and the outputs are as they were. */
enum @name@_status {
    @NAME@_OK = 0,
    @NAME@_BAD_TIME = 1,    /* the time is NaN or infinite */
    @NAME@_BAD_VALUE = 2,   /* a value is infinite, or too large to be squared; NaN is fine and means missing */
    @NAME@_FAR_TIME = 3,    /* the time is so far outside the training data that a curve overflows there */
    @NAME@_BAD_CHANNEL = 4  /* no such channel */
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
    return @name@_share_(shares);
}
/*@ forecast */
/* Mean and variance, noise included, of a reading of a channel at a time, over the modes by their probabilities. */
static inline int @name@_forecast(const @name@_unit *unit, double t, int channel, double *mean, double *variance)
{
    @name@_scalar phi[@NAME@_N_DESIGN_VALUES_];
    double shares[@NAME@_N_MODES], means[@NAME@_N_MODES], variances[@NAME@_N_MODES];
    double centre, scale, average = 0.0, total = 0.0;
    int k, status;
    if (channel < 0 || channel >= @NAME@_N_CHANNELS) {
        return @NAME@_BAD_CHANNEL;
    }
    status = @name@_designs_(t, phi);
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
    *mean = centre + scale * average;
    *variance = scale * scale * total;
    return @NAME@_OK;
}
