"""ucf101_zsar: UCF101 (Soomro et al. 2012), random halves of its 101 classes seen.

README.md here says where the videos are and how the folder looks.
"""

import functools
from pathlib import Path

from input_pipeline import class_folders
from input_pipeline.dataset_spec import DatasetSpec

DATASET = DatasetSpec(
    summary="101 actions from YouTube, random halves of them seen",
    readme=Path(__file__).with_name("README.md"),
    size="small",
    num_videos=13_320,
    read=functools.partial(class_folders.read, "ucf101"),
    options=class_folders.OPTIONS,
    features_from="videos",
    reads_features=True,
)
