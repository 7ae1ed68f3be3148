/*@ sums */
/* Adds a number to sum + rest without loss: rest takes what sum rounds away (two-sum of Knuth, no branch). */
static inline void @name@_add_(float more, float *sum, float *rest)
{
    const float total = *sum + more, part = total - *sum;
    *rest += (*sum - (total - part)) + (more - part);
    *sum = total;
}

/* Adds an integer number of 2^-20 to sum + rest without loss, in three parts that a float holds. A compiler that shifts
 * negative numbers otherwise than by their sign would not do. */
static inline void @name@_add_whole_(int64_t whole, float *sum, float *rest)
{
    const int32_t high = (int32_t)(whole >> 30), low = (int32_t)(whole & 0x3fffffff);
    @name@_add_((float)high * 1024.0f, sum, rest);
    @name@_add_((float)(low >> 15) * 0.03125f, sum, rest);
    @name@_add_((float)(low & 0x7fff) * 0x1p-20f, sum, rest);
}

/* With @NAME@_CARRY defined before this header is included, each number of the state keeps what it has rounded away, in
 * a second number behind all states; a unit is then nearly twice as large. Without, a state loses the last digits of its
 * readings. Where they have not told two modes apart, their probabilities are then off by up to 1e-3 after 10,000
 * readings, and by up to 1e-2 after 100,000. */
#ifdef @NAME@_CARRY
enum { @NAME@_STATE_ = 2 };
static inline void @name@_more_(float *number, int carry, float more)
{
    const float before = *number, corrected = more + number[carry];
    *number = before + corrected;
    number[carry] = corrected - (*number - before);
}
#else
enum { @NAME@_STATE_ = 1 };
static inline void @name@_more_(float *number, int carry, float more)
{
    (void)carry;
    *number += more;
}
#endif

/* Mantissa, 1 to 2, of a number from 1 on; its exponent is added to the other exponents. */
static inline float @name@_mantissa_(float number, int32_t *exponent)
{
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    *exponent += (int32_t)(bits >> 23) - 127;
    bits = (bits & UINT32_C(0x007fffff)) | UINT32_C(0x3f800000);
    memcpy(&number, &bits, sizeof bits);
    return number;
}
/*@ polynomial */
/* Legendre polynomials P_0 .. P_{p-1} at u = (t - centre) / half-width, by their recurrence. */
static inline void @name@_polynomial_(int p, double centre, const float *numbers, double t, float *phi)
{
    const float u = (float)(t - centre) * numbers[0];
    int j;
    phi[0] = 1.0f;
    if (p > 1) {
        phi[1] = u;
    }
    for (j = 2; j < p; ++j) {
        phi[j] = numbers[2 * j - 3] * u * phi[j - 1] - numbers[2 * j - 2] * phi[j - 2];
    }
}
/*@ bspline */
/* Clamped B-splines by the triangle of Cox and de Boor; outside the knots, their tangents at the ends. Distances from
 * knots are differences of doubles, so that the last digits of a late time count as those of an early one. */
