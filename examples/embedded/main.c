/* A pump is watched: its readings arrive one by one, and after the last the probabilities of its failure modes are
 * those that Python computes from the same readings. What a reading costs is printed too. */
#include "board.h"
#include "fleet.h"
#include "readings.h"

enum { REPEATS = 1000 };

static fleet_unit unit, worked;
static fleet_scalar probabilities[FLEET_N_MODES];

/* Not inlined: their instructions and their stack are counted. */
__attribute__((noinline)) static int take(fleet_unit *of, double t, const fleet_scalar *x)
{
    return fleet_update(of, t, x);
}

__attribute__((noinline)) static void score(const fleet_unit *of, fleet_scalar *shares)
{
    fleet_probabilities(of, shares);
}

static void put_number(const char *label, uint32_t number, const char *after)
{
    char digits[12];
    int i = 11;
    digits[i] = 0;
    do {
        digits[--i] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number > 0u);
    board_put(label);
    board_put(digits + i);
    board_put(after);
}

static int costs(void)
{
    fleet_scalar whole[FLEET_N_CHANNELS]; /* no sensor is silent: a missing value would cost nothing */
    uint32_t since, i, status = 0;
    int c;
    for (c = 0; c < FLEET_N_CHANNELS; ++c) {
        for (i = 0; i + 1 < N_READINGS && isnan(readings[i][c]); ++i) {
        }
        whole[c] = readings[i][c];
    }
    worked = unit;
    board_mark_stack();
    status |= (uint32_t)take(&worked, times[0], whole);
    put_number("stack of an update: ", board_used_stack(), " bytes\n");
    board_mark_stack();
    score(&worked, probabilities);
    put_number("stack of the probabilities: ", board_used_stack(), " bytes\n");
    since = board_now();
    for (i = 0; i < REPEATS; ++i) {
        status |= (uint32_t)take(&worked, times[i % N_READINGS], whole);
    }
    put_number("an update: ", board_instructions(since) / REPEATS, " instructions\n");
    since = board_now();
    for (i = 0; i < REPEATS; ++i) {
        score(&worked, probabilities);
    }
    put_number("the probabilities: ", board_instructions(since) / REPEATS, " instructions\n");
    put_number("a unit: ", (uint32_t)sizeof unit, " bytes\n");
    return status == FLEET_OK;
}

int main(void)
{
    int i, k, right = 1;
    fleet_init(&unit);
    for (i = 0; i < N_READINGS; ++i) {
        if (take(&unit, times[i], readings[i]) != FLEET_OK) {
            board_put("a reading was refused\n"); /* a broken telegram: the unit is as it was */
            right = 0;
        }
    }
    score(&unit, probabilities);
    for (k = 0; k < FLEET_N_MODES; ++k) {
        board_put(fleet_mode_name(k));
        put_number(": ", (uint32_t)(probabilities[k] * 1e6f + 0.5f), " millionths\n");
        right = right && fabsf(probabilities[k] - expected[k]) <= 1e-4f;
    }
    right = costs() && right;
    board_put(right ? "as Python computes them\n" : "NOT as Python computes them\n");
    return right ? 0 : 1;
}
