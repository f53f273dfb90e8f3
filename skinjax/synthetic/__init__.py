"""Labelled photos of skin, rendered by formula: the data set that comes with the package.

Nineteen classes in six meta-classes (the taxonomy ``synthetic19``), Fitzpatrick skin types I to VI, several
photos per case. The meta-class shows in colour and texture and the class in finer features, so that a
hierarchy can help. The photos of a case share skin, hair, moles, lesion and light, so that splitting by
photo instead of by case flatters a classifier, as it does with real photos. They serve the demonstration,
the tests and teaching, with no download.

**Nothing drawn from these pictures is medical evidence.** They are a programmer's idea of the textbook
look: no patient was photographed, and no figure measured on them says anything about a classifier's use on
people.

    surface   skin as layers of chromophores, relief and opaque matter
    shapes    noise, cells, blobs, spots and strokes that are painted on it
    skin      healthy skin, sun damage, freckles and hair
    rashes    painters of the inflammatory, infectious and vascular classes
    growths   painters of the benign epidermal, pigmented and malignant keratinocyte classes
    camera    light, lens and sensor
    case      ``render_case``: the photos of one case
    dataset   ``SyntheticSpec`` and ``write_dataset``: a folder of JPEGs and its manifest
"""

from skinjax.synthetic.case import CLASS_NAMES, render_case
from skinjax.synthetic.dataset import SyntheticSpec, other_spec, write_dataset

__all__ = ["CLASS_NAMES", "SyntheticSpec", "other_spec", "render_case", "write_dataset"]
