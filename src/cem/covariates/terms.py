"""What a user writes of covariates: terms, by channel.

A term says which columns a covariate adds to the designs of channels. `cem.covariates.features` learns these columns
from training readings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from cem.errors import OptionError
from cem.errors.names import did_you_mean
from cem.errors.options import MAX_SIZE, integer, reals, shortened

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["Category", "Given", "Linear", "Power", "Spline", "Term", "names_in", "terms_by_channel"]

MAX_DEGREE = 9
MAX_KNOTS = 20


@dataclass(frozen=True, repr=False)
class Term:
    """A covariate and the columns that it adds; the base of `Linear`, `Power`, `Spline` and `Category`.

    Parameters
    ----------
    name : str
        The covariate.
    """

    name: str

    def __repr__(self) -> str:
        shown = [repr(self.name)]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def is_of_category(self) -> bool:
        """Whether the covariate has to be a category; otherwise it has to be a number."""
        return isinstance(self, Category)

    if TYPE_CHECKING:  # every kind of term has them, after its own options

        @property
        def by_mode(self) -> bool: ...
        @property
        def basis_functions(self) -> tuple[int, ...] | Literal["all"] | None: ...

    def _check(self) -> None:
        """Refuse options of a wrong type; store those in the type that equality needs."""
        if not isinstance(self.name, str) or not self.name:
            raise OptionError(f"the covariate of a term is {shortened(self.name)}; its name, a text, was expected")
        if not isinstance(self.by_mode, bool):
            raise OptionError(
                f"by_mode of covariate {self.name!r} is {shortened(self.by_mode)}; True or False is valid"
            )
        chosen: object = self.basis_functions
        if chosen is None or (isinstance(chosen, str) and chosen == "all"):
            return
        if isinstance(chosen, (str, bytes, Mapping)) or not isinstance(chosen, Sequence) or not chosen:
            raise OptionError(
                f"basis_functions of covariate {self.name!r} is {shortened(chosen)}; None, 'all', or positions of "
                "basis functions such as (0, 1) were expected"
            )
        option = f"basis_functions of covariate {self.name!r}"
        positions = tuple(integer(f"{option}, entry {i}", j, 0) for i, j in enumerate(chosen))
        if len(set(positions)) < len(positions):
            raise OptionError(f"{option} is {shortened(chosen)}; a position occurs twice, give it once")
        object.__setattr__(self, "basis_functions", positions)


@dataclass(frozen=True, repr=False)
class Linear(Term):
    """A number, centred at its training mean and divided by its standard deviation there.

    Parameters
    ----------
    name : str
        The covariate.
    by_mode : bool
        One coefficient for each mode; the default is one for the fleet.
    basis_functions : sequence of int or "all", optional
        Multiply the column with these basis functions of the channel, one column each. The default adds the column
        alone.

    Raises
    ------
    OptionError
        An option has a value that it cannot take.
    """

    by_mode: bool = False
    basis_functions: tuple[int, ...] | Literal["all"] | None = None

    def __post_init__(self) -> None:
        self._check()


@dataclass(frozen=True, repr=False)
class Power(Term):
    """The powers 1 … degree of a number, which is centred and scaled first; each power is centred as well.

    Parameters
    ----------
    name : str
        The covariate.
    degree : int
        1 to 9.
    by_mode, basis_functions
        As for `Linear`.

    Raises
    ------
    OptionError
        An option has a value that it cannot take.
    """

    degree: int
    by_mode: bool = False
    basis_functions: tuple[int, ...] | Literal["all"] | None = None

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "degree", integer(f"degree of covariate {self.name!r}", self.degree, 1, MAX_DEGREE))


@dataclass(frozen=True, repr=False)
class Spline(Term):
    """A natural cubic spline of a number: smooth between its outer knots, linear beyond them.

    It has one column less than knots, the number itself (centred and scaled) first.

    Parameters
    ----------
    name : str
        The covariate.
    knots : int or sequence of float
        How many (3 to 20), at quantiles of the distinct training values; or where, in the covariate's unit, ascending.
    by_mode, basis_functions
        As for `Linear`.

    Raises
    ------
    OptionError
        An option has a value that it cannot take.
    """

    knots: int | tuple[float, ...] = 4
    by_mode: bool = False
    basis_functions: tuple[int, ...] | Literal["all"] | None = None

    def __post_init__(self) -> None:
        self._check()
        option = f"knots of covariate {self.name!r}"
        if not isinstance(self.knots, (Sequence, tuple)) and not hasattr(self.knots, "__len__"):
            object.__setattr__(self, "knots", integer(option, self.knots, 3, MAX_KNOTS))
            return
        places = reals(option, self.knots)
        if not 3 <= len(places) <= MAX_KNOTS or any(b <= a for a, b in pairwise(places)):
            raise OptionError(
                f"{option} are {shortened(places)}; 3 to {MAX_KNOTS} ascending numbers, or how many, were expected"
            )
        object.__setattr__(self, "knots", places)


@dataclass(frozen=True, repr=False)
class Category(Term):
    """One column of 0 and 1 for each level of a category, except for the reference.

    Parameters
    ----------
    name : str
        The covariate.
    reference : hashable, optional
        The level without a column: the others' coefficients are differences from it. Default: the first level in
        sorted order.
    by_mode, basis_functions
        As for `Linear`.

    Raises
    ------
    OptionError
        An option has a value that it cannot take.
    """

    reference: Hashable = None
    by_mode: bool = False
    basis_functions: tuple[int, ...] | Literal["all"] | None = None

    def __post_init__(self) -> None:
        self._check()
        try:
            hash(self.reference)
        except TypeError:
            raise OptionError(
                f"reference of covariate {self.name!r} is {shortened(self.reference)}; one of its levels was expected"
            ) from None


OneOrMore: TypeAlias = str | Term | Sequence[str | Term]
Given: TypeAlias = OneOrMore | Mapping[str | None, OneOrMore] | None
"""What `FailureModeEM(covariates=...)` and `FailureModeEM(membership=...)` take."""


def _listed(given: object, where: str) -> tuple[str | Term, ...]:
    """One term or several as a tuple; OptionError for anything else."""
    items = (given,) if isinstance(given, (str, Term)) else given
    if isinstance(items, (bytes, Mapping)) or not isinstance(items, Sequence):
        raise OptionError(
            f"{where} is {shortened(given)}; the name of a covariate, a term such as cem.covariates.Power('load', 2), "
            "or a list of them was expected"
        )
    for item in items:
        if not isinstance(item, (str, Term)) or not item:
            raise OptionError(
                f"{where} holds {shortened(item)}; names of covariates, and terms such as "
                "cem.covariates.Power('load', 2), were expected"
            )
    return tuple(items)


def _by_key(given: Given, option: str) -> Iterator[tuple[str | None, tuple[str | Term, ...]]]:
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield None, _listed(given, option)
        return
    for channel, terms in given.items():
        if channel is not None and not isinstance(channel, str):
            raise OptionError(f"{option} has the key {shortened(channel)}; names of channels, or None, were expected")
        where = "all other channels" if channel is None else f"channel {channel!r}"
        yield channel, () if terms is None else _listed(terms, f"{option} for {where}")


def names_in(given: Given, option: str = "covariates") -> tuple[str, ...]:
    """Names of the covariates that terms use, each once, in the order in which they are first named.

    Parameters
    ----------
    given
        As `FailureModeEM(covariates=...)` takes it.
    option : str
        The option, for messages.

    Raises
    ------
    OptionError
        It is neither a name, nor a term, nor a list or mapping of them.
    """
    terms = [term for _, terms in _by_key(given, option) for term in terms]
    return tuple(dict.fromkeys(term if isinstance(term, str) else term.name for term in terms))


def terms_by_channel(
    given: Given,
    channels: Sequence[str],
    categories: Mapping[str, bool],
    option: str = "covariates",
) -> tuple[tuple[Term, ...], ...]:
    """One tuple of terms for each channel.

    Parameters
    ----------
    given
        As `FailureModeEM(covariates=...)` takes it: a name, a term, a list of them for all channels, or a mapping of
        channel to those; the key None stands for all channels not named. A name means `Category` for a category and
        `Linear` for a number.
    channels : sequence of str
        The channels, in order.
    categories : mapping of str to bool
        The covariates that the data have; whether each is a category.
    option : str
        The option, for messages.

    Raises
    ------
    OptionError
        A name is not a channel or not a covariate, a number is used as a category or a category as a number, a term
        occurs twice in a channel, or a value is not a term.
    """
    entries = dict(_by_key(given, option))
    for channel in entries:
        if channel is not None and channel not in channels:
            raise OptionError(
                f"{option} names channel {channel!r}, which the data do not have; {did_you_mean(channel, channels)}"
            )
    resolved = {channel: _resolved(terms, channel, categories, option) for channel, terms in entries.items()}
    return tuple(resolved.get(channel, resolved.get(None, ())) for channel in channels)


def _resolved(
    terms: tuple[str | Term, ...], channel: str | None, categories: Mapping[str, bool], option: str
) -> tuple[Term, ...]:
    where = option if channel is None else f"{option} for channel {channel!r}"
    found: list[Term] = []
    for given in terms:
        name = given if isinstance(given, str) else given.name
        if name not in categories:
            known = did_you_mean(name, categories) if categories else "the data have no covariates"
            raise OptionError(f"{where} names covariate {name!r}, which the data do not have; {known}")
        term = given if isinstance(given, Term) else (Category if categories[name] else Linear)(name)
        if term.is_of_category != categories[name]:
            kind, other = ("a number", "Linear, Power or Spline") if term.is_of_category else ("a category", "Category")
            raise OptionError(f"{where} has {term!r}, but covariate {name!r} is {kind}; use {other} for it")
        if term in found:
            raise OptionError(f"{where} has {term!r} twice; give it once")
        found.append(term)
    if len(found) > MAX_SIZE:
        raise OptionError(f"{where} has {len(found):,} terms; at most {MAX_SIZE:,} are valid")
    return tuple(found)
