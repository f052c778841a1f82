"""CPU seconds that programs take to start: each command, each step, and a local run of the sample."""
