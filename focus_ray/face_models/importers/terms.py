"""The terms of published face models, for files that do not contain them.

These are statements of fact with the address of the owner; the text that came with a model can take their place.
"""

from pathlib import Path

from focus_ray.face_models.importers.bounded_files import read_text
from focus_ray.face_models.provenance import Licence

BFM = Licence(
    name="Basel Face Model licence",
    commercial="no",
    text="The Basel Face Model belongs to the University of Basel. It is given for research to those who register and "
    "accept its licence; it may not be passed on or used commercially without an agreement with its owner.\n"
    "Owner and full terms: https://faces.dmi.unibas.ch/bfm/\n",
)
FLAME = Licence(
    name="FLAME model licence",
    commercial="no",
    text="FLAME belongs to the Max Planck Society. It is given for non-commercial scientific research, education and "
    "artistic projects to those who register and accept its licence; it may not be passed on. Commercial use needs "
    "an agreement with its owner.\n"
    "Owner and full terms: https://flame.is.tue.mpg.de/modellicense.html\n",
)
FLAME_OPEN = Licence(
    name="CC-BY-4.0",
    commercial="yes",
    text="FLAME 2023 Open is published by the Max Planck Institute for Intelligent Systems under the licence Creative "
    "Commons Attribution 4.0 International: it may be used commercially and passed on with attribution.\n"
    "Owner: https://flame.is.tue.mpg.de/  Full terms: https://creativecommons.org/licenses/by/4.0/legalcode\n",
)
EOS = Licence(
    name="Surrey Face Model licence",
    commercial="no",
    text="The Surrey Face Model belongs to the University of Surrey. It is free for non-commercial use; commercial use "
    "needs an agreement with its owner. The licence of the software eos (Apache-2.0) does not cover it.\n"
    "Owner and full terms: https://cvssp.org/faceweb/3dmm/facemodels/\n",
)
EOS_CONVERTED = Licence(
    name="unknown",
    commercial="ask the owner",
    text="This file has the format of eos, into which face models of several owners were converted. Its terms are "
    "those of the model that it was converted from; they are not in the file.\n",
)
GNM = Licence(
    name="Apache-2.0",
    commercial="yes",
    text="GNM Head is published by Google LLC in its repository under the Apache License, Version 2.0: it may be used "
    "commercially, changed and passed on with this notice.\n"
    "Owner: https://github.com/google/GNM  Full terms: https://www.apache.org/licenses/LICENSE-2.0\n",
)


def with_text(licence: Licence, path: Path | None, hashes: dict[str, str]) -> Licence:
    """Return the terms with the text of a file in place of ours; without a file, as they are.

    Raises:
        FaceModelError: the file cannot be read, is too large or no text.
    """
    return licence if path is None else licence.model_copy(update={"text": read_text(path, hashes)})
