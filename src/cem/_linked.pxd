"""The path of releases before 0.4.0."""

from cem.mixture._linked cimport *
