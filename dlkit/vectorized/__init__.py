"""Many runs of one model trained at once, with stacked parameters (torch.func's model ensembling)."""