static inline void @name@_bspline_(int p, const double *numbers, double t, float *phi)
{
    const int degree = (int)numbers[0];
    const double *knots = numbers + 3;
    float right[@degree@], left[@degree@];
    int low = degree, high = p, j, r;
    for (j = 0; j < p; ++j) {
        phi[j] = 0.0f;
    }
    if (t < knots[degree] || t > knots[p]) {
        const int end = t > knots[p] ? p - 1 : 0;
        const float rise =
            end ? (float)numbers[2] * (float)(t - knots[p]) : -(float)numbers[1] * (float)(t - knots[degree]);
        phi[end] = 1.0f;
        if (p > 1) {
            phi[end] = 1.0f + rise;
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
    for (j = 0; j < degree; ++j) {
        right[j] = (float)(knots[low + 1 + j] - t);
        left[j] = (float)(t - knots[low - j]);
    }
    phi += low - degree;
    phi[0] = 1.0f;
    for (j = 1; j <= degree; ++j) {
        float carried = 0.0f;
        for (r = 0; r < j; ++r) {
            const float share = phi[r] / (right[r] + left[j - 1 - r]);
            phi[r] = carried + right[r] * share;
            carried = left[j - 1 - r] * share;
        }
        phi[j] = carried;
    }
}
/*@ fourier */
/* 1, cos a, sin a, cos 2a, sin 2a, ... at a = 2 pi (t - origin) / period; whole periods are taken off in double. */
static inline void @name@_fourier_(int p, const double *numbers, double t, float *phi)
{
    const double turns = (t - numbers[0]) * numbers[1];
    const float angle = (float)(turns - floor(turns + 0.5)) * 6.28318531f;
    int j;
    phi[0] = 1.0f;
    for (j = 1; j <= p / 2; ++j) {
        phi[2 * j - 1] = cosf((float)j * angle);
        phi[2 * j] = sinf((float)j * angle);
    }
}
/*@ exponential */
/* 1, exp((t - reference_i) / time constant_i). */
static inline void @name@_exponential_(int p, const double *numbers, double t, float *phi)
{
    int j;
    phi[0] = 1.0f;
    for (j = 1; j < p; ++j) {
        phi[j] = expf((float)((t - numbers[2 * j - 2]) * numbers[2 * j - 1]));
    }
}
/*@ constant */
/* The function that is 1 everywhere. */
static inline void @name@_constant_(int p, double t, float *phi)
{
    (void)p;
    (void)t;
    phi[0] = 1.0f;
}
/*@ transform */
/* The functions of a basis, made orthonormal over the times of the training data: W phi, W lower triangular. */
static inline void @name@_transform_(int p, const float *phi, const float *transform, float *out)
{
    int i, j;
    for (i = 0; i < p; ++i) {
        float sum = 0.0f;
        for (j = 0; j <= i; ++j) {
            sum += *transform++ * phi[j];
        }
        out[i] = sum;
    }
}
/*@ transform_wide */
/* The same in double, for functions so much alike that their differences would lose digits in float. */
static inline void @name@_transform_wide_(int p, const double *phi, const double *transform, float *out)
{
    int i, j;
    for (i = 0; i < p; ++i) {
        double sum = 0.0;
        for (j = 0; j <= i; ++j) {
            sum += *transform++ * phi[j];
        }
        out[i] = (float)sum;
    }
}
/*@ peek */
/* The curve's mean and variance in units of the noise at a time, for one mode of a channel with p coefficients:
 * with R'v = z they are v'm and sum of v_i^2 / D_i. Outputs: the mean (internal units), the predictive variance. */
static inline void @name@_peek_(int p, const float *phi, const float *mode, const float *state, float *mean,
                               float *variance)
{
    const float *factor = mode + p;
    const float *D = state, *R = state + p, *m = state + p + p * (p - 1) / 2;
    const float sigma = 1.0f / mode[p + p * (p + 1) / 2];
    float v[@largest_size@];
    float level = 0.0f, shift = 0.0f, spread = 1.0f;
    int i, j;
    for (j = 0; j < p; ++j) {
        v[j] = 0.0f;
    }
    for (i = 0; i < p; ++i) {
        level += phi[i] * mode[i];
        for (j = 0; j <= i; ++j) {
            v[j] += phi[i] * *factor++;
        }
    }
    for (i = 0; i < p; ++i) {
        for (j = i + 1; j < p; ++j) {
            v[j] -= *R++ * v[i];
        }
        shift += v[i] * m[i];
        spread += v[i] * v[i] / D[i];
    }
    *mean = level + sigma * shift;
    *variance = sigma * sigma * spread;
}
/*@ probabilities */
/* Shares of the modes in the sum of exp(sums + rests). Returns that sum after the largest term, whose mode is found. */
static inline float @name@_share_(const float *sums, const float *rests, float *shares, int *found)
{
    float total = 0.0f;
    int k, largest = 0;
    for (k = 1; k < @NAME@_N_MODES; ++k) {
        if ((sums[k] - sums[largest]) + (rests[k] - rests[largest]) > 0.0f) {
            largest = k;
        }
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        shares[k] = expf((sums[k] - sums[largest]) + (rests[k] - rests[largest]));
        total += shares[k];
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        shares[k] /= total;
    }
    *found = largest;
    return total;
}

/* Probability of each failure mode given all readings so far; they add up to 1. */
static inline void @name@_probabilities(const @name@_unit *unit, float probabilities[@NAME@_N_MODES])
{
    float sums[@NAME@_N_MODES], rests[@NAME@_N_MODES];
    int found;
    @name@_log_joint_(unit, sums, rests);
    (void)@name@_share_(sums, rests, probabilities, &found);
}

/* Natural logarithm of the density of all readings so far, all constants in, in the channels' own units. */
static inline double @name@_log_likelihood(const @name@_unit *unit)
{
    float sums[@NAME@_N_MODES], rests[@NAME@_N_MODES], shares[@NAME@_N_MODES], total;
    int found;
    @name@_log_joint_(unit, sums, rests);
    total = @name@_share_(sums, rests, shares, &found);
    return (double)sums[found] + (double)(rests[found] + logf(total))@stretch@;
}
/*@ forecast */
@signature@
{
    float phi[@NAME@_N_DESIGN_VALUES_];@variables@
    float sums[@NAME@_N_MODES], rests[@NAME@_N_MODES], shares[@NAME@_N_MODES];
    float means[@NAME@_N_MODES], variances[@NAME@_N_MODES];
    float level, centre, scale, average = 0.0f, total = 0.0f;
    int k, status;
    if (channel < 0 || channel >= @NAME@_N_CHANNELS) {
        return @NAME@_BAD_CHANNEL;
    }
    status = @evaluation@;
    if (status != @NAME@_OK) {
        return status;
    }
    @name@_log_joint_(unit, sums, rests);
    (void)@name@_share_(sums, rests, shares, &k);
    @name@_curves_(unit, phi, @name@_slots_[channel], &level, &centre, &scale, means, variances);
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
static inline int @name@_init_weights(@name@_unit *unit, const float weights[@NAME@_N_MODES])
{
    float sum = 0.0f, rest = 0.0f;
    int k;
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        if (!(weights[k] >= 0.0f)) {
            return @NAME@_BAD_WEIGHTS;
        }
        @name@_add_(weights[k], &sum, &rest);
    }
    if (!(fabsf((sum - 1.0f) + rest) <= 1e-6f)) {
        return @NAME@_BAD_WEIGHTS;
    }
    for (k = 0; k < @NAME@_N_MODES; ++k) {
        unit->log_weights[k] = weights[k] > 0.0f ? logf(weights[k] / sum) : -1e36f;
    }
    return @NAME@_OK;
}
