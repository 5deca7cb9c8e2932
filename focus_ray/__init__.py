"""focus-ray: occlusion-robust 3D face reconstruction (FOCUS, Li et al., CVPR 2023)."""

__version__ = "0.1.0"
