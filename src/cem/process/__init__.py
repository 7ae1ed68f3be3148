"""How a unit wanders about its own curve: stochastic processes of one or two states, in units of the noise."""
