"""`dlkit compare-optimizers`: the grid, the race, and how it is shown."""
