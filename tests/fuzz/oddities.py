"""Values where a reader does not expect them: of other types, sizes and shapes, in JSON and in arrays."""

import math

import numpy as np

SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 0.5, math.nan, math.inf, -math.inf, 5e-324, -5e-324, 2.3e-308, 1e-200, 1e-30, 1e-9, 1e9, 1e30,
    1e100, 1e154, 1e200, 1e300, -1e300, 1.7976931348623157e308, 2.0**31, 2.0**53, 2.0**63, -(2.0**63),
)  # fmt: skip
INTEGERS = (0, 1, -1, 2, 3, 7, 8, 9, 64, 255, 999, 1000, 1001, 10**6, 2**31, 2**40, 2**48, 2**63 - 1, 2**63, -(2**63))
TEXTS = (
    "", " ", "a", "A" * 300, "x\u0000y", "\x1b[31mred\x1b[0m", "line\nline", "\r", "é", "漢字", "\ud800", "\u202e",
    "nan", "NaN", "inf", "-1", "0", "1e400", "../../etc/passwd", "module:name", "a.b:c", ":", "os", "{}", "null",
    "<b>", "'", '"', "\\", "to_failure", "forward", "lognormal", "Polynomial", "Custom", "full", "True",
)  # fmt: skip


class Marks:
    """Text that a JSON writer does not write, put in by marks that are replaced in the finished header."""

    def __init__(self, raw):
        self.raw = raw

    def mark(self, text):
        name = f"@@raw{len(self.raw)}@@"
        self.raw[name] = text
        return name


def odd(rng, marks, depth=0):
    """A value of any type that JSON has, or that it has not."""
    kind = rng.randrange(16)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind in (2, 3):
        return rng.choice(INTEGERS)
    if kind in (4, 5):
        value = rng.choice(SPECIAL)
        return value if math.isfinite(value) else {"float": str(value)}
    if kind in (6, 7):
        return rng.choice(TEXTS)
    if kind == 8:
        return marks.mark(rng.choice(("NaN", "Infinity", "-Infinity", "1e400", "-1e999", "0.1e", "01", "tru", "")))
    if kind == 9:
        return marks.mark("1" * rng.choice((25, 310, 4000, 5000)))
    if kind == 10:
        n = rng.choice((3, 20, 200, 900, 3000, 30000))
        before, after = rng.choice((("[", "]"), ('{"tuple":[', "]}"), ('{"a":', "}")))
        return marks.mark(before * n + "1" + after * n)
    if kind == 11:
        return marks.mark('{"a": 1, "a": 2}')
    if kind == 12:
        return rng.choice(TEXTS[1:]) * rng.choice((10, 1000, 20000))
    if kind == 13 or depth > 2:
        return rng.choice(([], {}, [[]], [{}], {"": None}, {"tuple": []}, {"float": "nan"}, {"float": 3}, {"tuple": 1}))
    if kind == 14:
        return [odd(rng, marks, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(TEXTS): odd(rng, marks, depth + 1) for _ in range(rng.randrange(3))}


def near(rng, marks, value):
    """A value of the same type, or nearly."""
    if isinstance(value, bool) or value is None:
        return odd(rng, marks)
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, 2 * value, float(value), str(value), rng.choice(INTEGERS)))
    if isinstance(value, float):
        factor = rng.choice((1 + 1e-12, 1 + 1e-6, 0.5, 2.0, -1.0, 1e-6, 1e6, 1e-150, 1e150))
        changed = rng.choice((value * factor, value + 1.0, rng.choice(SPECIAL)))
        return changed if math.isfinite(changed) else {"float": str(changed)}
    if isinstance(value, str):
        i = rng.randrange(len(value) + 1)
        return rng.choice((value[:i], value[:i] + rng.choice(TEXTS) + value[i:], value.upper(), value * 2, [value]))
    if isinstance(value, list):
        copy = list(value)
        change = rng.randrange(6)
        if change == 0 and copy:
            copy.pop(rng.randrange(len(copy)))
        elif change == 1 and copy:
            copy.insert(rng.randrange(len(copy)), rng.choice(copy))
        elif change == 2:
            copy.append(odd(rng, marks))
        elif change == 3:
            rng.shuffle(copy)
        elif change == 4:
            copy = copy * rng.choice((0, 2, 50))
        else:
            return {str(i): item for i, item in enumerate(copy)}
        return copy
    copy = dict(value)
    change = rng.randrange(5)
    if change == 0 and copy:
        copy.pop(rng.choice(list(copy)))
    elif change == 1:
        copy[rng.choice(TEXTS)] = odd(rng, marks)
    elif change == 2 and copy:
        name = rng.choice(list(copy))
        copy[name + rng.choice(TEXTS)] = copy.pop(name)
    elif change == 3:
        return list(copy)
    else:
        copy[marks.mark('"a": 1, "a')] = 1  # the key "a" twice
    return copy


def places(value):
    """All (container, key) of a tree of JSON."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found.append((value, key))
        found += places(item)
    return found


def change_tree(rng, marks, tree):
    """One place of the tree gets another value; the tree is changed in place."""
    found = places(tree)
    if not found:
        return
    container, key = rng.choice(found)
    if isinstance(container, dict) and rng.random() < 0.12:
        del container[key]
    elif rng.random() < 0.5:
        container[key] = near(rng, marks, container[key])
    else:
        container[key] = odd(rng, marks)


def change_array(rng, array):
    """Another array: single numbers, scale, order, or shape."""
    array = np.array(array)
    if array.size == 0:
        return np.zeros((rng.randrange(3), *array.shape[1:]), array.dtype)
    flat = array.reshape(-1)
    change = rng.randrange(14)
    at = rng.randrange(flat.size)
    with np.errstate(all="ignore"):
        if array.dtype.kind == "i":
            if change < 5:
                flat[at] = rng.choice([n for n in INTEGERS if -(2**63) <= n < 2**63])
            elif change < 9:
                flat[at] += rng.choice((-1, 1, 2))
            else:
                return _reshaped(rng, array)
        elif change < 3:
            flat[at] = rng.choice(SPECIAL)
        elif change == 3:
            flat[at] *= rng.choice((1 + 1e-12, 1 + 1e-7, 1.5, -1.0, 1e-8, 1e8, 1e-160, 1e160))
        elif change == 4:
            flat *= 10.0 ** rng.choice((-300, -150, -30, -6, -1, 1, 6, 30, 150, 300))
        elif change == 5:
            flat *= -1.0
        elif change == 6:
            flat[:] = flat[np.array(rng.sample(range(flat.size), flat.size))]
        elif change == 7:
            flat[:] = rng.choice(SPECIAL)
        elif change == 8:
            flat[:] = [rng.choice((x, x * 10.0 ** rng.uniform(-20, 20))) for x in flat]
        elif change == 9:
            flat[:] = [rng.gauss(0.0, 1.0) for _ in flat]
        elif change == 10:
            flat += rng.choice((1e-13, 1e-6, 1.0, 1e6))
        else:
            return _reshaped(rng, array)
    return array


def _reshaped(rng, array):
    change = rng.randrange(9)
    if change == 0:
        return array.T
    if change == 1:
        return array.reshape(-1)
    if change == 2:
        return array[None]
    if change == 3:
        return array[..., None]
    if change == 4:
        return array[:-1]
    if change == 5:
        return np.concatenate([array, array[-1:]])
    if change == 6:
        return array[::-1]
    if change == 7:
        return array[:0]
    return np.repeat(array, rng.choice((2, 3, 40)), axis=rng.randrange(array.ndim))
