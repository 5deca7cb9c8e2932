"""Named parameters of the shape of a person's face, each one standard deviation of displacement."""

from focus_ray.face_models.parametric.fields import Field, Push, Stretch, Turn

_WHOLE_FACE_RADIUS = (400.0, 400.0)

IDENTITY: dict[str, tuple[Field, ...]] = {
    # The whole head
    "face width": (Stretch((0.0, 0.0), _WHOLE_FACE_RADIUS, (0.034, 0.0, 0.0)),),
    "face length": (Stretch((0.0, 15.0), _WHOLE_FACE_RADIUS, (0.0, 0.034, 0.0)),),
    "head size": (Stretch((0.0, 0.0), _WHOLE_FACE_RADIUS, (0.018, 0.018, 0.018), -30.0),),
    "head depth": (Stretch((0.0, 0.0), _WHOLE_FACE_RADIUS, (0.0, 0.0, 0.045), -20.0),),
    "lower face length": (Stretch((0.0, -20.0), (70.0, 62.0), (0.0, 0.055, 0.0)),),
    "middle face length": (Push((0.0, -45.0), (80.0, 55.0), (0.0, -2.4, 0.0)),),
    "profile convexity": (
        Push((0.0, -10.0), (45.0, 40.0), (0.0, 0.0, 2.2)),
        Push((0.0, -85.0), (45.0, 30.0), (0.0, 0.0, -1.8)),
    ),
    "flat face": (Push((0.0, 5.0), (28.0, 45.0), (0.0, 0.0, -2.2)), Push((50.0, 0.0), (24.0, 40.0), (0.0, 0.0, 2.2))),
    # Forehead and temples
    "forehead height": (Push((0.0, 100.0), (90.0, 45.0), (0.0, 4.2, 0.0)),),
    "forehead slope": (Push((0.0, 95.0), (60.0, 40.0), (0.0, 0.0, -4.5)),),
    "forehead width": (Push((66.0, 70.0), (30.0, 35.0), (2.8, 0.0, 0.0)),),
    "temple": (Push((66.0, 38.0), (18.0, 24.0), (2.0, 0.0, 0.6)),),
    "brow ridge": (
        Push((22.0, 45.0), (22.0, 8.0), (0.0, 0.0, 1.7)),
        Push((0.0, 46.0), (12.0, 10.0), (0.0, 0.0, 1.0)),
    ),
    "brow height": (Push((33.0, 46.0), (27.0, 9.0), (0.0, 1.8, 0.0)),),
    "brow tilt": (Turn((33.0, 45.0), (26.0, 10.0), 2.4),),
    "brow arch": (Push((40.0, 47.0), (11.0, 8.0), (0.0, 1.3, 0.0)),),
    # Eyes
    "eye distance": (Push((30.0, 32.0), (24.0, 20.0), (1.7, 0.0, 0.0)),),
    "eye height": (Push((30.0, 32.0), (32.0, 20.0), (0.0, 1.7, 0.0)),),
    "eye width": (Stretch((31.0, 29.0), (20.0, 12.0), (0.05, 0.0, 0.0)),),
    "eye opening": (Stretch((31.0, 28.8), (17.0, 8.0), (0.0, 0.09, 0.0)),),
    "eye slant": (Turn((31.0, 29.0), (19.0, 11.0), 2.8),),
    "eye depth": (Push((31.0, 31.0), (20.0, 14.0), (0.0, 0.0, 1.6)),),
    "upper lid fold": (Push((33.0, 38.5), (15.0, 4.5), (0.0, -0.9, 1.4)),),
    "eye bag": (Push((29.0, 18.0), (12.0, 5.0), (0.0, -0.3, 1.1)),),
    "inner corner": (Push((16.0, 27.5), (6.0, 5.0), (-0.7, -0.7, 0.0)),),
    # Nose
    "nose length": (Push((0.0, -12.0), (19.0, 17.0), (0.0, -2.5, 0.0)),),
    "nose projection": (Push((0.0, -8.0), (13.0, 17.0), (0.0, 0.0, 2.6)),),
    "nose width": (Stretch((0.0, -10.0), (24.0, 15.0), (0.115, 0.0, 0.0)),),
    "nose bridge height": (Push((0.0, 21.0), (9.0, 17.0), (0.0, 0.0, 1.9)),),
    "nose bridge width": (Stretch((0.0, 18.0), (16.0, 18.0), (0.14, 0.0, 0.0)),),
    "nose hump": (Push((0.0, 9.0), (7.0, 8.0), (0.0, 0.0, 1.3)),),
    "nose tip up": (Push((0.0, -6.0), (10.0, 8.0), (0.0, 1.7, 0.5)), Push((0.0, -17.0), (9.0, 5.0), (0.0, 0.6, 0.8))),
    "nose tip size": (Stretch((0.0, -6.0), (13.0, 9.0), (0.13, 0.09, 0.0)),),
    "alar flare": (Push((15.0, -12.0), (6.0, 7.0), (0.9, 0.2, 0.5)),),
    "nasion depth": (Push((0.0, 33.0), (12.0, 7.0), (0.0, 0.0, 1.4)),),
    # Mouth
    "mouth width": (Stretch((0.0, -39.0), (38.0, 20.0), (0.075, 0.0, 0.0)),),
    "mouth height": (Push((0.0, -39.0), (38.0, 15.0), (0.0, 1.6, 0.0)),),
    "upper lip fullness": (
        Stretch((0.0, -37.8), (26.0, 9.0), (0.0, 0.16, 0.0), lips="upper"),
        Push((0.0, -34.0), (19.0, 4.5), (0.0, 0.0, 0.9), lips="upper"),
    ),
    "lower lip fullness": (
        Stretch((0.0, -38.2), (26.0, 11.0), (0.0, 0.13, 0.0), lips="lower"),
        Push((0.0, -43.0), (19.0, 5.0), (0.0, 0.0, 1.0), lips="lower"),
    ),
    "mouth forward": (Push((0.0, -36.0), (26.0, 19.0), (0.0, 0.0, 1.9)),),
    "mouth corners up": (Push((25.0, -38.5), (9.0, 9.0), (0.0, 1.1, 0.0)),),
    "philtrum": (Push((0.0, -26.0), (9.0, 7.0), (0.0, 0.0, -0.7)),),
    # Cheeks, jaw and chin
    "cheek bones": (Push((49.0, 6.0), (18.0, 15.0), (1.3, 0.0, 2.0)),),
    "cheek fullness": (Push((48.0, -30.0), (22.0, 24.0), (1.7, 0.0, 2.6)),),
    "nasolabial fold": (Push((26.5, -22.0), (5.0, 13.0), (0.0, 0.0, -0.9)),),
    "jaw width": (Push((58.0, -52.0), (26.0, 30.0), (3.2, 0.0, 0.0)),),
    "jaw angle": (Push((58.0, -58.0), (24.0, 24.0), (0.6, -3.0, 0.0)),),
    "chin length": (Push((0.0, -84.0), (42.0, 24.0), (0.0, -3.2, 0.0)),),
    "chin width": (Stretch((0.0, -74.0), (44.0, 20.0), (0.11, 0.0, 0.0)),),
    "chin forward": (Push((0.0, -74.0), (28.0, 20.0), (0.0, 0.0, 2.6)),),
    "chin cleft depth": (Push((0.0, -55.0), (19.0, 7.0), (0.0, 0.0, -1.2)),),
    "double chin": (Push((0.0, -94.0), (46.0, 13.0), (0.0, -2.2, 1.6)),),
    # Asymmetry
    "left eye height": (Push((31.0, 33.0), (22.0, 18.0), (0.0, 0.5, 0.0), "left"),),
    "right eye height": (Push((31.0, 33.0), (22.0, 18.0), (0.0, 0.5, 0.0), "right"),),
    "left mouth corner": (Push((23.0, -38.0), (14.0, 12.0), (0.0, 0.6, 0.0), "left"),),
    "right mouth corner": (Push((23.0, -38.0), (14.0, 12.0), (0.0, 0.6, 0.0), "right"),),
    "left jaw": (Push((52.0, -52.0), (28.0, 30.0), (1.0, 0.0, 0.0), "left"),),
    "right jaw": (Push((52.0, -52.0), (28.0, 30.0), (1.0, 0.0, 0.0), "right"),),
}
"""Name -> fields (mm) of one standard deviation."""
