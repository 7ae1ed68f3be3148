"""What the benchmarks share: modules that scripts import and that nobody runs. Import `harness` before numpy."""
