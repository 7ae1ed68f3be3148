"""The path of releases before 0.4.0."""

from cem.basis._basis cimport *
