"""Two-step landmark discovery (Rahaman et al. 2021, arXiv:2104.02925): landmarks without labels."""
