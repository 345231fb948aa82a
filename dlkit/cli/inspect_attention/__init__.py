"""`dlkit inspect-attention`: its input and its views."""
