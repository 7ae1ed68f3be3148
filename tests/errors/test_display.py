"""What is printed for people: numbers of any size stay short."""

from __future__ import annotations

import numpy as np

from cem.errors.display import short_number


def test_a_number_of_any_size_takes_a_dozen_characters():
    """Limits of variances, or residuals of a gross error, took hundreds of digits and broke the table."""
    shown = [short_number(x) for x in (0.123456, 999.0, -28671.5, 123456789.0, 1e9, 4.165e71, -1.79e308, np.inf)]
    assert shown == ["0.1235", "999", "-28,671.50", "123,456,789.00", "1e+09", "4.165e+71", "-1.79e+308", "inf"]
    assert [short_number(x, ".3f") for x in (-0.0012, 12.3456, 1e150)] == ["-0.001", "12.346", "1e+150"]
    numbers = np.random.default_rng(0).choice([-1.0, 1.0], 500) * 10.0 ** np.linspace(-300, 308, 500)
    assert max(len(short_number(float(x))) for x in numbers) <= 15
