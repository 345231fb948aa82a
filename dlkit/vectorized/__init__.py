"""Many runs of one model trained at once, as a stack."""
