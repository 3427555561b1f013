"""hmdb51_zsar: HMDB51 (Kuehne et al. 2011), random halves of its 51 classes seen.

README.md here says where the videos are and how the folder looks.
"""

import functools
from pathlib import Path

from input_pipeline import class_folders
from input_pipeline.dataset_spec import DatasetSpec

DATASET = DatasetSpec(
    summary="51 actions, mostly from films, random halves of them seen",
    readme=Path(__file__).with_name("README.md"),
    size="small",
    num_videos=6_766,
    read=functools.partial(class_folders.read, "hmdb51"),
    options=class_folders.OPTIONS,
    features_from="videos",
    reads_features=True,
)
