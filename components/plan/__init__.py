"""The `plan` step: looks at the input, refuses what cannot work, cuts the work into units."""
