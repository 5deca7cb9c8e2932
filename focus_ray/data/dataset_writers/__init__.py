"""The synthetic world written as the data sets of the paper are published."""

from focus_ray.data.dataset_writers.dataset_writer import write_dataset

__all__ = ["write_dataset"]
