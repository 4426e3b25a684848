"""NL-means under the names and with the parameters of other tools, for a change of one line.

`opencv` has the four functions of OpenCV's photo module, `scikit_image` that of
`skimage.restoration`. Each says how far it agrees with the original; `benchmarks/compat.py`
measures it.
"""

from nlmeans.compat.opencv import (
    fastNlMeansDenoising,
    fastNlMeansDenoisingColored,
    fastNlMeansDenoisingColoredMulti,
    fastNlMeansDenoisingMulti,
)
from nlmeans.compat.scikit_image import denoise_nl_means

__all__ = [
    "denoise_nl_means",
    "fastNlMeansDenoising",
    "fastNlMeansDenoisingColored",
    "fastNlMeansDenoisingColoredMulti",
    "fastNlMeansDenoisingMulti",
]
