"""`dlkit predict`: its options, and how predictions look on a terminal."""
