"""What the layer costs at a cold start and in a warm turn, beside what stock builds make: `make bench-layer`."""
