"""`dlkit inspect-attention`: its input, its work and its views."""
