"""The misfit prior as a computation: faces are rendered in shards by tasks, and their errors are reduced in a tree."""
