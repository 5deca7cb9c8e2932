"""Reconstruction of faces: from an image to FACE records, and from folders of images to files."""

from focus_ray.data.detectors.detection import Detector
from focus_ray.data.image_file import read_image
from focus_ray.inference.reconstruct_files import ImageResult, reconstruct_paths
from focus_ray.inference.reconstructor import Reconstructor, load, load_detector

__all__ = ["Detector", "ImageResult", "Reconstructor", "load", "load_detector", "read_image", "reconstruct_paths"]
