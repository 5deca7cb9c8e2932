"""What a run keeps: safetensors and JSON, written all or nothing and verified on every read."""
