"""The library of the steps: storage, documents, geometry, grids and formats."""
