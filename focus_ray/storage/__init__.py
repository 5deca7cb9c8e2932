"""Storage of a run: safetensors and JSON, written atomically and verified on every read."""
