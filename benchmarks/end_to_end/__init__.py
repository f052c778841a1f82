"""What the whole pipeline costs, step by step, as stacks grow."""
