"""Writers of synthetic data sets in the layouts of the paper's data sets."""

from focus_ray.data.dataset_writers.dataset_writer import write_dataset

__all__ = ["write_dataset"]
