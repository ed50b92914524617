"""Under which terms each data set may be used, as far as its makers say."""

from dataclasses import dataclass

COCO_PHOTOS = "The photographs are COCO's and stay under the Flickr terms of their owners."
ASK = "The makers' files name no license that we could confirm: confirm the terms before you publish or sell."


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """License of a data set's annotations and what else binds a user.

    Attributes:
        license: Short name, `unconfirmed` where none could be confirmed.
        terms: The rest, in a sentence or two.
        page: Where the makers publish the data set.
    """

    license: str
    terms: str
    page: str


TERMS: dict[str, Terms] = {
    "cocostuff": Terms(license="CC-BY-4.0", terms=COCO_PHOTOS, page="github.com/nightrome/cocostuff"),
    "refcoco": Terms(license="unconfirmed", terms=f"{COCO_PHOTOS} {ASK}", page="github.com/lichengunc/refer"),
    "grefcoco": Terms(license="unconfirmed", terms=f"{COCO_PHOTOS} {ASK}", page="github.com/henghuiding/gRefCOCO"),
    "reasonseg": Terms(license="unconfirmed", terms=ASK, page="github.com/dvlab-research/LISA"),
    "instructpix2pix": Terms(license="unconfirmed", terms=ASK, page="github.com/timothybrooks/instruct-pix2pix"),
    "magicbrush": Terms(
        license="CC-BY-4.0",
        terms="The makers ask not to redistribute the unzipped test files, so that no crawler collects them.",
        page="github.com/OSU-NLP-Group/MagicBrush",
    ),
    "llava": Terms(license="unconfirmed", terms=f"{COCO_PHOTOS} {ASK}", page="github.com/haotian-liu/LLaVA"),
    "cc12m": Terms(
        license="unconfirmed", terms=f"Captions only, no pictures. {ASK}", page="github.com/google-research-datasets"
    ),
    "synthetic": Terms(license="unconfirmed", terms=ASK, page="github.com/TencentARC/SmartEdit"),
}
"""Terms by kind of source; a configuration may state better ones."""
