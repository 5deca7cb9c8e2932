"""Published figures of the paper (Li et al., CVPR 2023), as printed in its tables."""

from focus_ray.evaluation.rows import MetricValue

SOURCE = "Li et al., CVPR 2023"

# Table 1: RMSE, 0-255, mean and standard deviation: columns CelebA-HQ unoccluded, occluded, overall, AR overall.
TABLE_1: dict[str, tuple[MetricValue, ...]] = {
    "MoFA": (MetricValue(8.77, 0.40), MetricValue(9.20, 0.45), MetricValue(8.99, 0.47), MetricValue(9.53, 0.33)),
    "Backbone-Supervised": (
        MetricValue(8.71, 0.38),
        MetricValue(9.01, 0.45),
        MetricValue(8.86, 0.44),
        MetricValue(9.34, 0.33),
    ),
    "Backbone-cutmix": (
        MetricValue(8.75, 0.39),
        MetricValue(9.04, 0.44),
        MetricValue(8.90, 0.44),
        MetricValue(9.33, 0.32),
    ),
    "Backbone-cutout": (
        MetricValue(8.72, 0.40),
        MetricValue(8.99, 0.45),
        MetricValue(8.85, 0.45),
        MetricValue(9.28, 0.31),
    ),
    "Deep3D": (MetricValue(8.49, 0.39), MetricValue(8.79, 0.45), MetricValue(8.64, 0.44), MetricValue(9.11, 0.37)),
    "FOCUS": (MetricValue(8.38, 0.42), MetricValue(8.71, 0.48), MetricValue(8.55, 0.48), MetricValue(8.93, 0.35)),
}

# Table 2: the NoW test set, mm: median, mean, std.
TABLE_2: dict[str, tuple[float, float, float]] = {
    "MICA": (0.90, 1.11, 0.92),
    "Wood et al.": (1.02, 1.28, 1.08),
    "DECA": (1.09, 1.38, 1.18),
    "RingNet": (1.21, 1.53, 1.31),
    "Deep3D": (1.23, 1.54, 1.29),
    "3DDFA V2": (1.23, 1.57, 1.39),
    "Dib et al.": (1.26, 1.57, 1.31),
    "SynergyNet": (1.27, 1.59, 1.31),
    "MGCNet": (1.31, 1.87, 2.63),
    "PRNet": (1.50, 1.98, 1.88),
    "3DMM-CNN": (1.84, 2.33, 2.05),
    "FOCUS": (1.04, 1.30, 1.10),
    "FOCUS-MP": (1.02, 1.28, 1.09),
}

# Table 3: 62 pairs of the NoW validation set, mm: median, mean, std of the unoccluded, then of the occluded pictures.
TABLE_3: dict[str, tuple[float, ...]] = {
    "Deep3D": (1.33, 1.67, 1.41, 1.40, 1.73, 1.41),
    "DECA": (1.18, 1.47, 1.24, 1.29, 1.56, 1.29),
    "MoFA": (1.35, 1.69, 1.42, 1.36, 1.69, 1.41),
    "Backbone": (1.21, 1.46, 1.18, 1.33, 1.59, 1.27),
    "Backbone-Supervised": (1.02, 1.25, 1.04, 1.05, 1.29, 1.09),
    "Backbone-cutmix": (1.05, 1.28, 1.04, 1.08, 1.33, 1.11),
    "Backbone-cutout": (1.03, 1.28, 1.06, 1.09, 1.34, 1.10),
    "FOCUS": (1.03, 1.25, 1.03, 1.07, 1.34, 1.19),
    "FOCUS-MP": (1.02, 1.24, 1.02, 1.08, 1.34, 1.20),
}

# Tables 4 and 5: ACC, PPV, TPR, F1 (std) of AR unoccluded, glasses, scarf; None: not printed.
TABLE_4: dict[str, tuple[MetricValue, ...]] = {
    "Deep3D": (
        *(MetricValue(0.88), MetricValue(0.93), MetricValue(0.94), MetricValue(0.93, 0.04)),
        *(MetricValue(0.88), MetricValue(0.92), MetricValue(0.92), MetricValue(0.92, 0.04)),
        *(MetricValue(0.80), MetricValue(0.80), MetricValue(0.93), MetricValue(0.86, 0.05)),
    ),
    "Egger et al.": (
        *(MetricValue(None), MetricValue(None), MetricValue(None), MetricValue(0.90)),
        *(MetricValue(None), MetricValue(None), MetricValue(None), MetricValue(0.87)),
        *(MetricValue(None), MetricValue(None), MetricValue(None), MetricValue(0.86)),
    ),
    "FOCUS": (
        *(MetricValue(0.88), MetricValue(0.96), MetricValue(0.91), MetricValue(0.93, 0.03)),
        *(MetricValue(0.88), MetricValue(0.98), MetricValue(0.85), MetricValue(0.91, 0.04)),
        *(MetricValue(0.86), MetricValue(0.97), MetricValue(0.81), MetricValue(0.88, 0.05)),
    ),
}
TABLE_5: dict[str, tuple[MetricValue, ...]] = {
    "Pretrained": (
        *(MetricValue(0.75), MetricValue(0.95), MetricValue(0.77), MetricValue(0.85, 0.05)),
        *(MetricValue(0.78), MetricValue(0.97), MetricValue(0.72), MetricValue(0.82, 0.05)),
        *(MetricValue(0.70), MetricValue(0.89), MetricValue(0.62), MetricValue(0.73, 0.07)),
    ),
    "Baseline": (
        *(MetricValue(0.81), MetricValue(0.96), MetricValue(0.83), MetricValue(0.89, 0.04)),
        *(MetricValue(0.81), MetricValue(0.97), MetricValue(0.76), MetricValue(0.85, 0.05)),
        *(MetricValue(0.79), MetricValue(0.96), MetricValue(0.71), MetricValue(0.82, 0.07)),
    ),
    "Neighbor": (
        *(MetricValue(0.85), MetricValue(0.95), MetricValue(0.88), MetricValue(0.91, 0.04)),
        *(MetricValue(0.84), MetricValue(0.95), MetricValue(0.81), MetricValue(0.87, 0.04)),
        *(MetricValue(0.83), MetricValue(0.94), MetricValue(0.79), MetricValue(0.85, 0.06)),
    ),
    "Perceptual": (
        *(MetricValue(0.89), MetricValue(0.96), MetricValue(0.92), MetricValue(0.94, 0.03)),
        *(MetricValue(0.89), MetricValue(0.98), MetricValue(0.87), MetricValue(0.92, 0.04)),
        *(MetricValue(0.87), MetricValue(0.97), MetricValue(0.84), MetricValue(0.90, 0.05)),
    ),
    "FOCUS": TABLE_4["FOCUS"],
}
# Table 5, the NoW validation set, mm: median, mean, std.
TABLE_5_NOW: dict[str, tuple[float, float, float]] = {
    "Pretrained": (1.06, 1.32, 1.14),
    "Baseline": (1.06, 1.32, 1.15),
    "Neighbor": (1.06, 1.32, 1.15),
    "Perceptual": (1.06, 1.32, 1.14),
    "FOCUS": (1.05, 1.31, 1.14),
    "FOCUS-MP": (1.03, 1.29, 1.12),  # printed as FOCUS-MF
}
