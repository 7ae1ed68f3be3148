"""The path of releases before 0.4.0."""

from cem.scoring._unit cimport *
