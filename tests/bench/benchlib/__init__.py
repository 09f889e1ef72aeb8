"""What tests/bench/run is made of; see docs/performance.md."""
