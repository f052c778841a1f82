"""What the largest stacks take on paper, and what planning them takes in fact."""
