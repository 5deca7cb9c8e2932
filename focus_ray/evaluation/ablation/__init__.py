"""Ablation on real composites: trains variants of the portrait preset and scores them on composites of photographs."""
