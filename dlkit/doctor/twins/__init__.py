"""Models, loops and decoders in bare torch, as people write them by hand. They share no code with dlkit's own."""
